"""Forecasting models. Each is settings and one pure `predict`, which sees the past only.

`predict` returns `None` where the history is too short for the model: then others are asked. They
are few and plain on purpose, and none is trusted: a backtest on the very series picks.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from greenlight.core.types import Value
from greenlight.forecast.series import DAY, WEEK, Floats, RegularSeries, filled

MOST_GAPS = 0.25
"""A model that needs every step doesn't invent more than this share of them."""


class Season(StrEnum):
    """What repeats."""

    NONE = "none"
    DAY = "day"
    WEEK = "week"

    def steps(self, series: RegularSeries) -> int:
        """Return the length of the season in steps; one where nothing repeats."""
        period = {Season.NONE: series.step, Season.DAY: DAY, Season.WEEK: WEEK}[self]
        return max(1, series.steps_in(period))


class Model(Value):
    """What every model has."""

    model: str

    @property
    @abstractmethod
    def name(self) -> str:
        """How it is called in results."""

    @abstractmethod
    def predict(self, history: RegularSeries, steps: int) -> Floats | None:
        """Return a value for each of the next steps; `None`: the history is too short."""


class SeasonalNaive(Model):
    """What was measured a season ago: the yardstick for all others.

    A gap is looked for a season earlier again.
    """

    model: Literal["seasonal_naive"] = "seasonal_naive"
    season: Season = Season.WEEK

    @property
    def name(self) -> str:
        """Its name with the season."""
        return f"naive_{self.season}"

    def predict(self, history: RegularSeries, steps: int) -> Floats | None:
        """Repeat the newest season."""
        period = self.season.steps(history)
        if history.values.size < period:
            return None
        table = _cycles(history.values, period)
        there = np.isfinite(table)
        if not there.any(axis=0).all():
            return None
        newest = table.shape[0] - 1 - np.argmax(there[::-1], axis=0)
        return np.resize(table[newest, np.arange(period)], steps)


class Profile(Model):
    """A level, a median shape of the day or week on it, and a line through it if wanted.

    The median of past cycles shrugs off single bursts. `cycles`: how many seasons the shape is made
    of. `level_days`: the level is the median of so many newest days, less the shape. `has_trend`:
    the median slope between cycles (Theil, Sen) goes on. Without a season it is a level or drift.
    """

    model: Literal["profile"] = "profile"
    season: Season = Season.WEEK
    cycles: Annotated[int, Field(ge=2)] = 4
    level_days: Annotated[float, Field(gt=0)] = 7.0
    has_trend: bool = False

    @property
    def name(self) -> str:
        """Its parts."""
        shape = "level" if self.season is Season.NONE else f"profile_{self.season}"
        return f"{shape}_{self.level_days:g}d{'_trend' if self.has_trend else ''}"

    def predict(self, history: RegularSeries, steps: int) -> Floats | None:
        """Add level, shape and trend."""
        slope = self._slope(history) if self.has_trend else 0.0
        if slope is None:
            return None
        values = history.values + slope * np.arange(history.values.size, 0, -1)
        newest = min(values.size, max(1, round(timedelta(days=self.level_days) / history.step)))
        shape = self._shape(values, self.season.steps(history))
        if shape is None or not np.isfinite(values[-newest:]).any():
            return None
        # The shape begins where the forecast does, so its end is the newest step's.
        back = np.resize(shape[::-1], newest)[::-1]
        level = float(np.nanmedian(values[-newest:] - back))
        return level + np.resize(shape, steps) + slope * np.arange(steps)

    def _shape(self, values: Floats, period: int) -> Floats | None:
        if self.season is Season.NONE:
            return np.zeros(1)
        table = _cycles(values, period)[-self.cycles :]
        whole = table[np.isfinite(table).mean(axis=1) >= 1 - MOST_GAPS]
        if whole.shape[0] < 2 or not np.isfinite(whole).any(axis=0).all():
            return None
        centred = whole - np.nanmedian(whole, axis=1, keepdims=True)
        return np.asarray(np.nanmedian(centred, axis=0))

    def _slope(self, history: RegularSeries) -> float | None:
        """Return the change per step: the median of all pairs of cycles."""
        season = Season.DAY if self.season is Season.NONE else self.season
        period = season.steps(history)
        table = _cycles(history.values, period)[-max(4, self.cycles) :]
        table = table[np.isfinite(table).mean(axis=1) >= 1 - MOST_GAPS]
        if table.shape[0] < 4:
            return None
        levels = np.nanmedian(table, axis=1)
        first, second = np.triu_indices(levels.size, 1)
        return float(np.median((levels[second] - levels[first]) / (second - first)) / period)


