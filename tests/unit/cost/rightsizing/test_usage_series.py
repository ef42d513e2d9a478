from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rightsizing_worlds import START, series

from greenlight.core.errors import InputError
from greenlight.cost.rightsizing.series import (
    DAY,
    Resource,
    UsageSeries,
    as_datetime,
    as_times,
)

MINUTE = np.timedelta64(1, "m")


def irregular(minutes, values, **kwargs):
    times = START + np.asarray(minutes) * MINUTE
    return UsageSeries.of(times, values, resource=Resource.CPU, unit="cores", **kwargs)


def test_a_missing_sample_is_a_gap_and_not_a_zero():
    found = series([4.0, np.nan, np.nan, np.nan, np.nan, 4.0])
    assert found.quantile(0.01) == 4.0
    assert found.slack(4.0) == 0.0
    assert found.measured == timedelta(minutes=15)  # one lost sample is bridged, three are not
    assert found.span == timedelta(minutes=30)


def test_an_untrusted_sample_counts_as_missing():
    found = series([1.0, 900.0, 1.0], trusted=np.array([True, False, True]))
    assert found.share_above(1.0) == 0.0
    assert series([1.0, 900.0, 1.0]).share_above(1.0) == pytest.approx(1 / 3)


def test_sampling_one_part_more_often_does_not_make_it_longer():
    every_minute = np.arange(0, 60)
    every_ten = np.arange(60, 180, 10)
    minutes = np.concatenate([every_minute, every_ten])
    values = np.where(minutes < 60, 10.0, 1.0)
    found = irregular(minutes, values)
    assert found.share_above(5.0) == pytest.approx(1 / 3, abs=0.05)
    assert (values > 5.0).mean() > 0.8  # what counting samples would have said


def test_samples_may_come_in_any_order():
    found = irregular([20, 0, 10], [3.0, 1.0, 2.0])
    assert found.values.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("minutes", "values", "says"),
    [
        ([0, 0], [1.0, 2.0], "two samples have the time"),
        ([0, 1], [1.0, -2.0], "is -2, must be a number of 0 or more"),
        ([0, 1], [1.0, np.inf], "is inf"),
        ([0, 1], [1.0], "2 times with 1 values"),
        ([], [], "at least one sample"),
    ],
)
def test_what_is_no_usage_is_refused_with_the_reason(minutes, values, says):
    with pytest.raises(InputError, match=says):
        irregular(np.array(minutes, dtype=int), np.array(values))


def test_an_untrusted_negative_value_is_no_reason_to_refuse_the_rest():
    found = irregular([0, 1], [1.0, -2.0], trusted=np.array([True, False]))
    assert found.values.tolist() == [1.0]


def test_a_part_does_not_hold_what_comes_at_its_end():
    whole = series(np.arange(10.0))
    part = whole.between(START, START + 5 * np.timedelta64(5, "m"))
    assert part.values.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert whole.last(timedelta(minutes=10)).values.tolist() == [8.0, 9.0]


def test_a_part_outside_the_series_is_empty_and_says_nothing():
    whole = series(np.arange(10.0))
    empty = whole.between(whole.end, whole.end + np.timedelta64(DAY))
    assert np.isnan(empty.share_above(1.0))
    assert np.isnan(empty.slack(1.0))
    with pytest.raises(InputError):
        empty.quantile(0.5)


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=60),
    st.floats(0, 1e6),
    st.randoms(use_true_random=False),
)
def test_time_above_and_slack_are_what_counting_second_by_second_says(values, capacity, random):
    gaps = [random.randint(1, 9) for _ in values]
    seconds = np.cumsum([0, *gaps[:-1]])
    times = START + seconds * np.timedelta64(1, "s")
    found = UsageSeries.of(times, np.array(values), resource=Resource.CPU, unit="cores")
    above = unused = total = 0.0
    for value, weight in zip(values, found.weights.tolist(), strict=True):
        total += weight
        above += weight * (value > capacity)
        unused += weight * max(0.0, capacity - value)
    assert found.share_above(capacity) == pytest.approx(above / total)
    slack = unused / total / capacity if capacity > 0 else 0.0
    assert found.slack(capacity) == pytest.approx(slack, abs=1e-9)


@given(
    st.lists(st.floats(0, 100), min_size=1, max_size=80),
    st.floats(0.01, 1.0),
    st.booleans(),
)
def test_a_quantile_is_the_smallest_value_that_is_enough(values, q, even):
    seconds = np.arange(len(values)) if even else np.cumsum(np.arange(len(values)) % 5 + 1)
    times = START + seconds * np.timedelta64(1, "s")
    found = UsageSeries.of(times, np.array(values), resource=Resource.CPU, unit="cores")
    size = found.quantile(q)
    assert size in found.values
    assert found.share_above(size) <= 1 - q + 1e-9
    smaller = [value for value in values if value < size]
    if smaller:
        assert found.share_above(max(smaller)) > 1 - q - 1e-9


def test_times_need_a_zone_and_come_back_in_utc():
    east = timezone(timedelta(hours=2))
    times = as_times([datetime(2026, 3, 2, 2, tzinfo=east)])
    assert as_datetime(times[0]) == datetime(2026, 3, 2, tzinfo=UTC)
    with pytest.raises(InputError, match="no time zone"):
        as_times([datetime(2026, 3, 2)])  # noqa: DTZ001 - the very thing that is refused
