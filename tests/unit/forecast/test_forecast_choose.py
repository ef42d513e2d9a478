from datetime import timedelta

import numpy as np
import pytest
from forecast_worlds import MONDAY, series_of, weekly

from greenlight.forecast.accuracy import covered, wape
from greenlight.forecast.choose import TooLittleHistory, forecast
from greenlight.forecast.models import Profile, Season
from greenlight.forecast.settings import ForecastSettings
from greenlight.forecast.walk import replay

LIGHT = ForecastSettings(
    models=(
        Profile(season=Season.NONE, level_days=1),
        Profile(season=Season.DAY, cycles=7, level_days=1),
        Profile(season=Season.WEEK, cycles=4, level_days=7),
    )
)
"""Without statsmodels, whose import alone takes seconds."""


def band(said, level):
    return next(found for found in said.bands if found.level == level)


def test_a_forecast_has_a_value_and_bounds_for_every_step():
    said = forecast(weekly(42, noise=1.0), steps=48, settings=LIGHT)
    assert said.start == MONDAY + np.timedelta64(42, "D")
    assert said.points.size == 48
    for found in said.bands:
        assert (found.low <= said.points + 1e-9).all()
        assert (found.high >= said.points - 1e-9).all()
    assert (band(said, 0.5).high <= band(said, 0.95).high).all()
    assert said.accuracy.wape < said.accuracy.naive


def test_the_usual_models_run_too_and_the_week_is_found():
    said = forecast(weekly(35, noise=0.3), steps=48, settings=ForecastSettings(every_hours=24))
    assert "week" in said.model
    truth = weekly(37).values[35 * 24 :]
    assert wape(truth, said.points) < 0.05


def test_what_is_said_now_is_what_a_replay_says_at_that_origin():
    series = weekly(30, noise=1.0)
    issued = replay(series, steps=48, settings=LIGHT)
    then = next(one for one in issued if one.origin == 25 * 24)
    now = forecast(series.until(25 * 24), steps=48, settings=LIGHT)
    assert now.model == then.model
    assert now.points.tolist() == then.points.tolist()
    assert now.total == then.total
    for one, two in zip(now.bands, then.bands, strict=True):
        assert np.array_equal(one.low, two.low, equal_nan=True)


def test_the_future_changes_nothing_that_was_said():
    series, other = weekly(30, noise=1.0), weekly(30, noise=1.0)
    other.values[25 * 24 :] = 500.0
    first = replay(series, steps=24, settings=LIGHT)
    second = replay(other, steps=24, settings=LIGHT)
    for one, two in zip(first, second, strict=True):
        if one.origin <= 25 * 24:
            assert one.points.tolist() == two.points.tolist()
            assert np.array_equal(one.bands[1].high, two.bands[1].high, equal_nan=True)


def test_coverage_is_near_what_is_asked_on_noise():
    issued = replay(weekly(70, noise=2.0), steps=48, settings=LIGHT)
    late = [one for one in issued if one.origin > 35 * 24]
    actuals = np.array([one.actuals for one in late])
    assert covered([one.bands[1] for one in late], actuals) == pytest.approx(0.8, abs=0.05)


def test_bands_that_covered_too_little_are_stretched():
    series = weekly(40, noise=0.5)
    rng = np.random.default_rng(5)
    series.values[34 * 24 :] += rng.normal(0, 6, 6 * 24)
    issued = replay(series, steps=24, settings=LIGHT)
    now, before = issued[-1], next(one for one in issued if one.origin == 34 * 24)

    def stretch(one):
        wide, plain = one.bands[1], one.plain[1]
        return np.median((wide.high - wide.low) / (plain.high - plain.low))

    assert stretch(before) < 1.5
    assert stretch(now) > 1.5


def test_a_short_history_is_a_result_that_says_what_is_missing():
    said = forecast(weekly(4), steps=48, settings=LIGHT)
    assert said == TooLittleHistory(why="4.0 days of history, at least 5.0 are needed")


def test_a_history_of_gaps_is_one_too():
    series = weekly(20)
    series.values[: 10 * 24] = np.nan
    said = forecast(series, steps=24, settings=LIGHT)
    assert isinstance(said, TooLittleHistory)
    assert "50% of 20.0 days measured" in said.why


def test_recent_gaps_that_leave_nothing_to_compare_are_said():
    series = weekly(8)
    series.values[2 * 24 : 4 * 24] = np.nan
    settings = LIGHT.model_copy(update={"remembered": 4, "least_origins": 60})
    said = forecast(weekly(60), steps=24, settings=settings)
    assert isinstance(said, TooLittleHistory)
    assert "fewer than 60 past origins" in said.why


def test_spend_is_never_forecast_below_zero():
    rng = np.random.default_rng(1)
    said = forecast(series_of(rng.exponential(0.2, 30 * 24)), steps=24, settings=LIGHT)
    assert min(found.low.min() for found in said.bands) >= 0
    assert said.total.intervals[2].low >= 0


def test_days_are_forecast_from_days():
    days = np.random.default_rng(1).normal([100] * 5 + [40] * 2, 3, (12, 7)).ravel()
    said = forecast(series_of(days, hours=24), steps=14, settings=LIGHT)
    assert said.step == timedelta(days=1)
    assert said.points.sum() == pytest.approx(2 * 580, rel=0.05)
    assert said.total.intervals[1].low < 2 * 580 < said.total.intervals[1].high


def test_wape_of_nothing_is_unknown():
    assert wape(np.array([np.nan]), np.array([1.0])) is None
    assert wape(np.array([0.0]), np.array([1.0])) is None
    assert wape(np.array([2.0, np.nan]), np.array([1.0, np.nan])) == 0.5


def test_sums_by_day_end_at_midnight_and_grow_to_the_total():
    series = weekly(30, noise=1.0).until(29 * 24 + 18)
    said = forecast(series, steps=6 + 24 + 12, settings=LIGHT)
    sums = [said.points[:size].sum() for size in (6, 30, 42)]
    assert [one.point for one in said.by_day] == pytest.approx(sums, rel=0.03)
    assert said.by_day[-1] == said.total
    widths = [one.intervals[1].high - one.intervals[1].low for one in said.by_day]
    assert widths == sorted(widths)
