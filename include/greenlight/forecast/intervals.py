"""Intervals from the backtest's own errors, without a word about their distribution.

A step's interval is the forecast plus quantiles of the errors that were made so far ahead (split
conformal prediction: Vovk, Gammerman, Shafer 2005; by lead time: Stankeviciute, Alaa, van der
Schaar 2021). Few origins have few errors of one lead, so neighbouring leads are pooled. Errors of
one origin are no independent draws and series move, so the promise of the theory is not claimed:
coverage is measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from greenlight.forecast.backtest import Ints
from greenlight.forecast.series import Floats

LEAST_ERRORS = 20
"""Fewer errors than this say nothing about an 80 % interval."""
LEAST_HORIZONS = 4
"""The error of a sum is known from at least so many whole horizons that don't overlap."""
MOST_MISSING = 0.1
"""A horizon with a larger share of gaps has no sum."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Band:
    """Lower and upper bounds, a value a step; NaN where too few errors are known."""

    level: float
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Bounds of one number."""

    level: float
    low: float
    high: float


def bands(
    points: Floats,
    errors: Floats,
    *,
    levels: tuple[float, ...],
    pooled: int,
) -> tuple[Band, ...]:
    """Return a band for each level around `points`.

    `errors`: a row for each origin, a column for each lead. `pooled`: how many leads to each side
    are taken together.
    """
    lows = {level: np.full(points.size, np.nan) for level in levels}
    highs = {level: np.full(points.size, np.nan) for level in levels}
    for lead in range(points.size):
        near = errors[:, max(0, lead - pooled) : lead + pooled + 1]
        there = np.sort(near[np.isfinite(near)])
        if there.size < LEAST_ERRORS:
            continue
        for level in levels:
            lows[level][lead], highs[level][lead] = points[lead] + _quantiles(there, level)
    return tuple(Band(level=level, low=lows[level], high=highs[level]) for level in levels)


def _quantiles(ordered: Floats, level: float) -> Floats:
    """Return the lower and upper error with the finite-sample rank, (n + 1) q, at both ends."""
    tail = (1 - level) / 2
    below = int(np.floor(tail * (ordered.size + 1))) - 1
    below = min(max(below, 0), ordered.size - 1)
    return np.array([ordered[below], ordered[ordered.size - 1 - below]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """The sum of all steps ahead.

    `horizon`: how many steps ahead its errors are known from; less than all where the history is
    too short for that, and then scaled up. `intervals`: none where even that isn't known.
    """

    point: float
    intervals: tuple[Interval, ...]
    horizon: int


def total(
    points: Floats,
    errors: Floats,
    origins: Ints,
    *,
    levels: tuple[float, ...],
    floor: float | None,
) -> Total:
    """Return the sum with its own interval: errors of steps cancel out, or pile up.

    The usual error of the sum is taken off: a median forecast of a bursty series is below its mean
    at every step. Few horizons are few draws, hence Student's t. An error scaled up from a shorter
    horizon grows as that of a level that wanders (a random walk): by the power of 1.5.
    """
    horizon, sums, count = _longest(errors, origins)
    point = float(points.sum())
    if not horizon:
        return Total(point=point, intervals=(), horizon=0)
    scale = points.size / horizon
    usual = _lasting(sums, count)
    rest = float(np.sqrt(np.mean((sums - usual) ** 2) * count / (count - 1)))
    spread = rest * float(np.sqrt(1 + 1 / count))
    point += usual * scale
    least = -np.inf if floor is None else floor
    intervals = []
    for level in levels:
        half = float(stats.t.ppf((1 + level) / 2, count - 1)) * spread * scale**1.5
        intervals.append(
            Interval(level=level, low=max(point - half, least), high=max(point + half, least))
        )
    return Total(point=max(point, least), intervals=tuple(intervals), horizon=horizon)


def _lasting(sums: Floats, count: float) -> float:
    """Return the mean error where it is clearly not chance, at twice its standard error; else 0."""
    mean, spread = float(sums.mean()), float(sums.std())
    return mean if abs(mean) > 2 * spread / np.sqrt(count - 1) else 0.0


def _longest(errors: Floats, origins: Ints) -> tuple[int, Floats, float]:
    """Return the longest horizon that is known well enough, and its sums' errors.

    Last: how many of these don't overlap.
    """
    known = np.isfinite(errors)
    lengths = np.arange(1, errors.shape[1] + 1)
    whole = known & (np.cumsum(known, axis=1) >= (1 - MOST_MISSING) * lengths)
    oldest = np.where(whole, origins[:, None], np.inf).min(axis=0, initial=np.inf)
    newest = np.where(whole, origins[:, None], -np.inf).max(axis=0, initial=-np.inf)
    counts = (newest - oldest) / lengths + 1
    usable = (whole.sum(axis=0) >= LEAST_HORIZONS) & (counts >= LEAST_HORIZONS)
    if not usable.any():
        return 0, np.empty(0), 0.0
    place = int(np.flatnonzero(usable)[-1])
    rows = errors[whole[:, place], : place + 1]
    return place + 1, np.nanmean(rows, axis=1) * (place + 1), float(counts[place])
