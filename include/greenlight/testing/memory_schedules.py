"""Schedules in memory, for tests that need no database."""

from __future__ import annotations

from datetime import date, datetime

from greenlight.core.digest import short
from greenlight.core.errors import InputError, RefusedError
from greenlight.scaling.kept import KeptSchedule, ScheduleState
from greenlight.scaling.look_back import LookBack


class MemorySchedules:
    """`scaling.ports.ScheduleStore` in dicts."""

    def __init__(self) -> None:
        self._schedules: dict[str, KeptSchedule] = {}
        self._days: dict[tuple[str, date], LookBack] = {}

    def add(self, schedule: KeptSchedule) -> KeptSchedule:
        """Keep a new schedule, or return the one with its digest."""
        return self._schedules.setdefault(schedule.digest, schedule)

    def change(self, schedule: KeptSchedule, *, was: ScheduleState) -> None:
        """Keep a schedule in place of what has its digest."""
        found = self._schedules.get(schedule.digest)
        if found is None or found.state is not was:
            raise RefusedError(f"schedule {short(schedule.digest)} isn't {was} any more")
        self._schedules[schedule.digest] = schedule

    def get(self, digest: str) -> KeptSchedule:
        """Return one."""
        if digest not in self._schedules:
            raise InputError(f"there is no schedule {short(digest)}")
        return self._schedules[digest]

    def applied(self, fleet: str) -> KeptSchedule | None:
        """Return what was applied last to a fleet."""
        found = [one for one in self._of(fleet) if one.applied_at is not None]
        return max(found, key=_when_applied, default=None)

    def applied_at(self, fleet: str, moment: datetime) -> KeptSchedule | None:
        """Return what had been applied last by a moment."""
        found = [one for one in self._of(fleet) if one.applied_at and one.applied_at <= moment]
        return max(found, key=_when_applied, default=None)

    def newest(self, fleet: str, *, count: int = 20) -> tuple[KeptSchedule, ...]:
        """Return a fleet's newest schedules, the newest first."""
        return tuple(sorted(self._of(fleet), key=lambda one: one.made_at, reverse=True)[:count])

    def save_look_back(self, fleet: str, found: LookBack) -> None:
        """Keep how a day went, in place of what was kept of it."""
        self._days[fleet, found.day] = found

    def look_backs(self, fleet: str, first: date, last: date) -> tuple[LookBack, ...]:
        """Return how the days from `first` to `last` went, oldest first."""
        return tuple(
            self._days[key]
            for key in sorted(self._days)
            if key[0] == fleet and first <= key[1] <= last
        )

    def _of(self, fleet: str) -> list[KeptSchedule]:
        return [one for one in self._schedules.values() if one.fleet == fleet]


def _when_applied(schedule: KeptSchedule) -> datetime:
    assert schedule.applied_at is not None
    return schedule.applied_at
