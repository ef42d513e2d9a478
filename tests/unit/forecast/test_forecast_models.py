import numpy as np
import pytest
from forecast_worlds import series_of, weekly
from pydantic import TypeAdapter, ValidationError

from greenlight.forecast.models import (
    NAIVE,
    USUAL,
    AnyModel,
    MstlEts,
    Profile,
    Season,
    SeasonalNaive,
)

TRUTH = weekly(42).values[28 * 24 :]
"""What comes after four weeks."""


def wrong(model, history, steps=7 * 24):
    return float(np.abs(model.predict(history, steps) - TRUTH[:steps]).max())


@pytest.mark.parametrize("season", ["day", "week"])
def test_naive_repeats_the_newest_season(season):
    history = weekly(28)
    said = SeasonalNaive(season=season).predict(history, 48)
    period = {"day": 24, "week": 168}[season]
    assert said.tolist() == np.resize(history.values[-period:], 48).tolist()


def test_naive_looks_a_season_further_back_where_there_is_a_gap():
    history = weekly(28)
    history.values[-24:-12] = np.nan
    said = SeasonalNaive(season="day").predict(history, 24)
    assert said[:12].tolist() == history.values[-48:-36].tolist()
    assert said[12:].tolist() == history.values[-12:].tolist()


@pytest.mark.parametrize(
    "model",
    [
        SeasonalNaive(season="week"),
        Profile(season="week"),
        Profile(season="week", has_trend=True),
        MstlEts(),
        MstlEts(is_factor=True),
    ],
    ids=lambda model: model.name,
)
def test_a_model_with_a_week_foresees_the_weekend(model):
    assert wrong(model, weekly(28)) < 0.4


@pytest.mark.parametrize("name", [model.name for model in (*NAIVE, *USUAL)])
def test_every_model_says_when_a_history_is_too_short_for_it(name):
    model = next(model for model in (*NAIVE, *USUAL) if model.name == name)
    said = model.predict(weekly(28).until(1), 5)
    assert said is None or (name.startswith("level") and said.tolist() == [10.0] * 5)


@pytest.mark.parametrize("name", [model.name for model in (*NAIVE, *USUAL)])
def test_every_model_lives_with_gaps(name):
    model = next(model for model in (*NAIVE, *USUAL) if model.name == name)
    history = weekly(28, noise=0.1)
    history.values[np.random.default_rng(3).random(history.values.size) < 0.1] = np.nan
    said = model.predict(history, 48)
    assert said.size == 48
    assert np.isfinite(said).all()


@pytest.mark.parametrize("name", [model.name for model in (*NAIVE, *USUAL)])
def test_a_constant_stays_what_it_is(name):
    model = next(model for model in (*NAIVE, *USUAL) if model.name == name)
    assert model.predict(series_of(np.full(28 * 24, 3.0)), 30) == pytest.approx(np.full(30, 3.0))


def test_a_trend_goes_on():
    history = weekly(28, trend=2.0)
    plain = Profile(season="week").predict(history, 7 * 24)
    drifting = Profile(season="week", has_trend=True).predict(history, 7 * 24)
    truth = weekly(35, trend=2.0).values[28 * 24 :]
    assert np.abs(drifting - truth).mean() < 0.5
    assert np.abs(plain - truth).mean() > 5


def test_a_single_burst_moves_no_profile():
    history = weekly(28)
    history.values[-30] = 1000.0
    assert wrong(Profile(season="week"), history) < 0.1
    assert wrong(SeasonalNaive(season="week"), history) > 900


def test_days_have_no_shape_but_weeks_do():
    days = np.array([10, 10, 10, 10, 10, 4, 4.0] * 5)
    history = series_of(days, hours=24)
    assert MstlEts(seasons=(Season.DAY,)).predict(history, 7) is None
    assert Profile(season="week").predict(history, 7).tolist() == days[:7].tolist()


def test_factors_need_values_above_zero():
    history = weekly(28)
    history.values[5] = 0.0
    assert MstlEts(is_factor=True).predict(history, 5) is None


def test_a_model_is_chosen_by_its_name_in_settings_and_a_wrong_key_is_refused():
    adapter = TypeAdapter(AnyModel)
    assert adapter.validate_python({"model": "profile", "season": "day"}) == Profile(season="day")
    with pytest.raises(ValidationError, match="cycle"):
        adapter.validate_python({"model": "profile", "cycle": 3})
