from dataclasses import replace

import pytest

from greenlight.core.errors import RefusedError, UnavailableError
from greenlight.deploy.colours import Colour
from greenlight.deploy.ports import RouterState, ServerMode, ServerState
from greenlight.deploy.shares import plan_shift, refuse_stale, require_others

BLUE, GREEN = Colour.BLUE, Colour.GREEN


def a_state(*, blue=100, green=0, **changes):
    servers = (
        ServerState(
            host=host, colour=colour, weight={BLUE: blue, GREEN: green}[colour], sessions=0,
            **{"mode": ServerMode.READY, "up": True} | changes,
        )
        for host in ("gpu-1", "gpu-2")
        for colour in Colour
    )  # fmt: skip
    return RouterState(fence=1, servers=tuple(servers))


def test_the_gaining_colour_is_told_apart_from_the_losing_one():
    plan = plan_shift(a_state(), {GREEN: 10, BLUE: 90})
    assert plan.gaining == {("gpu-1", GREEN): 10, ("gpu-2", GREEN): 10}
    assert plan.losing == {("gpu-1", BLUE): 90, ("gpu-2", BLUE): 90}
    assert plan.weights == plan.gaining | plan.losing


def test_nothing_gains_or_loses_when_the_shares_are_set_already():
    plan = plan_shift(a_state(), {BLUE: 100})
    assert not plan.gaining
    assert not plan.losing
    assert len(plan.weights) == 4


def test_only_the_named_hosts_change():
    plan = plan_shift(a_state(), {GREEN: 100}, hosts=["gpu-2"])
    assert set(plan.weights) == {("gpu-2", BLUE), ("gpu-2", GREEN)}


@pytest.mark.parametrize(
    "changes", [{"up": False}, {"mode": ServerMode.DRAIN}, {"mode": ServerMode.MAINT}]
)
def test_a_share_needs_a_server_that_is_ready_and_up(changes):
    with pytest.raises(RefusedError, match=r"blue cannot get 100 %.*gpu-1, gpu-2"):
        plan_shift(a_state(**changes), {BLUE: 100})


def test_a_fence_is_stale_only_when_lower():
    refuse_stale(5, seen=5)
    refuse_stale(6, seen=5)
    with pytest.raises(RefusedError, match=r"4 is stale.*5"):
        refuse_stale(4, seen=5)


@pytest.mark.parametrize("other", [{"up": False}, {"mode": ServerMode.DRAIN}, {"weight": 0}])
def test_the_only_host_that_serves_is_not_taken_out(other):
    both = a_state()
    require_others(both, "gpu-1")
    servers = (replace(s, **other) if s.host == "gpu-2" else s for s in both.servers)
    one = replace(both, servers=tuple(servers))
    with pytest.raises(UnavailableError, match="gpu-1 is the only one that serves"):
        require_others(one, "gpu-1")
    require_others(one, "gpu-2")


def test_where_nobody_serves_any_host_may_be_taken_out():
    require_others(a_state(up=False), "gpu-1")
