"""A schedule: how many hosts, when, why, and what is expected of it.

It is made of entries. Weekly ones are told in local time of the week, dated ones, for holidays and
single days, in local time of a date; a dated entry goes before a weekly one, the later of two dated
ones before the earlier. An override of a person goes before both, until it lapses. Floor and
ceiling bind them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import numpy as np

from greenlight.core.errors import InputError
from greenlight.scaling.calendars import WEEKDAYS, wall_clock, zone_of
from greenlight.scaling.demand_series import Counts, Times

MINUTES_A_DAY = 24 * 60
MINUTES_A_WEEK = 7 * MINUTES_A_DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many hosts at least, at most, and to begin with."""

    minimum: int
    desired: int
    maximum: int

    def __post_init__(self) -> None:
        """Refuse what no fleet could keep."""
        if not 0 <= self.minimum <= self.desired <= self.maximum:
            raise InputError(
                f"min {self.minimum}, desired {self.desired}, max {self.maximum}: "
                "must rise, from 0 or more"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a part of a schedule is expected to come to, at its desired size.

    `slo_pct`: the share of demand that finds enough hosts. The fast loop moves both figures.
    """

    slo_pct: float
    gpu_hours: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WeeklyEntry:
    """From a minute of the local week until another; Monday 00:00 is 0. The end may be next week's.

    `start` >= `end` goes over the end of the week.
    """

    start: int
    end: int
    size: Size
    reason: str
    expected: Expected | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedEntry:
    """From a local time until another, without zone: the schedule has one."""

    start: datetime
    end: datetime
    size: Size
    reason: str
    expected: Expected | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Blackout:
    """A time of the local week, in minutes, in which no size changes and no schedule is applied.

    A raise that would fall into it comes before it, a fall after it.
    """

    start: int
    end: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What a person wants instead, until it lapses. Aware times. `None` leaves that bound alone."""

    start: datetime
    expires: datetime
    minimum: int | None
    maximum: int | None
    reason: str
    by: str

    def holds(self, now: datetime) -> bool:
        """Tell whether it counts at a moment."""
        return self.start <= now < self.expires


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What no entry and no override goes beyond."""

    floor: int
    ceiling: int

    def __post_init__(self) -> None:
        """Refuse limits that leave nothing between them."""
        if not 0 <= self.floor <= self.ceiling:
            raise InputError(f"floor {self.floor} and ceiling {self.ceiling}: must rise, from 0")

    def clip(self, size: Size) -> Size:
        """Return a size between the limits."""
        low, mid, high = (
            min(max(n, self.floor), self.ceiling)
            for n in (size.minimum, size.desired, size.maximum)
        )
        return Size(minimum=low, desired=mid, maximum=high)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The plan of one fleet. `lead_s`: how much ahead of demand its raises are.

    `basis`: what capacity and lead time were read from, for people. `entries` of a week leave no
    minute out.
    """

    fleet: str
    zone: str
    made_at: datetime
    lead_s: float
    gpus_per_host: int
    basis: str
    limits: Limits
    weekly: tuple[WeeklyEntry, ...]
    dated: tuple[DatedEntry, ...] = ()
    overrides: tuple[Override, ...] = ()
    blackouts: tuple[Blackout, ...] = ()
    expected: Expected | None = None

    def __post_init__(self) -> None:
        """Refuse a week with a hole or with two answers, and dated entries that end at once.

        Raises:
            ConfigError: there is no such time zone.
            InputError: the entries don't make one schedule.
        """
        zone_of(self.zone)
        if (self._week < 0).any():
            minute = int(np.flatnonzero(self._week < 0)[0])
            raise InputError(f"schedule of {self.fleet}: no weekly entry for {week_time(minute)}")
        for entry in self.dated:
            if entry.start >= entry.end:
                raise InputError(
                    f"schedule of {self.fleet}: the entry from {entry.start} ends at {entry.end}"
                )

    def at(self, moment: datetime) -> Size:
        """Return what holds at an aware moment."""
        local = moment.astimezone(zone_of(self.zone)).replace(tzinfo=None)
        size = self._entry_at(local).size
        for override in self.overrides:
            if override.holds(moment):
                size = _overridden(size, override)
        return self.limits.clip(size)

    def blackout_at(self, moment: datetime) -> Blackout | None:
        """Return the blackout that holds at an aware moment, if any."""
        local = moment.astimezone(zone_of(self.zone)).replace(tzinfo=None)
        minute = local.weekday() * MINUTES_A_DAY + local.hour * 60 + local.minute
        found = (b for b in self.blackouts if minute in minutes_between(b.start, b.end))
        return next(found, None)

    def sizes(self, times: Times) -> list[Size]:
        """Return what holds at UTC times."""
        wall = wall_clock(times, zone_of(self.zone))
        plain = not self.dated and not self.overrides
        if plain:
            clipped = [self.limits.clip(entry.size) for entry in self.weekly]
            return [clipped[i] for i in self._week[minutes_of_week(wall)].tolist()]
        return [self.at(t.replace(tzinfo=UTC)) for t in times.astype("datetime64[us]").tolist()]

    @cached_property
    def _week(self) -> Counts:
        """The number of the entry of each minute of the week; -1: none."""
        week = np.full(MINUTES_A_WEEK, -1, dtype=np.int64)
        for number, entry in enumerate(self.weekly):
            minutes = minutes_between(entry.start, entry.end)
            if (week[minutes] >= 0).any():
                raise InputError(
                    f"schedule of {self.fleet}: two weekly entries for "
                    f"{week_time(int(minutes[week[minutes] >= 0][0]))}"
                )
            week[minutes] = number
        return week

    def _entry_at(self, local: datetime) -> WeeklyEntry | DatedEntry:
        held = [entry for entry in self.dated if entry.start <= local < entry.end]
        if held:
            return max(held, key=lambda entry: entry.start)
        minute = local.weekday() * MINUTES_A_DAY + local.hour * 60 + local.minute
        return self.weekly[int(self._week[minute])]


def week_time(minute: int) -> str:
    """Return a minute of the week as people write it."""
    day, rest = divmod(minute % MINUTES_A_WEEK, MINUTES_A_DAY)
    return f"{WEEKDAYS[day]} {rest // 60:02d}:{rest % 60:02d}"


def live_overrides(overrides: Sequence[Override], now: datetime) -> tuple[Override, ...]:
    """Return those that haven't lapsed: what a new schedule takes over."""
    return tuple(override for override in overrides if override.expires > now)


def minutes_between(start: int, end: int) -> Counts:
    """Return the minutes of the week from one until another, which may be next week's."""
    length = (end - start - 1) % MINUTES_A_WEEK + 1
    return np.asarray((start + np.arange(length)) % MINUTES_A_WEEK)


def minutes_of_week(wall: Times) -> Counts:
    """Return the minute of the week of local times; Monday 00:00 is 0."""
    monday = np.datetime64("1969-12-29T00:00", "us")
    return np.asarray(((wall - monday) // np.timedelta64(1, "m")).astype(np.int64) % MINUTES_A_WEEK)


def _overridden(size: Size, override: Override) -> Size:
    low = size.minimum if override.minimum is None else override.minimum
    high = size.maximum if override.maximum is None else override.maximum
    if override.maximum is not None:
        low = min(low, high)
    high = max(low, high)
    return Size(minimum=low, desired=min(max(size.desired, low), high), maximum=high)