class MstlEts(Model):
    """Daily and weekly seasons by MSTL, the rest by exponential smoothing with a damped trend.

    MSTL: Bandara, Hyndman, Bergmeir 2021; both from statsmodels. LOESS is computed at every
    twentieth of a season and joined by lines, which is fifteen times faster and as good here. The
    seasons go on as in their newest cycle. `window`: over how many cycles a season may change.
    `is_factor`: seasons multiply, by way of logarithms. `lookback_days`: older history isn't looked
    at.
    """

    model: Literal["mstl_ets"] = "mstl_ets"
    seasons: tuple[Season, ...] = (Season.DAY, Season.WEEK)
    window: Annotated[int, Field(ge=7)] = 21
    is_factor: bool = False
    lookback_days: Annotated[int, Field(ge=7)] = 70

    @property
    def name(self) -> str:
        """Its name with the seasons."""
        return "_".join(("mstl_ets", *self.seasons, *(("factor",) if self.is_factor else ())))

    def predict(self, history: RegularSeries, steps: int) -> Floats | None:
        """Add the seasons to the smoothed rest."""
        periods = tuple(p for s in self.seasons if (p := s.steps(history)) > 1)
        values = history.values[-history.steps_in(timedelta(days=self.lookback_days)) :]
        if not periods or values.size <= 2 * max(periods):
            return None
        if np.isnan(values).mean() > MOST_GAPS:
            return None
        values = filled(values, max(periods))
        if not self.is_factor:
            return _mstl_ets(values, periods, self.window, steps)
        if values.min() <= 0:
            return None
        logs = _mstl_ets(np.log(values), periods, self.window, steps)
        return None if logs is None else np.exp(logs)


def _mstl_ets(values: Floats, periods: tuple[int, ...], window: int, steps: int) -> Floats | None:
    from statsmodels.tsa.exponential_smoothing.ets import (  # type: ignore[import-untyped]
        ETSModel,
    )
    from statsmodels.tsa.seasonal import MSTL  # type: ignore[import-untyped]

    if np.ptp(values) == 0:
        return np.full(steps, values[-1])
    jump = max(1, max(periods) // 20)
    jumps = {"trend_jump": jump, "seasonal_jump": max(1, jump // 4), "low_pass_jump": jump}
    windows = (window,) * len(periods)
    fit = MSTL(values, periods=periods, windows=windows, stl_kwargs=jumps).fit()
    seasonal = np.asarray(fit.seasonal)
    seasonal = seasonal.reshape(values.size, len(periods))
    rest = values - seasonal.sum(axis=1)
    with warnings.catch_warnings():
        # An optimiser that stops early gives a worse forecast, which the backtest sees.
        warnings.simplefilter("ignore")
        fitted = ETSModel(rest, error="add", trend="add", damped_trend=True).fit(disp=False)
    out = np.asarray(fitted.forecast(steps), dtype=np.float64)
    for column, period in enumerate(periods):
        out = out + np.resize(seasonal[-period:, column], steps)
    return out if np.isfinite(out).all() else None


def _cycles(values: Floats, period: int) -> Floats:
    """Return whole cycles, a row each, the newest last; what doesn't fill one is left out."""
    count = values.size // period
    return values[values.size - count * period :].reshape(count, period)


AnyModel = Annotated[SeasonalNaive | Profile | MstlEts, Field(discriminator="model")]
"""A new one is its settings, one `predict`, and an entry here."""

NAIVE = (SeasonalNaive(season=Season.DAY), SeasonalNaive(season=Season.WEEK))
USUAL: tuple[AnyModel, ...] = (
    Profile(season=Season.NONE, level_days=1),
    Profile(season=Season.NONE, level_days=3),
    Profile(season=Season.NONE, level_days=7),
    Profile(season=Season.NONE, level_days=7, has_trend=True),
    Profile(season=Season.DAY, cycles=7, level_days=1),
    Profile(season=Season.DAY, cycles=14, level_days=7),
    Profile(season=Season.WEEK, cycles=4, level_days=7),
    Profile(season=Season.WEEK, cycles=4, level_days=7, has_trend=True),
    MstlEts(seasons=(Season.DAY,)),
    MstlEts(),
    MstlEts(is_factor=True),
)
"""Beside the naive ones."""
