"""What demand is expected to be, and how far off that was lately."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

import numpy as np
import numpy.typing as npt

from greenlight.scaling.calendars import LocalCalendar, wall_clock
from greenlight.scaling.demand_series import Floats, Times


@dataclass(frozen=True, slots=True, kw_only=True)
class NotEnoughData:
    """Too little was measured to learn from. No schedule comes of it, not even an empty one."""

    why: str


@dataclass(frozen=True, kw_only=True, eq=False)
class DemandProfile:
    """What is expected, and how far off that was lately.

    `shape`: a row per weekday. `level`: on the day after the last one, `trend`: of its logarithm, a
    day. `ratios`: a row per day of the backtest, of the highest demand in each slot against the
    forecast; `forecasts`: that, of the same days, `tried`. `holiday_factor`: of earlier holidays,
    where there were any.
    """

    calendar: LocalCalendar
    slot: timedelta
    origin: date
    shape: Floats
    level: float
    trend: float
    tried: tuple[date, ...]
    forecasts: Floats
    ratios: Floats
    holiday_factor: float
    window: int

    def expected(self, times: Times) -> Floats:
        """Return the mean demand that is expected at UTC times."""
        days, slots = self._places(times)
        unique, place = np.unique(days, return_inverse=True)
        rows = np.array([self._row(day) for day in unique.tolist()])
        return np.asarray(rows[place, slots])

    def upper(self, times: Times, quantile: float) -> Floats:
        """Return the demand that is exceeded with a chance of 1 - `quantile`."""
        _, slots = self._places(times)
        return np.asarray(self.expected(times) * self.headroom(quantile)[slots])

    def headroom(self, quantile: float) -> Floats:
        """Return what the expected demand is multiplied with, by slot of the day.

        It is the smallest ratio that a share of those around the slot don't exceed.
        """
        ordered, counts = self._around
        rank = np.maximum(0, np.ceil(quantile * counts - 1e-9).astype(np.int64) - 1)
        return np.asarray(np.take_along_axis(ordered, rank[:, None], axis=1)[:, 0])

    def attainment(self, times: Times, capacity: npt.NDArray[np.floating]) -> Floats:
        """Return the chance that a capacity is enough at each time, as the backtest has it."""
        _, slots = self._places(times)
        expected = self.expected(times)
        with np.errstate(divide="ignore", invalid="ignore"):
            room = np.where(expected > 0, capacity / expected, np.inf) + 1e-12
        ordered, counts = self._around
        met = np.zeros(room.size)
        for slot in np.unique(slots):
            here = slots == slot
            ratios = ordered[slot, : counts[slot]]
            met[here] = np.searchsorted(ratios, room[here], side="right") / counts[slot]
        return met

    @cached_property
    def _around(self) -> tuple[Floats, npt.NDArray[np.int64]]:
        """The ratios of each slot and its neighbours, round the clock, in order; and how many."""
        slots = self.ratios.shape[1]
        near = (np.arange(slots)[:, None] + np.arange(-self.window, self.window + 1)) % slots
        around = self.ratios[:, near].transpose(1, 0, 2).reshape(slots, -1)
        return np.sort(around, axis=1), np.isfinite(around).sum(axis=1)

    def _row(self, day: date) -> Floats:
        special = self.calendar.special_day(day)
        weekday = day.weekday() if special is None else special.like
        factor = 1.0
        if special is not None:
            factor = self.holiday_factor if special.factor is None else special.factor
        ahead = min(14, max(0, (day - self.origin).days))
        return np.asarray(self.shape[weekday] * factor * self.level * np.exp(self.trend * ahead))

    def _places(self, times: Times) -> tuple[npt.NDArray[np.datetime64], npt.NDArray[np.int64]]:
        wall = wall_clock(times, self.calendar.zone)
        days = wall.astype("datetime64[D]")
        slots = (wall - days) // np.timedelta64(self.slot)
        return days, np.asarray(slots.astype(np.int64))
