from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from cost_worlds import HOUR
from hypothesis import given
from hypothesis import strategies as st

from greenlight.core.errors import RefusedError
from greenlight.cost.savings import (
    Recorded,
    State,
    accept,
    count_once,
    move,
    realise,
    renewed,
)

LATER = HOUR + timedelta(days=3)


def advice(name="smaller", *hosts, saving="100", **changes):
    fields = {
        "id": name,
        "resources": frozenset(hosts or ("gpu-1",)),
        "strategy": "percentile_headroom",
        "monthly_saving": Decimal(saving),
        "currency": "USD",
        "detail": {},
        "state": State.OPEN,
        "made_at": HOUR,
        "changed_at": HOUR,
        "changed_by": "cost_rightsizing_hourly",
    }
    return Recorded(**fields | changes)


def test_two_savings_of_the_same_host_count_once_the_larger_one():
    found = count_once([advice("smaller"), advice("spot", saving="140")])
    assert found.monthly_saving == 140
    assert found.overlapping == {"smaller": "spot"}


def test_savings_of_different_hosts_add_up():
    found = count_once([advice("a", "gpu-1"), advice("b", "gpu-2", saving="50")])
    assert found.monthly_saving == 150
    assert found.overlapping == {}


def test_a_saving_over_several_hosts_overlaps_with_each_of_them():
    found = count_once(
        [advice("both", "gpu-1", "gpu-2", saving="120"), advice("a"), advice("c", "gpu-3")]
    )
    assert [one.id for one in found.counted] == ["both", "c"]


@given(
    st.lists(
        st.tuples(
            st.sets(st.sampled_from("abcd"), min_size=1),
            st.integers(min_value=-50, max_value=500),
            st.sampled_from(list(State)),
        ),
        max_size=12,
    )
)
def test_no_host_is_ever_counted_twice(made):
    everything = [
        advice(f"{i}", *hosts, saving=str(saving), state=state)
        for i, (hosts, saving, state) in enumerate(made)
    ]
    counted = count_once(everything).counted
    hosts = [name for one in counted for name in one.resources]
    assert len(hosts) == len(set(hosts))
    assert all(one.monthly_saving > 0 for one in counted)
    assert {one.state for one in counted} <= {State.OPEN, State.ACCEPTED}


def test_accepted_advice_is_realised_by_what_the_bill_says():
    accepted = accept(advice(), hourly_cost=Decimal("1.20"), at=HOUR, by="ana")
    done = realise(accepted, cost=Decimal("36"), hours=72, at=LATER, by="hourly")
    assert done.state is State.REALISED
    assert done.realised == Decimal("0.70") * 730
    assert done.monthly_saving == 100


def test_a_move_that_saved_nothing_says_so():
    accepted = accept(advice(), hourly_cost=Decimal(1), at=HOUR, by="ana")
    assert realise(accepted, cost=Decimal(48), hours=24, at=LATER, by="x").realised == -730


def test_less_than_a_day_measures_no_saving():
    accepted = accept(advice(), hourly_cost=Decimal(1), at=HOUR, by="ana")
    with pytest.raises(RefusedError, match="23 h are too few"):
        realise(accepted, cost=Decimal(1), hours=23, at=LATER, by="x")


@pytest.mark.parametrize(
    ("start", "to"),
    [
        (State.OPEN, State.REALISED),
        (State.DISMISSED, State.ACCEPTED),
        (State.REALISED, State.OPEN),
        (State.WITHDRAWN, State.ACCEPTED),
        (State.ACCEPTED, State.OPEN),
    ],
)
def test_steps_that_skip_a_decision_are_refused(start, to):
    with pytest.raises(RefusedError, match=f"is {start} and can't become {to}"):
        move(advice(state=start), to, at=LATER, by="ana", reason="because")


def test_a_dismissal_needs_a_reason():
    with pytest.raises(RefusedError, match="needs a reason"):
        move(advice(), State.DISMISSED, at=LATER, by="ana", reason=" ")
    dismissed = move(advice(), State.DISMISSED, at=LATER, by="ana", reason="launch on Monday")
    assert (dismissed.state, dismissed.reason, dismissed.changed_by) == (
        State.DISMISSED, "launch on Monday", "ana",
    )  # fmt: skip


def test_the_next_hours_advice_does_not_undo_a_persons_answer():
    fresh = advice(saving="90", made_at=LATER, changed_at=LATER)
    for state in (State.ACCEPTED, State.DISMISSED):
        known = advice(state=state)
        assert renewed(known, fresh) == known
    assert renewed(advice(), fresh) == replace(fresh, made_at=HOUR)
    assert renewed(advice(state=State.WITHDRAWN), fresh) == fresh
    assert renewed(None, fresh) == fresh
