"""What a schedule needs from the outside, named after the need."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Protocol

from greenlight.scaling.demand_series import DemandSeries
from greenlight.scaling.kept import KeptSchedule, ScheduleState
from greenlight.scaling.look_back import LookBack
from greenlight.scaling.targets import Change, Found


class ScheduleTarget(Protocol):
    """A scaler that keeps rules by itself: an Auto Scaling group, or a fake of one.

    All methods raise `UnavailableError` when it can't be reached, `ConfigError` when it refuses.
    """

    def read(self) -> Found:
        """Return what it has, ours and the names of others'.

        Raises:
            RefusedError: the fleet behind it isn't marked as one that Greenlight may schedule.
        """

    def apply(self, changes: Sequence[Change]) -> None:
        """Make the changes, in their order. Each can be made twice.

        Raises:
            RefusedError: as `read`; nothing was changed.
        """


class ScheduleStore(Protocol):
    """Schedules and what became of them, and how the days went."""

    def add(self, schedule: KeptSchedule) -> KeptSchedule:
        """Keep a new schedule, or return the one with its digest."""

    def change(self, schedule: KeptSchedule, *, was: ScheduleState) -> None:
        """Keep a schedule in place of what has its digest.

        Raises:
            RefusedError: it isn't in the state that it was: somebody else changed it meanwhile.
        """

    def get(self, digest: str) -> KeptSchedule:
        """Return one.

        Raises:
            InputError: there is none.
        """

    def applied(self, fleet: str) -> KeptSchedule | None:
        """Return what was applied last to a fleet."""

    def applied_at(self, fleet: str, moment: datetime) -> KeptSchedule | None:
        """Return what had been applied last by a moment."""

    def newest(self, fleet: str, *, count: int = 20) -> tuple[KeptSchedule, ...]:
        """Return a fleet's newest schedules, the newest first."""

    def save_look_back(self, fleet: str, found: LookBack) -> None:
        """Keep how a day went, in place of what was kept of it."""

    def look_backs(self, fleet: str, first: date, last: date) -> tuple[LookBack, ...]:
        """Return how the days from `first` to `last` went, both included, oldest first."""


class DemandSource(Protocol):
    """What was measured of a fleet over time. A step without a measurement is missing, not zero.

    Both methods return `None` where nothing at all was measured, and raise `UnavailableError` when
    the source can't be reached, `ConfigError` when it refuses.
    """

    def demand(self, start: datetime, end: datetime) -> DemandSeries | None:
        """Return tokens a second, by the minute."""

    def hosts(self, start: datetime, end: datetime) -> DemandSeries | None:
        """Return how many hosts served, by the minute."""
