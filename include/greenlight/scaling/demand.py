"""What demand is learned to be: by time of the week, with level, trend, holidays and doubt.

Every day of history is a row of times of the day, by local time. A weekday's shape is the mean of
its rows, newer ones counting more, each first divided by the level of the days around it; weekdays
that lie together (workdays, weekends) lend each other what one of them alone hasn't shown often.
Then comes the present level, and its trend where there plainly is one.

Doubt is measured, not assumed: every day of the last weeks is forecast from the days before it, and
the ratios of what came to what was forecast give the quantiles, by time of the day. That is a split
conformal bound (Vovk, Gammerman, Shafer 2005) on ratios that are nearly exchangeable.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from greenlight.core.types import Value
from greenlight.scaling.calendars import LocalCalendar
from greenlight.scaling.day_rows import DayRows, rows_of
from greenlight.scaling.demand_profile import DemandProfile, NotEnoughData
from greenlight.scaling.demand_series import DAY, HOUR, DemandSeries, Floats

WORKDAYS = tuple(range(5))
WEEKEND = (5, 6)
_ROUNDS = 4
"""Shape and level are fitted in turns: a shape that holds a new level hides a part of it."""
_TREND_IS_PLAIN = 3.0
"""Standard errors that a slope must be away from none."""


class LearnSettings(Value):
    """How demand is learned.

    `min_days`: less history, or less than `min_measured` of it, is not enough data; two weeks show
    every hour of the week twice. `half_life_days` of a day's weight in the shape,
    `level_half_life_days` in the level. `pooling`: how many days of its own a weekday must have to
    count as much as its class. `max_trend`: most of a week's change that is believed.
    `backtest_days` are forecast to learn the doubt; its quantiles take in `window_h` hours around.
    """

    min_days: Annotated[float, Field(ge=7)] = 14.0
    min_measured: Annotated[float, Field(gt=0, le=1)] = 0.75
    lookback_days: Annotated[int, Field(ge=7)] = 56
    half_life_days: Annotated[float, Field(gt=0)] = 14.0
    level_half_life_days: Annotated[float, Field(gt=0)] = 2.0
    pooling: Annotated[float, Field(ge=0)] = 0.5
    max_trend: Annotated[float, Field(ge=0, lt=1)] = 0.1
    backtest_days: Annotated[int, Field(ge=3)] = 28
    window_h: Annotated[float, Field(gt=0, le=12)] = 1.5


def learn(
    series: DemandSeries, calendar: LocalCalendar, settings: LearnSettings
) -> DemandProfile | NotEnoughData:
    """Learn demand from a series of which all is past."""
    lacking = _lacking(series, settings)
    if lacking is not None:
        return lacking
    rows = rows_of(series, calendar).last(settings.lookback_days)
    if (missing := _unseen(rows)) is not None:
        return missing
    tried, forecasts, ratios = _backtest(rows, settings)
    if not np.isfinite(ratios).any(axis=0).all():
        return NotEnoughData(
            why="times of the day without a day that could be forecast from those before it"
        )
    fitted = _fit(rows, settings)
    return DemandProfile(
        calendar=calendar,
        slot=rows.slot,
        origin=rows.next_day,
        shape=fitted.shape,
        level=fitted.level,
        trend=fitted.trend,
        tried=tried,
        forecasts=forecasts,
        ratios=ratios,
        holiday_factor=_holiday_factor(rows, fitted),
        window=max(0, round(settings.window_h * HOUR / rows.slot)),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Fit:
    shape: Floats
    level: float
    trend: float

    def row(self, weekday: int, ahead: int = 0) -> Floats:
        return np.asarray(self.shape[weekday] * self.level * np.exp(self.trend * ahead))


def _lacking(series: DemandSeries, settings: LearnSettings) -> NotEnoughData | None:
    days = series.span / DAY
    if days < settings.min_days:
        return NotEnoughData(
            why=f"{days:.1f} days of demand, at least {settings.min_days:g} are needed"
        )
    if series.step > HOUR:
        return NotEnoughData(
            why=f"demand every {series.step / HOUR:.1f} h, at least hourly is needed"
        )
    recent = series.values[-round(settings.lookback_days * DAY / series.step) :]
    measured = float(np.isfinite(recent).mean())
    if measured < settings.min_measured:
        return NotEnoughData(
            why=f"{measured:.0%} of the demand was measured, "
            f"at least {settings.min_measured:.0%} is needed"
        )
    if not np.nansum(recent):
        return NotEnoughData(why="no demand at all was measured: nothing can be learned from it")
    return None


def _unseen(rows: DayRows) -> NotEnoughData | None:
    """Return the times of the day that no ordinary workday or weekend day has shown."""
    for name, weekdays in (("workdays", WORKDAYS), ("weekends", WEEKEND)):
        chosen = rows.ordinary & np.isin(rows.weekdays, weekdays)
        if not np.isfinite(rows.means[chosen]).any(axis=0).all():
            return NotEnoughData(why=f"times of the day that no demand was measured at on {name}")
    return None


def _fit(rows: DayRows, settings: LearnSettings) -> _Fit:
    count = rows.weekdays.size
    age = np.arange(count - 1, -1, -1)
    weights = np.where(rows.ordinary, 0.5 ** (age / settings.half_life_days), 0.0)
    near = 0.5 ** (np.abs(age[:, None] - age) / settings.level_half_life_days)
    shape = _shapes(rows.means, rows.weekdays, weights, settings.pooling)
    for _ in range(_ROUNDS):
        heights = _heights(rows, shape)
        tall = np.isfinite(heights) & (heights > 0) & (weights > 0)
        level = near @ np.where(tall, heights, 0.0) / np.maximum(near @ tall, 1e-12)
        known = np.where(level > 0, level, 1.0)
        shape = _shapes(
            rows.means / known[:, None],
            rows.weekdays,
            np.where(tall, weights, 0.0),
            settings.pooling,
        )
    heights = _heights(rows, shape)
    newest = np.where(tall, 0.5 ** (age / settings.level_half_life_days), 0.0)
    trend = _trend(heights, tall, settings)
    if not newest.sum():
        return _Fit(shape=shape, level=1.0, trend=0.0)
    logs = np.log(np.where(tall, heights, 1.0)) + trend * (age + 1)
    return _Fit(shape=shape, level=float(np.exp(newest @ logs / newest.sum())), trend=trend)


def _heights(rows: DayRows, shape: Floats) -> Floats:
    """Return how high each day was against its weekday's shape; NaN: too little was measured."""
    there = np.isfinite(rows.means)
    expected = np.where(there, shape[rows.weekdays], 0.0).sum(axis=1)
    came = np.where(there, rows.means, 0.0).sum(axis=1)
    enough = (there.mean(axis=1) >= 0.25) & (expected > 0)
    return np.where(enough, came / np.where(enough, expected, 1.0), np.nan)


