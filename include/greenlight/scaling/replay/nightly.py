"""Weeks gone by, planned again as they would have been: every night, from what was known then.

A schedule learned from all of the history knows the weeks that it is tried on, and looks better
than it is. So nothing here sees later than an hour before the midnight from which it holds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

import numpy as np

from greenlight.scaling.calendars import LocalCalendar
from greenlight.scaling.demand import LearnSettings, learn
from greenlight.scaling.demand_profile import DemandProfile, NotEnoughData
from greenlight.scaling.demand_series import HOUR, MINUTE, Counts, DemandSeries, Floats, Times
from greenlight.scaling.nowcast import NowcastSettings, learn_nowcast
from greenlight.scaling.planning import FleetFacts, PlanSettings, plan
from greenlight.scaling.replay.policies import Anticipated

KNOWN_BEFORE = HOUR


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sizes:
    """Hosts of each minute."""

    minimum: Counts
    desired: Counts
    maximum: Counts


@dataclass(slots=True, kw_only=True)
class Nights:
    """Learns each night once. `days`: local ones, in a row; `series`: what there is of them all."""

    series: DemandSeries
    calendar: LocalCalendar
    days: tuple[date, ...]
    learning: LearnSettings = field(default_factory=LearnSettings)
    _profiles: dict[date, DemandProfile | NotEnoughData] = field(default_factory=dict, init=False)

    @property
    def minutes(self) -> Times:
        """All minutes of the days, in UTC."""
        start, end = self.midnight(self.days[0]), self.midnight(self.days[-1] + timedelta(days=1))
        return np.arange(start, end, np.timedelta64(MINUTE))

    def midnight(self, day: date) -> np.datetime64:
        """Return when a local day begins, in UTC."""
        begins = datetime.combine(day, time(0), tzinfo=self.calendar.zone).astimezone(UTC)
        return np.datetime64(begins.replace(tzinfo=None), "us")

    def profile(self, day: date) -> DemandProfile | NotEnoughData:
        """Return what is learned in the night before a day."""
        if day not in self._profiles:
            self._profiles[day] = learn(self._known(day), self.calendar, self.learning)
        return self._profiles[day]

    def sizes(self, facts: FleetFacts, settings: PlanSettings) -> Sizes | NotEnoughData:
        """Return what the schedules of the nights say."""
        found = []
        for day in self.days:
            profile = self.profile(day)
            if isinstance(profile, NotEnoughData):
                return _by(day, profile)
            now = datetime.combine(day, time(0), tzinfo=self.calendar.zone)
            found += plan(profile, facts, now=now, settings=settings).sizes(self._minutes_of(day))
        return Sizes(
            minimum=np.array([size.minimum for size in found], dtype=np.int64),
            desired=np.array([size.desired for size in found], dtype=np.int64),
            maximum=np.array([size.maximum for size in found], dtype=np.int64),
        )

    def nowcasts(
        self, lead: timedelta, settings: NowcastSettings, slos: tuple[float, ...] = ()
    ) -> dict[float, list[Anticipated]] | NotEnoughData:
        """Return for each objective what the anticipating loop compares the minutes with."""
        asked = slos or (settings.slo,)
        found: dict[float, list[Anticipated]] = {slo: [] for slo in asked}
        first = 0
        for day in self.days:
            profile = self.profile(day)
            if isinstance(profile, NotEnoughData):
                return _by(day, profile)
            nowcasts = learn_nowcast(
                self._known(day), profile, lead=lead, settings=settings, slos=asked
            )
            if isinstance(nowcasts, NotEnoughData):
                return _by(day, nowcasts)
            minutes = self._minutes_of(day)
            now, then, blocks = nowcasts[0].factors(minutes)
            for slo, nowcast in zip(asked, nowcasts, strict=True):
                found[slo].append(
                    Anticipated(nowcast=nowcast, first=first, now=now, then=then, blocks=blocks)
                )
            first += minutes.size
        return found

    def demand(self) -> Floats:
        """Return the demand of the minutes; NaN where it wasn't measured."""
        place = (self.minutes - self.series.start) // np.timedelta64(self.series.step)
        place = place.astype(np.int64)
        inside = (place >= 0) & (place < self.series.values.size)
        last = self.series.values.size - 1
        return np.where(inside, self.series.values[np.clip(place, 0, last)], np.nan)

    def _known(self, day: date) -> DemandSeries:
        return self.series.until(self.midnight(day) - np.timedelta64(KNOWN_BEFORE))

    def _minutes_of(self, day: date) -> Times:
        end = self.midnight(day + timedelta(days=1))
        return np.arange(self.midnight(day), end, np.timedelta64(MINUTE))


def _by(day: date, lacking: NotEnoughData) -> NotEnoughData:
    return NotEnoughData(why=f"in the night before {day}: {lacking.why}")
