import numpy as np
import pytest
from pydantic import ValidationError
from rightsizing_worlds import A_DAY, day, moved, series, weeks

from greenlight.cost.rightsizing.shifts import ShiftSettings, newest_shift

SETTINGS = ShiftSettings()
HOUR = np.timedelta64(1, "h")


def found(values, **kwargs):
    return newest_shift(series(values, **kwargs), SETTINGS)


@pytest.mark.parametrize("factor", [0.4, 1.5, 2.0])
@pytest.mark.parametrize("days_ago", [1.0, 1.7, 3.0, 4.5])
def test_a_lasting_shift_is_found_at_its_time_with_both_levels(factor, days_ago):
    values = moved(weeks(19), at_day=19 - days_ago, factor=factor)  # ends on a Friday night
    shift = found(values)
    assert shift is not None
    assert abs(shift.at - day(19 - days_ago)) <= 6 * HOUR
    assert (shift.after > shift.before) == (factor > 1)


def test_a_rise_that_a_weekend_hides_is_seen_on_monday():
    values = moved(weeks(22), at_day=19, factor=1.4)
    assert found(values[: 21 * A_DAY]) is None
    shift = found(values)
    assert shift is not None
    assert shift.after > shift.before


@pytest.mark.parametrize("seed", range(8))
def test_nights_weekends_and_noise_are_no_shift(seed):
    values = weeks(28, daily=0.5, weekend=0.5, noise=0.1, seed=seed)
    for end in range(7 * A_DAY, 28 * A_DAY + 1, A_DAY // 2):
        assert found(values[:end]) is None


def test_the_first_weekend_after_six_days_is_no_shift():
    values = weeks(14, weekend=0.3)[A_DAY:]  # begins on a Tuesday
    for end in range(5 * A_DAY, 7 * A_DAY + 1, 24):
        assert found(values[:end]) is None


@pytest.mark.parametrize("hours", [1, 2])
def test_a_burst_that_is_over_is_no_shift(hours):
    values = weeks(14)
    values[-4 * 12 : -4 * 12 + 12 * hours] *= 6
    assert found(values) is None


def test_a_shift_too_small_to_matter_is_left_alone():
    assert found(moved(weeks(14), at_day=10, factor=1.05)) is None


def test_a_rise_of_the_idle_level_under_high_bursts_moves_no_advice():
    rng = np.random.default_rng(3)
    values = 0.1 + rng.normal(0, 0.002, 14 * A_DAY)
    values[::40] = 90.0
    risen = np.where(np.arange(values.size) >= 12 * A_DAY, values + 0.1, values)
    assert found(risen) is None


def test_the_newest_of_two_shifts_is_told():
    values = moved(moved(weeks(28), at_day=12, factor=2.0), at_day=24, factor=0.3)
    shift = found(values)
    assert shift is not None
    assert abs(shift.at - day(24)) <= 6 * HOUR


def test_a_shift_is_not_looked_for_before_six_days_are_known():
    values = moved(weeks(6), at_day=4, factor=3.0)
    assert found(values) is None


def test_an_outage_is_no_shift():
    values = weeks(14)
    values[-3 * A_DAY : -1 * A_DAY] = np.nan
    assert found(values) is None
    assert found(np.where(np.isnan(values), 0.0, values)) is not None  # had it counted as zero


def test_a_day_of_which_only_the_night_was_measured_is_no_drop():
    values = weeks(14, daily=0.9, noise=0.02)
    hour = np.arange(values.size) // 12 % 24
    last_day = np.arange(values.size) >= 13 * A_DAY
    values[last_day & (hour < 14)] = np.nan  # the night of this cycle is from 12 to 24
    assert found(values) is None


def test_two_measured_days_before_do_not_say_how_far_usage_wanders():
    values = moved(weeks(14), at_day=12, factor=3.0)
    assert found(values) is not None
    values[: 10 * A_DAY] = np.nan
    assert found(values) is None


def test_a_constant_series_and_a_series_of_zeros_have_no_shift():
    assert found(np.full(14 * A_DAY, 3.0)) is None
    assert found(np.zeros(14 * A_DAY)) is None


def test_use_after_idle_days_is_a_shift():
    values = np.zeros(14 * A_DAY)
    values[13 * A_DAY :] = 4.0
    shift = found(values)
    assert shift is not None
    assert (shift.before, shift.after) == (0.0, 4.0)


def test_hourly_samples_with_lost_ones_are_enough_to_see_a_shift():
    hourly = moved(weeks(21), at_day=19, factor=2.0)[::12].copy()
    hourly[5::3] = np.nan
    shift = found(hourly, step=np.timedelta64(1, "h"))
    assert shift is not None
    assert abs(shift.at - day(19)) <= 6 * HOUR


def test_scaling_the_series_moves_levels_and_not_times():
    values = moved(weeks(21), at_day=19, factor=2.0)
    one, thousand = found(values), found(1000 * values)
    assert one is not None
    assert thousand is not None
    assert thousand.at == one.at
    assert thousand.after == pytest.approx(1000 * one.after)


def test_a_lookback_in_which_nothing_could_be_found_is_refused():
    with pytest.raises(ValidationError, match="lookback_days 14 must be above before_days 14"):
        ShiftSettings(lookback_days=14, before_days=14)
