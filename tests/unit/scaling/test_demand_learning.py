from datetime import UTC, date, timedelta

import numpy as np
import pytest
from scaling_worlds import A_DAY, LONDON, MONDAY, changed, learned, local_demand

from greenlight.core.errors import InputError
from greenlight.scaling.calendars import SpecialDay, calendar_of
from greenlight.scaling.demand import LearnSettings, learn
from greenlight.scaling.demand_profile import NotEnoughData
from greenlight.scaling.demand_series import DemandSeries


def times(*texts):
    return np.array(texts, dtype="datetime64[us]")


def not_enough(series, **settings):
    found = learn(series, calendar_of("UTC"), LearnSettings(**settings))
    assert isinstance(found, NotEnoughData)
    return found.why


def test_the_hour_of_the_week_is_learned():
    profile = learned(local_demand(21))
    found = profile.expected(times("2026-03-23T10:00", "2026-03-23T03:00", "2026-03-28T10:00"))
    assert found == pytest.approx([950, 150, 150], rel=0.01)


def test_the_rush_stays_at_nine_when_clocks_change():
    # clocks go forward on 2026-03-29: nine o'clock is 08:00 UTC from then on
    profile = learned(local_demand(26, zone=LONDON), zone=LONDON)
    found = profile.expected(times("2026-03-27T08:30", "2026-03-30T08:30", "2026-03-30T07:30"))
    assert found == pytest.approx([150, 950, 150], rel=0.01)


def test_a_day_of_25_hours_is_learned_as_one_day():
    start = np.datetime64("2026-10-05T00:00:00", "us")
    profile = learned(local_demand(28, zone=LONDON, start=start), zone=LONDON)
    found = profile.expected(times("2026-11-02T08:30", "2026-11-02T09:30", "2026-11-02T17:30"))
    assert found == pytest.approx([150, 950, 150], rel=0.01)


def test_a_new_level_is_followed_within_days():
    series = local_demand(28)
    risen = learned(changed(series, slice(24 * A_DAY, None), 1.3))
    at_ten = times("2026-03-30T10:00")
    assert risen.expected(at_ten)[0] > 1.15 * learned(series).expected(at_ten)[0]


def test_a_plain_trend_goes_on_and_is_bounded():
    series = local_demand(42, noise=0.01)
    weeks = np.arange(series.values.size) / (7 * A_DAY)
    grown = learned(
        DemandSeries(start=MONDAY, step=series.step, values=series.values * 1.05**weeks)
    )
    assert np.expm1(7 * grown.trend) == pytest.approx(0.05, abs=0.01)
    steep = DemandSeries(start=MONDAY, step=series.step, values=series.values * 1.5**weeks)
    assert np.expm1(7 * learned(steep).trend) == pytest.approx(0.1, abs=0.001)
    assert learned(series).trend == 0.0


def test_a_holiday_is_not_learned_from_and_is_planned_like_a_sunday():
    holiday, coming = (
        SpecialDay(day=date(2026, 3, 16), name="A"),
        SpecialDay(day=date(2026, 3, 24), name="B"),
    )
    series = changed(local_demand(21), slice(14 * A_DAY, 15 * A_DAY), 0.0)
    profile = learned(series, own=[holiday, coming])
    ordinary, special = profile.expected(times("2026-03-23T10:00", "2026-03-24T10:00"))
    assert ordinary == pytest.approx(950, rel=0.01)
    assert special == pytest.approx(0, abs=1)  # as the one before it, which had no demand at all


def test_an_own_day_has_its_own_factor_and_weekday():
    sale = SpecialDay(day=date(2026, 3, 28), name="Sale", like=0, factor=2.0)
    profile = learned(local_demand(21), own=[sale])
    assert profile.expected(times("2026-03-28T10:00"))[0] == pytest.approx(1900, rel=0.01)


def test_more_doubt_asks_for_more_and_a_higher_quantile_never_for_less():
    calm, wild = learned(local_demand(28, noise=0.02)), learned(local_demand(28, noise=0.2))
    moment = times("2026-03-30T10:00")
    assert wild.upper(moment, 0.95) > calm.upper(moment, 0.95)
    levels = [wild.upper(moment, q)[0] for q in (0.1, 0.5, 0.9, 0.99, 0.999)]
    assert levels == sorted(levels)


def test_the_quantile_holds_on_days_that_were_not_learned():
    series = local_demand(56, noise=0.1)
    profile = learned(series.until(MONDAY + np.timedelta64(49, "D")))
    later = series.times[49 * A_DAY :]
    met = series.values[49 * A_DAY :] <= profile.upper(later, 0.9)
    assert 0.86 <= met.mean() <= 0.94


def test_attainment_says_how_often_a_capacity_was_enough():
    profile = learned(local_demand(28, noise=0.1))
    moment = times("2026-03-30T10:00", "2026-03-30T10:00", "2026-03-30T10:00")
    low, middle, high = profile.attainment(moment, np.array([100.0, 950.0, 5000.0]))
    assert (low, high) == (0.0, 1.0)
    assert 0.4 < middle < 0.6


@pytest.mark.parametrize(
    ("series", "settings", "said"),
    [
        (local_demand(10), {}, "10.0 days of demand, at least 14"),
        (
            changed(local_demand(21), slice(0, None, 2), np.nan),
            {},
            "50% of the demand was measured",
        ),
        (changed(local_demand(21), slice(None), 0.0), {}, "no demand at all"),
    ],
)
def test_too_little_is_a_result_of_its_own(series, settings, said):
    assert said in not_enough(series, **settings)


def test_nights_without_any_demand_are_learned_as_such():
    series = local_demand(21)
    values = series.values.reshape(21, A_DAY).copy()
    values[:, :20] = 0.0
    profile = learned(DemandSeries(start=MONDAY, step=series.step, values=values.ravel()))
    night, day = profile.upper(times("2026-03-23T02:00", "2026-03-23T10:00"), 0.99)
    assert (night, day) == pytest.approx((0, 950), rel=0.01)


def test_hours_that_were_never_measured_are_not_guessed():
    series = local_demand(21)
    values = series.values.reshape(21, A_DAY).copy()
    values[:, 8:12] = np.nan
    why = not_enough(DemandSeries(start=MONDAY, step=series.step, values=values.ravel()))
    assert "times of the day that no demand was measured at" in why


def test_samples_too_far_apart_are_not_enough():
    series = DemandSeries(start=MONDAY, step=timedelta(hours=2), values=np.ones(12 * 30))
    assert "hourly" in not_enough(series)


def test_samples_come_in_any_order_and_are_put_on_a_grid():
    moments = times("2026-03-02T00:10", "2026-03-02T00:00", "2026-03-02T00:05", "2026-03-02T00:20")
    series = DemandSeries.of(moments, np.array([3.0, 1.0, 2.0, 5.0]))
    assert series.step == timedelta(minutes=5)
    np.testing.assert_equal(series.values, [1, 2, 3, np.nan, 5])
    assert series.end.item().replace(tzinfo=UTC).minute == 25


@pytest.mark.parametrize("value", [-1.0, np.inf])
def test_what_is_no_demand_is_refused(value):
    with pytest.raises(InputError, match="must be 0 or more"):
        DemandSeries.of(times("2026-03-02T00:00", "2026-03-02T00:05"), np.array([1.0, value]))


def test_only_what_is_over_is_known():
    series = local_demand(2)
    assert series.until(MONDAY + np.timedelta64(31, "m")).values.size == 2
    assert series.until(MONDAY - np.timedelta64(1, "D")).values.size == 0
