"""Demands for `scaling.py`: generated ones, and a file's on a grid of minutes.

A bursty demand has twelve weeks of minutes: a working day and a quiet weekend, a sluggish wander,
noise from minute to minute, bursts that come at the same time of every workday give or take some
minutes, and bursts that come whenever, more of them by day. A burst rises within 3 to 15 minutes,
stays for half an hour on average and falls as fast as it rose. Everything is seeded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import signal

from greenlight.core.errors import InputError
from greenlight.scaling.demand_series import MINUTE, DemandSeries, Floats, Times

A_DAY = 24 * 60
A_WEEK = 7 * A_DAY
WEEKS = 12
START = np.datetime64("2026-01-05T00:00:00", "us")  # a Monday
BURSTS_A_DAY = 4.0
RECURRING = (9 * 60, 13 * 60 + 30, 17 * 60)

Generator = np.random.Generator


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """A demand by the minute, all of it there, from a midnight on. `notes`: what was made of it.

    `quick`: one cold start is enough.
    """

    name: str
    series: DemandSeries
    notes: tuple[str, ...] = ()
    quick: bool = False


def bursty(seed: int) -> Demand:
    """Return a demand that no calendar knows all of."""
    rng = np.random.default_rng([seed, 1])
    values = _workdays(rng) * _wander(rng, memory_min=90, spread=0.08) * _noise(rng, 0.03)
    values *= 1 + _recurring(rng) + _random(rng)
    return _named(f"bursty {seed}", 1000 * values)


def smooth(seed: int) -> Demand:
    """Return a demand as even as a country's: for when there is no file of one."""
    rng = np.random.default_rng([seed, 2])
    return _named(
        f"smooth {seed}", 1000 * _workdays(rng) * _wander(rng, memory_min=2880, spread=0.02)
    )


def noisy(demand: Demand, *, seed: int, spread: float) -> Demand:
    """Return a demand with noise from minute to minute, that straight lines don't have."""
    rng = np.random.default_rng([seed, 3])
    noise = np.maximum(0.1, 1 + rng.normal(0, spread, demand.series.values.size))
    series = replace(demand.series, values=demand.series.values * noise)
    return Demand(name=f"{demand.name} + {spread:.0%} noise", series=series, quick=True)


def by_minute(name: str, times: Times, values: Floats) -> Demand:
    """Return a file's samples by the minute: averaged where finer, else on straight lines.

    Raises:
        InputError: nothing is demanded, or the samples are too few or too far apart.
    """
    grid = DemandSeries.of(times, values)
    if grid.step > 60 * MINUTE:
        raise InputError(f"{name}: a sample every {grid.step}, at least one an hour is needed")
    notes = []
    there = np.isfinite(grid.values)
    if not grid.values[there].sum():
        raise InputError(f"{name}: no demand at all")
    if not there.all():
        notes.append(
            f"{(~there).mean():.1%} of the steps missing, on a straight line between others"
        )
    times, known = grid.times[there], grid.values[there]
    if grid.step < MINUTE:
        notes.append(f"steps of {grid.step.total_seconds():g} s averaged to minutes")
        fine = DemandSeries.of(times, known, step=MINUTE)
        measured = np.isfinite(fine.values)
        times, known = fine.times[measured], fine.values[measured]
    elif grid.step > MINUTE:
        notes.append(f"steps of {grid.step} put on minutes by straight lines: no noise between")
    midnight = np.datetime64(times[0].astype("datetime64[D]"), "us")
    if times[0] > midnight:
        midnight += np.timedelta64(1, "D")
    end = times[-1] + np.timedelta64(max(grid.step, MINUTE))
    minutes = np.arange(midnight, end, np.timedelta64(1, "m"))
    filled = np.interp(minutes.astype(np.int64), times.astype(np.int64), known)
    series = DemandSeries(start=midnight, step=MINUTE, values=filled)
    return Demand(name=name, series=series, notes=tuple(notes))


def _named(name: str, values: Floats) -> Demand:
    return Demand(name=name, series=DemandSeries(start=START, step=MINUTE, values=values))


def _workdays(rng: Generator) -> Floats:
    """Return the usual day: quiet nights, a morning and an afternoon hump; weekends at half."""
    minute = np.arange(WEEKS * A_WEEK)
    hour = minute % A_DAY / 60
    humps = np.exp(-(((hour - 10.5) / 2.5) ** 2)) + 0.9 * np.exp(-(((hour - 15.5) / 3.0) ** 2))
    weekend = minute // A_DAY % 7 >= 5
    growth = np.exp(np.log1p(rng.uniform(-0.005, 0.015)) * minute / A_WEEK)
    return np.asarray((0.35 + humps) * np.where(weekend, 0.5, 1.0) * growth)


def _wander(rng: Generator, *, memory_min: float, spread: float) -> Floats:
    memory = np.exp(-1 / memory_min)
    noise = rng.normal(0, spread * np.sqrt(1 - memory**2), WEEKS * A_WEEK)
    return np.exp(np.asarray(signal.lfilter([1.0], [1.0, -memory], noise), dtype=np.float64))


def _noise(rng: Generator, spread: float) -> Floats:
    return np.maximum(0.1, 1 + rng.normal(0, spread, WEEKS * A_WEEK))


def _recurring(rng: Generator) -> Floats:
    added = np.zeros(WEEKS * A_WEEK)
    for day in range(7 * WEEKS):
        if day % 7 < 5:
            for minute in RECURRING:
                at = day * A_DAY + minute + rng.normal(0, 5)
                _burst(added, int(at), rng)
    return added


def _random(rng: Generator) -> Floats:
    added = np.zeros(WEEKS * A_WEEK)
    for _ in range(rng.poisson(BURSTS_A_DAY * 7 * WEEKS)):
        at = rng.integers(0, 7 * WEEKS) * A_DAY + rng.normal(13.5, 4.5) * 60
        _burst(added, int(at), rng)
    return added


def _burst(added: Floats, at: int, rng: Generator) -> None:
    rise, stay = rng.integers(3, 16), 5 + int(rng.exponential(25))
    shape = np.concatenate([np.linspace(0, 1, rise), np.ones(stay), np.linspace(1, 0, rise)])
    first, last = max(0, at), min(added.size, at + shape.size)
    if first < last:
        added[first:last] += 0.45 * rng.lognormal(0, 0.4) * shape[first - at : last - at]
