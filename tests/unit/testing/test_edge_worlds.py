"""The measuring itself: what nobody answers is not counted as stopped."""

import pytest

from greenlight.adapters.nginx.process import nginx_problem
from greenlight.core.errors import UnavailableError
from greenlight.gateway.edge import EdgeSettings
from greenlight.testing.edge_worlds import an_edge, run_corpus, trusting
from greenlight.testing.waf_corpus import Case

PROBLEM = nginx_problem(EdgeSettings(port=1, upstream_port=2, certificate="/c", key="/k"))
pytestmark = [pytest.mark.skipif(PROBLEM is not None, reason=PROBLEM or "")]


def run(world, *texts):
    cases = [
        Case(kind="attack", where="user", text=text, line=n) for n, text in enumerate(texts, 1)
    ]
    return run_corpus(
        cases,
        port=world.edge.port,
        upstream=world.upstream,
        context=trusting(world.certificates),
    )


def test_what_reached_the_upstream_is_told_apart_from_what_did_not(tmp_path):
    with an_edge(tmp_path) as world:
        outcomes = run(world, "alice", "<script>alert(1)</script>", "bob")
    assert [one.reached for one in outcomes] == [True, False, True]
    assert [one.status for one in outcomes] == [200, 403, 200]


def test_an_nginx_that_has_ended_has_stopped_no_attack(tmp_path):
    with an_edge(tmp_path) as world:
        world.nginx.stop()
        with pytest.raises(UnavailableError, match="line 1"):
            run(world, "<script>alert(1)</script>")


def test_an_upstream_that_has_ended_has_stopped_no_attack(tmp_path):
    with an_edge(tmp_path) as world:
        world.upstream.close()
        with pytest.raises(UnavailableError, match="line 1 got 502"):
            run(world, "alice")