def _shapes(
    means: Floats, weekdays: npt.NDArray[np.int64], weights: Floats, pooling: float
) -> Floats:
    """Return a row per weekday: its own mean, leaning on its class where it was seen little."""
    shapes = np.zeros((7, means.shape[1]))
    everyday, _ = _mean(means, weights)
    for members in (WORKDAYS, WEEKEND):
        inside = np.where(np.isin(weekdays, members), weights, 0.0)
        common, seen = _mean(means, inside)
        common = np.where(seen > 0, common, everyday)
        for weekday in members:
            own, weight = _mean(means, np.where(weekdays == weekday, weights, 0.0))
            both = (common > 0) & (weight > 0)
            scale = own[both].sum() / common[both].sum() if both.any() else 1.0
            share = np.where(weight > 0, weight / (weight + pooling + 1e-12), 0.0)
            shapes[weekday] = share * np.where(weight > 0, own, 0.0) + (1 - share) * common * scale
    return shapes


def _mean(means: Floats, weights: Floats) -> tuple[Floats, Floats]:
    there = np.isfinite(means)
    weight = weights @ there
    total = weights @ np.where(there, means, 0.0)
    return np.where(weight > 0, total / np.where(weight > 0, weight, 1.0), 0.0), weight


def _trend(heights: Floats, tall: npt.NDArray[np.bool_], settings: LearnSettings) -> float:
    """Return the daily slope of the logarithm of the level, where it is plainly not none."""
    days = np.flatnonzero(tall)
    if days.size < 21:
        return 0.0
    y = np.log(heights[days])
    x = days - days.mean()
    slope = float(x @ y / (x @ x))
    left = y - y.mean() - slope * x
    doubt = float(np.sqrt(left @ left / (days.size - 2) / (x @ x)))
    if abs(slope) < _TREND_IS_PLAIN * doubt:
        return 0.0
    most = np.log1p(settings.max_trend) / 7
    return float(np.clip(slope, -most, most))


def _backtest(rows: DayRows, settings: LearnSettings) -> tuple[tuple[date, ...], Floats, Floats]:
    """Forecast each of the last days from those before it; return ratios of peaks to that.

    A day whose class hadn't come up before it can't be forecast, and special days aren't tried.
    """
    count, slots = rows.means.shape
    days, forecasts = [], []
    for day in range(max(3, count - settings.backtest_days), count):
        before = rows.first(day)
        members = WORKDAYS if rows.weekdays[day] in WORKDAYS else WEEKEND
        seen = before.ordinary & np.isin(before.weekdays, members)
        if rows.ordinary[day] and seen.any():
            days.append(day)
            forecasts.append(_fit(before, settings).row(int(rows.weekdays[day])))
    table = np.array(forecasts).reshape(len(days), slots)
    came = rows.peaks[days]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(table > 0, came / table, np.where(came == 0, 1.0, np.nan))
    return tuple(rows.days[day] for day in days), table, ratios


def _holiday_factor(rows: DayRows, fitted: _Fit) -> float:
    """Return how earlier holidays compared with the day they are taken to be like."""
    factors = [
        np.nansum(rows.means[i]) / expected
        for i, special in enumerate(rows.special)
        if special is not None
        and special.factor is None
        and np.isfinite(rows.means[i]).mean() >= 0.75
        and (expected := float(fitted.row(special.like)[np.isfinite(rows.means[i])].sum())) > 0
    ]
    return float(np.median(factors)) if factors else 1.0
