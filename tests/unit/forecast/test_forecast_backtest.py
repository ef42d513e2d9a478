from datetime import timedelta

import numpy as np
from forecast_worlds import series_of, weekly

from greenlight.forecast.backtest import backtest, origins_of, ranked
from greenlight.forecast.models import NAIVE, Profile, Season

DAY = timedelta(days=1)
NAMES = tuple(model.name for model in NAIVE)
LEVEL = Profile(season=Season.NONE, level_days=7)
WEEK = Profile(season=Season.WEEK)


def tried(series, *models, steps=24):
    origins = origins_of(series, first=8 * DAY, every=DAY)
    return backtest(series, (*NAIVE, *models), origins=origins, steps=steps)


def best(known, **changes):
    return ranked(known, **({"naive": NAMES, "least_origins": 3, "margin": 0.01} | changes))


def test_origins_are_a_day_apart_and_the_first_has_its_history():
    origins = origins_of(weekly(10), first=3 * DAY, every=DAY)
    assert origins.tolist() == [72, 96, 120, 144, 168, 192, 216]
    assert origins_of(weekly(2), first=3 * DAY, every=DAY).size == 0


def test_no_model_sees_what_came_after_its_origin():
    series = weekly(20, noise=1.0)
    later = weekly(20, noise=1.0)
    later.values[15 * 24 :] = 1e6
    first, second = tried(series, WEEK, LEVEL), tried(later, WEEK, LEVEL)
    rows = first.origins <= 15 * 24
    for one, two in zip(first.tried, second.tried, strict=True):
        assert np.array_equal(one.forecasts[rows], two.forecasts[rows], equal_nan=True)


def test_only_errors_that_were_known_by_then_count():
    known = tried(weekly(20), WEEK).known_at(15 * 24 + 6, newest=100)
    assert known.origins.tolist() == [24 * day for day in range(8, 16)]
    assert np.isfinite(known.actuals[-2]).all()
    assert np.isfinite(known.actuals[-1]).tolist() == [True] * 6 + [False] * 18
    assert np.isnan(known.of("naive_day").errors[-1][6:]).all()


def test_the_newest_origins_are_the_ones_remembered():
    known = tried(weekly(20)).known_at(20 * 24, newest=2)
    assert known.origins.tolist() == [18 * 24, 19 * 24]


def test_a_better_model_is_taken_before_naive():
    known = tried(weekly(42, noise=1.0), WEEK, LEVEL)
    assert best(known)[0].name == WEEK.name


def test_a_model_that_is_no_better_is_not_taken():
    known = tried(weekly(42), LEVEL)
    assert best(known)[0].name == "naive_week"
    assert LEVEL.name in [score.name for score in best(known)]


def test_a_better_one_is_not_taken_within_the_margin():
    known = tried(weekly(42, noise=1.0), WEEK)
    assert best(known, margin=0.9)[0].name == "naive_week"


def test_a_model_that_was_hardly_tried_is_not_judged():
    known = tried(weekly(42, noise=1.0), WEEK).known_at(17 * 24, newest=100)
    names = [score.name for score in best(known, least_origins=5)]
    assert WEEK.name not in names


def test_nothing_is_ranked_without_a_naive_one_to_compare_with():
    known = tried(series_of(np.full(20 * 24, np.nan)))
    assert best(known) == ()
