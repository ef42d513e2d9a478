"""Usage for tests: five-minute samples from a fixed start, by the day."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from greenlight.cost.rightsizing.advice import History, Sized
from greenlight.cost.rightsizing.series import Resource, UsageSeries, as_datetime

A_DAY = 288
START = np.datetime64("2026-03-02T00:00:00", "us")  # a Monday
MINUTES = np.timedelta64(5, "m")


def series(values, *, resource=Resource.CPU, step=MINUTES, trusted=None):
    """Return regular samples."""
    values = np.asarray(values, dtype=float)
    times = START + np.arange(values.size) * step
    return UsageSeries.of(times, values, resource=resource, unit="cores", trusted=trusted)


def weeks(days=14, *, level=10.0, noise=0.05, daily=0.3, weekend=0.7, seed=1):
    """Return the values of a service with nights and weekends."""
    rng = np.random.default_rng(seed)
    day = np.arange(days * A_DAY) / A_DAY
    cycle = 1 + daily * np.sin(2 * np.pi * day)
    week = np.where(day.astype(int) % 7 >= 5, weekend, 1.0)
    return level * cycle * week * (1 + rng.normal(0, noise, day.size))


def moved(values, *, at_day, factor):
    """Return values of which all from a day on are multiplied."""
    day = np.arange(values.size) / A_DAY
    return np.where(day >= at_day, values * factor, values)


def day(number: float) -> np.datetime64:
    """Return the time of a day of the series."""
    return START + np.timedelta64(round(number * 24 * 3600), "s")


def moment(number: float) -> datetime:
    """Return the same as a datetime."""
    return as_datetime(day(number))


def fixed(capacity):
    """Return a strategy that always says the same."""

    def size(history):
        rests_on = History(start=history.start, end=history.end, measured=history.measured)
        return Sized(capacity=capacity, why="", history=rests_on)

    return size
