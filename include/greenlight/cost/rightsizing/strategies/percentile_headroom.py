"""Our rule: a high percentile, headroom that its own backtest asks for, and no word after a shift.

* A percentile with little headroom loses less than a low one with much: the headroom of a fixed
  share is paid on every series, a percentile follows each one's own peaks.
* Headroom isn't a constant of nature. Every day of the history is held against the percentile of
  the days before it; when usage was above for more than the target, the headroom grows until it
  would not have been. (A split conformal bound on the ratio of usage to the percentile: Vovk,
  Gammerman, Shafer 2005; Lei et al. 2018.)
* After a lasting shift the old level says nothing and the new one not yet enough: the advice is
  withdrawn until the new level has shown a whole week, and then made from that alone.

The settings were picked on generated series, by `make bench-rightsizing`, which shows the grid.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from greenlight.cost.rightsizing.advice import NotEnoughData, Sized, Withdrawn
from greenlight.cost.rightsizing.backtest import Answer, Size, origins
from greenlight.cost.rightsizing.largest import DayPeaks, quantile_of
from greenlight.cost.rightsizing.series import DAY, HOUR, UsageSeries
from greenlight.cost.rightsizing.shifts import (
    HourlyTracks,
    LevelShift,
    ShiftSettings,
    newest_shift,
)
from greenlight.cost.rightsizing.strategies.base import SizingRule, history_of


class PercentileHeadroom(SizingRule):
    """A percentile with headroom that is enough for all but `target_over` of the time.

    `min_days` is a week, because weekends differ. `min_measured`: the share of the history that
    samples must stand for, 18 hours of each day. `headroom`: the least there is, since a sample is
    an average. `max_headroom`: what the backtest asks for beyond this is no headroom any more, and
    shows as risk. Memory is sized by its peak, since running out of it ends the process.
    """

    strategy: Literal["percentile_headroom"] = "percentile_headroom"
    min_days: Annotated[float, Field(ge=0)] = 7.0
    min_samples: Annotated[int, Field(ge=1)] = 100
    min_measured: Annotated[float, Field(gt=0, le=1)] = 0.75
    quantile: Annotated[float, Field(gt=0, le=1)] = 0.995
    headroom: Annotated[float, Field(ge=0)] = 0.03
    max_headroom: Annotated[float, Field(ge=0)] = 0.5
    memory_headroom: Annotated[float, Field(ge=0)] = 0.15
    shifts: ShiftSettings = ShiftSettings()

    def size(self, history: UsageSeries) -> Answer:
        """Return the percentile and its headroom, from what came since the newest shift."""
        return self.sizer(history)(history)

    def sizer(self, series: UsageSeries) -> Size:
        """Return `size` for parts of one series; what they share is looked at once."""
        lowest = min(self.quantile, 1 - self.target_over)
        lookback = timedelta(days=self.lookback_days)
        peaks = DayPeaks.of(series, lowest=lowest, longest=lookback)
        tracks = HourlyTracks.of(series, self.shifts)
        return lambda history: self._size(history, peaks, tracks)

    def _size(self, history: UsageSeries, peaks: DayPeaks, tracks: HourlyTracks) -> Answer:
        if (lacking := self.lacking(history)) is not None:
            return lacking
        shift = newest_shift(history, self.shifts, tracks=tracks)
        since = history if shift is None else history.between(shift.at, history.end)
        if shift is not None and since.span < timedelta(days=self.min_days):
            return Withdrawn(shift=shift, history=history_of(since))
        recent = self.recent(since)
        if (lacking := self._sparse(recent)) is not None:
            return lacking
        quantile = 1.0 if recent.resource.kills else self.quantile
        used, headroom = self._used(recent, quantile, peaks)
        return Sized(
            capacity=used * (1 + headroom),
            why=f"P{100 * quantile:g} of {recent.span / DAY:.1f} days"
            f"{_since(shift)} is {used:.4g}, with {headroom:.1%} of headroom",
            history=history_of(recent),
        )

    def _sparse(self, recent: UsageSeries) -> NotEnoughData | None:
        if recent.values.size < self.min_samples:
            return self.lacking(recent)
        if recent.measured < self.min_measured * recent.span:
            return NotEnoughData(
                why=f"{recent.measured / recent.span:.0%} of {recent.span / DAY:.1f} days measured,"
                f" at least {self.min_measured:.0%} are needed"
            )
        if recent.values.size <= 2 * (recent.span / HOUR) and recent.interval > HOUR:
            return NotEnoughData(
                why=f"a sample every {recent.interval / HOUR:.1f} h, "
                "at least one an hour is needed to see a shift"
            )
        return None

    def _used(self, recent: UsageSeries, quantile: float, peaks: DayPeaks) -> tuple[float, float]:
        """Return the percentile, and the headroom that would have been enough on these days."""
        least = self.memory_headroom if recent.resource.kills else self.headroom
        days = origins(recent, first=3 * DAY, every=DAY, hold=DAY)
        edges = (recent.start, *days, recent.end)
        parts = [peaks.between(recent, start, end) for start, end in pairwise(edges)]
        running = peaks.running(parts, quantile)
        tried = [
            day.over(0.0 if np.isnan(base) else base)
            for base, day in zip(running[:-1], parts[1:], strict=True)
        ]
        asked = quantile_of(tried, 1 - self.target_over) - 1
        used = float(running[-1])
        if np.isnan(asked):
            return used, least
        return used, min(max(least, asked), max(least, self.max_headroom))


def _since(shift: LevelShift | None) -> str:
    return "" if shift is None else f" since the {shift.of} changed"
