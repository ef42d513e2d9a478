from datetime import UTC, datetime

import pytest

from greenlight.deploy.colours import Colour
from greenlight.deploy.journal import Rollout
from greenlight.deploy.serving_hosts import everywhere, rate_of_each, up_to_host

BLUE, GREEN = Colour.BLUE, Colour.GREEN
HOSTS = ("h0", "h1", "h2")


def rollout(**changes):
    fields = {
        "id": "to-2", "fleet": "f", "model": "m", "version": 2, "digest": "2" * 64,
        "flags_digest": "f" * 64, "strategy": "rolling", "colour": GREEN,
        "started_at": datetime.now(UTC), "started_by": "ana", "previous_version": 1,
        "previous_digest": "1" * 64,
    }  # fmt: skip
    return Rollout(**(fields | changes))


def test_where_hosts_hold_both_colours_both_serve_everywhere():
    assert everywhere(rollout(), HOSTS) == {GREEN: HOSTS, BLUE: HOSTS}


@pytest.mark.parametrize("alone", [{"previous_digest": None}, {"request": {"replaces_dead": True}}])
def test_where_nobody_is_left_to_compare_with_only_the_new_colour_serves(alone):
    assert everywhere(rollout(**alone), HOSTS) == {GREEN: HOSTS}


@pytest.mark.parametrize(
    ("last", "serving"),
    [
        ("h0", {GREEN: ("h0",), BLUE: ("h1", "h2")}),
        ("h1", {GREEN: ("h0", "h1"), BLUE: ("h2",)}),
        ("h2", {GREEN: HOSTS}),
    ],
)
def test_while_rolling_a_host_has_one_colour_or_the_other(last, serving):
    assert up_to_host(rollout(), HOSTS, last=last) == serving


def test_every_engine_gets_the_same_load_and_no_colour_less_than_asked_for():
    for serving in ({GREEN: ("h0",), BLUE: ("h1", "h2")}, {GREEN: ("h0", "h1"), BLUE: ("h2",)}):
        assert rate_of_each(20.0, serving) == 20.0
    assert rate_of_each(20.0, dict.fromkeys(Colour, ("h0", "h1"))) == 10.0
    assert rate_of_each(20.0, {GREEN: ("h0", "h1", "h2", "h3")}) == 5.0
