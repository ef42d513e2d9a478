"""The two goals of the firewall, on the shipped corpus and a real nginx."""

import pytest

from greenlight.adapters.nginx.process import nginx_problem
from greenlight.core.settings import PROJECT
from greenlight.gateway.edge import EdgeSettings
from greenlight.testing.edge_worlds import an_edge, run_corpus, trusting
from greenlight.testing.waf_corpus import Kind, read_corpus

PROBLEM = nginx_problem(EdgeSettings(port=1, upstream_port=2, certificate="/c", key="/k"))
pytestmark = [pytest.mark.skipif(PROBLEM is not None, reason=PROBLEM or "")]
MOST_BENIGN_BLOCKED, LEAST_ATTACKS_STOPPED = 0.01, 0.85


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    cases = read_corpus(PROJECT / "tests/waf/corpus.jsonl")
    with an_edge(tmp_path_factory.mktemp("edge")) as world:
        return run_corpus(
            cases,
            port=world.edge.port,
            upstream=world.upstream,
            context=trusting(world.certificates),
        )


def test_prompts_pass(outcomes):
    benign = [one for one in outcomes if one.case.kind == Kind.BENIGN]
    blocked = [one.case for one in benign if not one.reached]
    assert len(blocked) <= MOST_BENIGN_BLOCKED * len(benign), blocked


def test_attacks_beside_prompts_are_stopped(outcomes):
    attacks = [one for one in outcomes if one.case.kind == Kind.ATTACK]
    passed = [one.case for one in attacks if one.reached]
    assert len(attacks) - len(passed) >= LEAST_ATTACKS_STOPPED * len(attacks), passed
    assert passed, "a corpus without anything that slips through flatters"
