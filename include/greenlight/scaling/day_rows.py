"""A series as rows of local days, columns being times of the day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Self

import numpy as np
import numpy.typing as npt

from greenlight.scaling.calendars import LocalCalendar, SpecialDay, wall_clock
from greenlight.scaling.demand_series import DemandSeries, Floats

SLOTS_MINUTES = (5, 10, 15, 20, 30, 60)
"""How long a slot can be: parts of an hour, since hours are what zones differ by, mostly."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DayRows:
    """Mean and highest demand of each slot of each local day; NaN where none was measured.

    `special`: what isn't an ordinary day. The last day may be a part of one.
    """

    slot: timedelta
    days: tuple[date, ...]
    weekdays: npt.NDArray[np.int64]
    special: tuple[SpecialDay | None, ...]
    means: Floats
    peaks: Floats

    @property
    def ordinary(self) -> npt.NDArray[np.bool_]:
        """Which days are like their weekday."""
        return np.array([special is None for special in self.special], dtype=np.bool_)

    @property
    def next_day(self) -> date:
        """The day after the last one."""
        return self.days[-1] + timedelta(days=1)

    def first(self, count: int) -> Self:
        """Return the oldest days."""
        return self._part(slice(0, count))

    def last(self, count: int) -> Self:
        """Return the newest days."""
        return self._part(slice(-count, None))

    def _part(self, part: slice) -> Self:
        return type(self)(
            slot=self.slot,
            days=self.days[part],
            weekdays=self.weekdays[part],
            special=self.special[part],
            means=self.means[part],
            peaks=self.peaks[part],
        )


def rows_of(series: DemandSeries, calendar: LocalCalendar) -> DayRows:
    """Return the rows of a series. An hour that a day has twice counts once, as its mean."""
    step = series.step // timedelta(minutes=1)
    minutes = next((slot for slot in SLOTS_MINUTES if slot >= step), SLOTS_MINUTES[-1])
    wall = wall_clock(series.times, calendar.zone)
    local = wall.astype("datetime64[D]")
    slots = 24 * 60 // minutes
    place = (wall - local) // np.timedelta64(minutes, "m")
    number = (local - local[0]).astype(np.int64)
    count = int(number[-1]) + 1
    cell = number * slots + place.astype(np.int64)
    there = np.isfinite(series.values)
    values, cell = series.values[there], cell[there]
    samples = np.bincount(cell, minlength=count * slots)
    sums = np.bincount(cell, weights=values, minlength=count * slots)
    peaks = np.full(count * slots, -np.inf)
    np.maximum.at(peaks, cell, values)
    seen = samples > 0
    days = tuple(np.arange(local[0], local[-1] + np.timedelta64(1, "D")).tolist())
    return DayRows(
        slot=timedelta(minutes=minutes),
        days=days,
        weekdays=np.array([day.weekday() for day in days], dtype=np.int64),
        special=tuple(calendar.special_day(day) for day in days),
        means=np.where(seen, sums / np.maximum(1, samples), np.nan).reshape(count, slots),
        peaks=np.where(seen, peaks, np.nan).reshape(count, slots),
    )
