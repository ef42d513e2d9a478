"""Demand over time on a regular grid: tokens a second, or whatever a host's capacity is told in.

A step without a sample is missing, which isn't zero: a demand of zero would plan no hosts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from greenlight.core.errors import InputError

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Times = npt.NDArray[np.datetime64]

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DemandSeries:
    """Mean demand of each step from `start` on, in UTC; NaN where it wasn't measured."""

    start: np.datetime64
    step: timedelta
    values: Floats

    @classmethod
    def of(cls, times: Times, values: Floats, *, step: timedelta | None = None) -> Self:
        """Return samples in any order on a grid; several in one step are averaged.

        `step`: by default the usual time between samples. The grid starts at a whole step of UTC.

        Raises:
            InputError: there is no sample, a value is negative or infinite, or samples are so far
                apart that no step fits.
        """
        times, values = _checked(times, values)
        span = as_step(times) if step is None else step
        width = span // timedelta(microseconds=1)
        number = times.astype("datetime64[us]").astype(np.int64) // width
        first, count = int(number[0]), int(number[-1] - number[0]) + 1
        there = np.isfinite(values)
        sums = np.bincount(number[there] - first, weights=values[there], minlength=count)
        samples = np.bincount(number[there] - first, minlength=count)
        with np.errstate(invalid="ignore"):
            means = np.where(samples > 0, sums / samples, np.nan)
        return cls(start=np.datetime64(first * width, "us"), step=span, values=means)

    @property
    def times(self) -> Times:
        """When each step starts."""
        return np.asarray(self.start + np.arange(self.values.size) * np.timedelta64(self.step))

    @property
    def end(self) -> np.datetime64:
        """When the last step ends."""
        return self.start + np.timedelta64(self.span)

    @property
    def span(self) -> timedelta:
        """The time from start to end, measured or not."""
        return self.values.size * self.step

    def times_as_much(self, factor: float) -> Self:
        """Return the same times with so many times the demand."""
        return type(self)(start=self.start, step=self.step, values=self.values * factor)

    def until(self, end: np.datetime64) -> Self:
        """Return the steps that were over by `end`: what is known then."""
        steps = int((end - self.start) // np.timedelta64(self.step))
        kept = self.values[: max(0, steps)]
        return type(self)(start=self.start, step=self.step, values=kept)


def as_step(times: Times) -> timedelta:
    """Return the usual time between sorted samples.

    Raises:
        InputError: there are fewer than two times.
    """
    if times.size < 2:
        raise InputError(f"{times.size} sample of demand has no step: at least 2 are needed")
    usual: Any = np.median(np.diff(times.astype("datetime64[us]")).astype(np.int64))
    return timedelta(microseconds=int(usual))


def _checked(times: Times, values: Floats) -> tuple[Times, Floats]:
    times = np.asarray(times, dtype="datetime64[us]")
    values = np.asarray(values, dtype=np.float64)
    if times.shape != values.shape or times.ndim != 1 or not times.size:
        raise InputError(f"{times.size} times with {values.size} values are not a demand")
    order = np.argsort(times, kind="stable")
    times, values = times[order], values[order]
    wrong = np.isinf(values) | (values < 0)
    if wrong.any():
        raise InputError(
            f"demand at {times[wrong][0]} is {values[wrong][0]:g}, must be 0 or more: "
            "leave out what can't be trusted"
        )
    return times, values
