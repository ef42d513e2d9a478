from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rightsizing_worlds import A_DAY, START, fixed, series, weeks

from greenlight.cost.rightsizing.advice import NotEnoughData
from greenlight.cost.rightsizing.backtest import origins, replay, summarise
from greenlight.cost.rightsizing.series import DAY, HOUR


def test_a_strategy_sees_the_past_only():
    usage = series(np.arange(10.0 * A_DAY))
    seen = []

    def size(history):
        seen.append(history)
        return NotEnoughData(why="")

    at = origins(usage, first=2 * DAY, every=DAY, hold=DAY)
    replay(size, usage, at, hold=DAY)
    assert len(seen) == 8
    for origin, history in zip(at, seen, strict=True):
        assert history.times.max() < origin
        assert history.end == origin


def test_the_last_hold_ends_with_the_series_and_the_first_has_its_history():
    usage = series(np.ones(10 * A_DAY))
    at = origins(usage, first=3 * DAY, every=DAY, hold=2 * DAY)
    assert at[-1] + np.timedelta64(2 * DAY) == usage.end
    assert at[0] - usage.start >= np.timedelta64(3 * DAY)
    assert at.size == 6


@pytest.mark.parametrize("days", [0.5, 1.0, 3.9])
def test_a_series_too_short_for_one_hold_has_no_origin(days):
    usage = series(np.ones(int(days * A_DAY)))
    assert origins(usage, first=3 * DAY, every=DAY, hold=DAY).size == 0


@given(
    st.lists(st.integers(0, 9), min_size=60, max_size=60),
    st.integers(0, 9),
    st.integers(1, 12),
    st.integers(1, 12),
)
def test_time_above_and_slack_are_what_a_brute_force_count_says(values, capacity, every, hold):
    usage = series(np.array(values, dtype=float), step=np.timedelta64(1, "h"))
    held = timedelta(hours=hold)
    at = origins(usage, first=24 * HOUR, every=every * HOUR, hold=held)
    found = summarise(replay(fixed(float(capacity)), usage, at, hold=held), hold=held)
    above, unused = [], []
    for origin in at:
        first = int((origin - START) / np.timedelta64(1, "h"))
        for value in values[first : first + hold]:
            above.append(value > capacity)
            unused.append(max(0, capacity - value) / capacity if capacity else 0.0)
    assert found.held == at.size
    assert found.over == pytest.approx(np.mean(above))
    assert found.slack == pytest.approx(np.mean(unused))


def test_an_unmeasured_hold_proves_nothing():
    values = weeks(10)
    values[8 * A_DAY :] = np.nan
    usage = series(values)
    at = origins(usage, first=7 * DAY, every=DAY, hold=DAY)
    replayed = replay(fixed(100.0), usage, at, hold=DAY)
    assert at.size == 3
    assert [held.origin for held in replayed] == [at[0]]


def test_a_day_measured_for_an_hour_weighs_an_hour():
    values = np.where(np.arange(9 * A_DAY) < 8 * A_DAY, 5.0, 1.0)
    values[7 * A_DAY + 12 : 8 * A_DAY] = np.nan
    usage = series(values)
    at = origins(usage, first=7 * DAY, every=DAY, hold=DAY)
    found = summarise(replay(fixed(2.0), usage, at, hold=DAY), hold=DAY)
    assert found.held == 2
    assert found.over == pytest.approx(1 / 25, rel=0.1)


def test_answers_without_a_size_are_counted_and_have_no_share():
    usage = series(weeks(10))
    at = origins(usage, first=7 * DAY, every=DAY, hold=DAY)
    found = summarise(replay(lambda _: NotEnoughData(why=""), usage, at, hold=DAY), hold=DAY)
    assert (found.over, found.slack, found.held, found.not_enough) == (None, None, 0, 3)


def test_the_floor_holds_in_the_backtest_too():
    usage = series(weeks(10))
    at = origins(usage, first=7 * DAY, every=DAY, hold=DAY)
    low = replay(fixed(1.0), usage, at, hold=DAY)
    raised = replay(fixed(1.0), usage, at, hold=DAY, floor=100.0)
    assert all(held.over == 1.0 for held in low)
    assert all(held.capacity == 100.0 and held.over == 0.0 for held in raised)
