"""Series for `rightsizing.py`: generated ones, shifts put into any, and a look back for shifts.

Everything is seeded. A generated series has 28 days of five minutes and is one of four kinds.
`cyclic`: daily and weekly cycles with sluggish noise; `flat`: nearly constant, with a spike now and
then; `bursty`: almost idle, with bursts of tens of minutes; `heavy_tailed`: cycles with lognormal
noise and spikes of a power law.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise

import numpy as np
from scipy import signal

from greenlight.cost.rightsizing.series import DAY, Floats, Resource, UsageSeries

A_DAY = 288
DAYS = 28
KINDS = ("cyclic", "flat", "bursty", "heavy_tailed")
FACTORS = (1.5, 2.0, 0.5)
START = np.datetime64("2026-01-05T00:00:00", "us")
HISTORY = 7 * DAY
AFTER = 2 * DAY

Generator = np.random.Generator


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A series under a name. `shifted_at`: when it moved, if it is known or seen to have moved."""

    name: str
    series: UsageSeries
    factor: float = 1.0
    shifted_at: np.datetime64 | None = None


def generated(kind: str, *, seed: int) -> Case:
    """Return a series without a shift."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    n = DAYS * A_DAY
    values = {"cyclic": _cyclic, "flat": _flat, "bursty": _bursty, "heavy_tailed": _heavy_tailed}[
        kind
    ](rng, n)
    times = START + np.arange(n) * np.timedelta64(5, "m")
    series = UsageSeries.of(times, values, resource=Resource.CPU, unit="cores")
    return Case(name=f"{kind} {seed}", series=series)


def shift(case: Case, factor: float, *, seed: int) -> Case | None:
    """Return the series with all usage multiplied from some moment on; `None`: it is too short.

    A week lies before the moment, and two days after it.
    """
    series = case.series
    room = series.span - HISTORY - AFTER
    if room <= timedelta(0):
        return None
    rng = np.random.default_rng([seed, round(100 * factor)])
    at = series.start + np.timedelta64(HISTORY + rng.uniform() * room, "us")
    moved = np.where(series.times >= at, series.values * factor, series.values)
    return Case(
        name=f"{case.name} x{factor:g}",
        series=replace(series, values=moved),
        factor=factor,
        shifted_at=at,
    )


def looked_back(case: Case) -> Case:
    """Mark a series that moved by itself, as is plain when all of it is known.

    Its days are split in two, at least three on each side. Where nine in ten pairs of daily medians
    differ in the same direction, and the medians of both sides by a fifth, it moved, where two
    levels fit best. This looks at what strategies can't see, and shares nothing with the one under
    test. Only the newest three months count.
    """
    series = case.series.last(90 * DAY)
    days = int(series.span / DAY)
    edges = series.end - np.arange(days, -1, -1) * np.timedelta64(DAY)
    parts = [series.between(start, end) for start, end in pairwise(edges)]
    medians = np.array([part.quantile(0.5) if part.values.size else np.nan for part in parts])
    relevant = 0.04 * series.quantile(0.99) if series.values.size else 0.0
    best, at = np.inf, None
    for cut in range(3, days - 2):
        before, after = (part[np.isfinite(part)] for part in (medians[:cut], medians[cut:]))
        if not before.size or not after.size:
            continue
        higher = float((after[:, None] > before[None, :]).mean())
        lower = float((after[:, None] < before[None, :]).mean())
        old, new = float(np.median(before)), float(np.median(after))
        apart = abs(new - old) >= max(0.2 * max(old, new), relevant)
        misfit = float(np.abs(before - old).sum() + np.abs(after - new).sum())
        if apart and max(higher, lower) >= 0.9 and misfit < best:
            best, at = misfit, edges[cut]
    return case if at is None else replace(case, shifted_at=at)


def _sluggish(rng: Generator, n: int, *, memory: float, spread: float) -> Floats:
    noise = rng.normal(0, spread * np.sqrt(1 - memory**2), n)
    return np.asarray(signal.lfilter([1.0], [1.0, -memory], noise), dtype=np.float64)


def _cycle(rng: Generator, n: int, *, daily: float, weekly: float) -> Floats:
    days = np.arange(n) / A_DAY
    phase = days - rng.uniform()
    day = 1 + daily * (np.sin(2 * np.pi * phase) + 0.3 * np.sin(4 * np.pi * phase + 1))
    weekend = (days + rng.integers(0, 7)).astype(int) % 7 >= 5
    return np.asarray(np.maximum(day, 0.05) * np.where(weekend, 1 - weekly, 1.0))


def _any_cycle(rng: Generator, n: int) -> Floats:
    return _cycle(rng, n, daily=rng.uniform(0.2, 0.7), weekly=rng.uniform(0.05, 0.4))


def _cyclic(rng: Generator, n: int) -> Floats:
    noise = 1 + _sluggish(rng, n, memory=0.95, spread=0.08) + rng.normal(0, 0.04, n)
    return np.asarray(10 * _any_cycle(rng, n) * np.maximum(noise, 0.02))


def _flat(rng: Generator, n: int) -> Floats:
    values = 2 * (1 + _sluggish(rng, n, memory=0.8, spread=0.03) + rng.normal(0, 0.02, n))
    spikes = rng.integers(0, n, n // 250)
    values[spikes] *= rng.uniform(2, 8, spikes.size)
    return np.asarray(np.maximum(values, 0.0))


def _bursty(rng: Generator, n: int) -> Floats:
    idle = 0.5 * (1 + np.abs(rng.normal(0, 0.1, n))) * _cycle(rng, n, daily=0.3, weekly=0.1)
    for _ in range(rng.poisson(DAYS * rng.uniform(2, 6))):
        start, length = rng.integers(0, n), 1 + int(rng.exponential(8))
        idle[start : start + length] += 8 * rng.lognormal(0, 0.4)
    return idle


def _heavy_tailed(rng: Generator, n: int) -> Floats:
    values = 5 * _any_cycle(rng, n) * np.exp(_sluggish(rng, n, memory=0.9, spread=0.35))
    spikes = rng.random(n) < 0.003
    values[spikes] *= 1 + rng.pareto(2.5, int(spikes.sum()))
    return np.asarray(values)
