"""A series with one step, gaps marked: what forecasts are made from.

Times are UTC, of NumPy's `datetime64[us]`. A gap is NaN: time that nobody measured, not zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from greenlight.core.errors import InputError

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.datetime64]

DAY = timedelta(days=1)
WEEK = timedelta(days=7)
MEASURED = {"mean": 0.5, "sum": 0.9}
"""The share of a step's usual samples that it needs. Half of them have a mean, but not a sum."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RegularSeries:
    """Values of steps of one length that divides a day.

    `values[i]` is of the step that begins at `start + i * step`.
    """

    start: np.datetime64
    step: timedelta
    values: Floats

    def __post_init__(self) -> None:
        if self.step <= timedelta(0) or DAY % self.step:
            raise InputError(f"a step of {self.step} does not divide a day: use one that does")

    @classmethod
    def of(
        cls, times: Times, values: Floats, *, step: timedelta, fold: Literal["mean", "sum"] = "mean"
    ) -> Self:
        """Fold samples, in any order and one a time, into steps. NaN is a missing sample.

        A step with too few of its usual samples is a gap. So are steps before the first whole one
        and after the last, which are left out.

        Raises:
            InputError: no sample, or none that is a number; an infinite one; a step that doesn't
                divide a day.
        """
        times = np.asarray(times, dtype="datetime64[us]")
        values = np.asarray(values, dtype=np.float64)
        kept = ~np.isnan(values)
        if not kept.any():
            raise InputError(f"none of {values.size} samples has a value: nothing to forecast from")
        if np.isinf(values[kept]).any():
            raise InputError("a value is infinite: leave the sample out")
        size = int(step / timedelta(microseconds=1))
        places = times[kept].astype(np.int64) // size
        first = int(places.min())
        counts = np.bincount(places - first)
        sums = np.bincount(places - first, values[kept])
        usual = float(np.median(counts[counts > 0]))
        whole = counts >= max(1.0, MEASURED[fold] * usual)
        folded = sums if fold == "sum" else sums / np.maximum(counts, 1)
        edges = np.flatnonzero(whole)
        part = slice(edges[0], edges[-1] + 1)
        return cls(
            start=np.datetime64((first + int(edges[0])) * size, "us"),
            step=step,
            values=np.where(whole, folded, np.nan)[part],
        )

    @property
    def end(self) -> np.datetime64:
        """When the last step ends."""
        return self.start + self.values.size * np.timedelta64(self.step)

    @property
    def span(self) -> timedelta:
        """The time from start to end, gaps included."""
        return self.values.size * self.step

    @property
    def measured(self) -> timedelta:
        """The time that isn't a gap."""
        return int(np.isfinite(self.values).sum()) * self.step

    def steps_in(self, period: timedelta) -> int:
        """Return how many steps a period has."""
        return period // self.step

    def until(self, size: int) -> Self:
        """Return the first `size` steps."""
        return type(self)(start=self.start, step=self.step, values=self.values[:size])


def filled(values: Floats, period: int) -> Floats:
    """Return the values with each gap closed by the step a period before, or else the last value.

    For models that can't have gaps. A gap at the very start takes the first value there is.
    """
    out = values.copy()
    for place in np.flatnonzero(np.isnan(out)):
        before = [out[place - back] for back in (period, 1) if place >= back]
        out[place] = next((value for value in before if np.isfinite(value)), np.nan)
    there = out[np.isfinite(out)]
    return np.where(np.isnan(out), there[0] if there.size else 0.0, out)
