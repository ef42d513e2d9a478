from datetime import timedelta

import numpy as np
import pytest

from greenlight.core.errors import InputError
from greenlight.forecast.series import RegularSeries, filled

START = np.datetime64("2026-01-05T00:00", "us")
HOUR = timedelta(hours=1)


def samples(minutes, values):
    times = START + np.array(minutes) * np.timedelta64(1, "m")
    return times, np.array(values, dtype=float)


def test_samples_are_averaged_within_a_step_whatever_their_order():
    times, values = samples([75, 0, 15, 60], [7, 1, 3, 5])
    series = RegularSeries.of(times, values, step=HOUR)
    assert series.values.tolist() == [2, 6]
    assert series.start == START


def test_an_hour_that_nobody_measured_is_a_gap_and_not_zero():
    series = RegularSeries.of(*samples([0, 60, 180], [1, 2, 3]), step=HOUR)
    assert np.isnan(series.values[2])
    assert series.measured == 3 * HOUR
    assert series.span == 4 * HOUR


def test_a_missing_sample_leaves_no_trace():
    series = RegularSeries.of(*samples([0, 30, 60, 90], [1, np.nan, 2, 4]), step=HOUR)
    assert series.values.tolist() == [1, 3]


def test_half_of_an_hour_has_a_mean_but_no_sum():
    times, values = samples([0, 15, 30, 45, 60, 75, 120, 135, 150, 165], [1.0] * 10)
    assert RegularSeries.of(times, values, step=HOUR).values.tolist() == [1, 1, 1]
    summed = RegularSeries.of(times, values, step=HOUR, fold="sum").values
    assert summed[[0, 2]].tolist() == [4, 4]
    assert np.isnan(summed[1])


def test_an_hour_that_has_only_begun_is_left_out_of_sums():
    times, values = samples([0, 15, 30, 45, 60, 75, 90, 105, 120], [1.0] * 9)
    series = RegularSeries.of(times, values, step=HOUR, fold="sum")
    assert series.values.tolist() == [4, 4]


@pytest.mark.parametrize("minutes", [7, 0, -60, 36 * 60])
def test_a_step_that_does_not_divide_a_day_is_refused(minutes):
    with pytest.raises(InputError, match="does not divide a day"):
        RegularSeries(start=START, step=timedelta(minutes=minutes), values=np.ones(3))


def test_nothing_and_infinity_are_refused():
    with pytest.raises(InputError, match="none of 2 samples"):
        RegularSeries.of(*samples([0, 60], [np.nan, np.nan]), step=HOUR)
    with pytest.raises(InputError, match="infinite"):
        RegularSeries.of(*samples([0, 60], [1, np.inf]), step=HOUR)


def test_gaps_take_the_period_before_or_the_last_value():
    values = np.array([np.nan, 1, 2, 3, np.nan, np.nan])
    assert filled(values, 3).tolist() == [1, 1, 2, 3, 1, 2]
    assert filled(np.array([5, np.nan, 7.0]), 24).tolist() == [5, 5, 7]
