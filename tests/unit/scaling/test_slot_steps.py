import pytest

from greenlight.scaling.slots import Action, Slot, SlotState, hosts_there, plan_slots

S = SlotState


def slots(*states, sessions=0, draining_s=0.0):
    return [
        Slot(host=f"gpu-{n}", state=state, sessions=sessions, draining_s=draining_s)
        for n, state in enumerate(states)
    ]


def steps(found, desired, *, floor=1, held=False, drain_s=60.0):
    plan = plan_slots(found, desired=desired, floor=floor, drain_s=drain_s, held=held)
    return [(step.action, step.host) for step in plan]


def test_as_many_as_wanted_is_nothing_to_do():
    assert steps(slots(S.SERVING, S.STARTING, S.RESTING), 2) == []


def test_more_are_started_in_the_fleets_order():
    found = slots(S.SERVING, S.RESTING, S.RESTING, S.RESTING)
    assert steps(found, 3) == [(Action.START, "gpu-1"), (Action.START, "gpu-2")]


def test_those_that_start_count_so_that_a_burst_is_answered_once():
    assert steps(slots(S.SERVING, S.STARTING, S.WAITING, S.RESTING), 3) == [(Action.ADMIT, "gpu-2")]


def test_a_draining_host_is_taken_back_before_another_is_started():
    found = slots(S.SERVING, S.DRAINING, S.RESTING, sessions=3)
    assert steps(found, 2) == [(Action.ADMIT, "gpu-1")]
    assert steps(found, 3) == [(Action.ADMIT, "gpu-1"), (Action.START, "gpu-2")]


def test_fewer_drains_the_last_and_stops_nothing_that_serves():
    assert steps(slots(S.SERVING, S.SERVING, S.SERVING, S.RESTING), 1) == [
        (Action.DRAIN, "gpu-2"),
        (Action.DRAIN, "gpu-1"),
    ]


def test_those_that_do_not_serve_yet_go_first_and_are_not_admitted():
    found = slots(S.SERVING, S.SERVING, S.STARTING, S.WAITING)
    assert steps(found, 2) == [(Action.STOP, "gpu-2"), (Action.STOP, "gpu-3")]
    assert steps(found, 1) == [
        (Action.STOP, "gpu-2"),
        (Action.STOP, "gpu-3"),
        (Action.DRAIN, "gpu-1"),
    ]


@pytest.mark.parametrize(("floor", "kept"), [(0, 1), (1, 1), (2, 2), (3, 3)])
def test_the_floor_serves_whatever_is_desired(floor, kept):
    found = slots(S.SERVING, S.SERVING, S.SERVING)
    assert len(steps(found, 0, floor=floor)) == 3 - kept


def test_hosts_that_only_start_are_no_reason_to_drain_below_the_floor():
    # 2 wanted, 1 serves: whatever starts may end, the one that serves stays.
    found = slots(S.SERVING, S.STARTING, S.STARTING, S.STARTING)
    assert (Action.DRAIN, "gpu-0") not in steps(found, 2, floor=2)


def test_a_host_that_drains_stops_once_nothing_runs_on_it_or_its_time_is_over():
    busy = slots(S.SERVING, S.DRAINING, sessions=2, draining_s=59.0)
    assert steps(busy, 1) == []
    assert steps(slots(S.SERVING, S.DRAINING), 1) == [(Action.STOP, "gpu-1")]
    late = slots(S.SERVING, S.DRAINING, sessions=2, draining_s=60.0)
    (step,) = plan_slots(late, desired=1, floor=1, drain_s=60.0, held=False)
    assert "2 requests outlived drain_s (60 s)" in step.line


def test_while_nothing_is_measured_nothing_ends_and_what_drains_comes_back():
    found = slots(S.SERVING, S.SERVING, S.DRAINING, S.STARTING)
    assert steps(found, 1, held=True) == [(Action.ADMIT, "gpu-2")]


def test_a_host_that_cannot_be_asked_neither_counts_nor_is_touched():
    found = slots(S.AWAY, S.SERVING, S.RESTING)
    assert hosts_there(found) == (1, 0)
    assert steps(found, 2) == [(Action.START, "gpu-2")]
    assert steps(slots(S.AWAY, S.SERVING), 1, floor=2) == []
