"""Where a schedule goes: a scaler of the cloud, a manifest, or the fleet's own slots."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from greenlight.core.errors import GateError
from greenlight.scaling.capacity import HostCapacity, Unknown
from greenlight.scaling.ports import ScheduleTarget
from greenlight.scaling.reactive import Signal
from greenlight.scaling.schedule import Schedule
from greenlight.scaling.targets import Change, FastLoop, Found, lines_of, plan_changes, wanted_of

if TYPE_CHECKING:
    from greenlight.adapters.keda import KedaSettings


class Applier(Protocol):
    """One fleet's target. Applied twice, the second changes nothing."""

    def plan(
        self, schedule: Schedule, capacity: HostCapacity | Unknown, *, now: datetime
    ) -> tuple[str, ...]:
        """Return what applying would change, one line each.

        Raises:
            RefusedError: the target isn't marked as one that Greenlight may schedule.
            UnavailableError, ConfigError: it can't be reached, or refuses.
        """

    def apply(
        self, schedule: Schedule, capacity: HostCapacity | Unknown, *, now: datetime
    ) -> tuple[str, ...]:
        """Change it; return what was changed.

        Raises:
            RefusedError, UnavailableError, ConfigError: as `plan`.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class ToScaler:
    """A scaler that keeps rules by itself. `utilisation`: what its own loop aims at."""

    target: ScheduleTarget
    utilisation: float
    drain_s: int
    has_loop: bool

    def plan(
        self, schedule: Schedule, capacity: HostCapacity | Unknown, *, now: datetime
    ) -> tuple[str, ...]:
        """Return the differences."""
        found, changes = self._changes(schedule, capacity, now)
        return lines_of(changes, found)

    def apply(
        self, schedule: Schedule, capacity: HostCapacity | Unknown, *, now: datetime
    ) -> tuple[str, ...]:
        """Make the changes."""
        found, changes = self._changes(schedule, capacity, now)
        self.target.apply(changes)
        return lines_of(changes, found)

    def _changes(
        self, schedule: Schedule, capacity: HostCapacity | Unknown, now: datetime
    ) -> tuple[Found, Sequence[Change]]:
        found = self.target.read()
        wanted = wanted_of(
            schedule, now=now, loop=self._loop(schedule, capacity, found), drain_s=self.drain_s
        )
        return found, plan_changes(found, wanted)

    def _loop(
        self, schedule: Schedule, capacity: HostCapacity | Unknown, found: Found
    ) -> FastLoop | None:
        """Return the loop for a measured host; while that isn't known, the one that is there."""
        if not self.has_loop:
            return None
        if isinstance(capacity, Unknown):
            return found.loop
        return FastLoop(
            metric=Signal.TOKENS,
            target=round(self.utilisation * capacity.tokens_per_second, 3),
            warm_up_s=round(schedule.lead_s),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ToManifest:
    """A ScaledObject in a file. `settings`: as if a host took one token a second."""

    path: Path
    settings: KedaSettings
    utilisation: float

    def plan(
        self, schedule: Schedule, capacity: HostCapacity | Unknown, *, now: datetime
    ) -> tuple[str, ...]:
        """Return the lines that change."""
        old = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        new = self._text(schedule, capacity, now)
        changed = difflib.unified_diff(
            old.splitlines(), new.splitlines(), str(self.path), str(self.path), lineterm="", n=0
        )
        return tuple(changed) or ("nothing to change",)

    def apply(
        self, schedule: Schedule, capacity: HostCapacity | Unknown, *, now: datetime
    ) -> tuple[str, ...]:
        """Write the file."""
        from greenlight.adapters import keda

        changed = keda.write(self.path, self._text(schedule, capacity, now))
        return (f"{self.path} is written",) if changed else ("nothing to change",)

    def _text(self, schedule: Schedule, capacity: HostCapacity | Unknown, now: datetime) -> str:
        from greenlight.adapters import keda

        if isinstance(capacity, Unknown):
            raise GateError(f"no ScaledObject without a target: {capacity.why}; {capacity.measure}")
        target = self.utilisation * capacity.tokens_per_second
        settings = self.settings.model_copy(update={"target": round(target, 3)})
        return keda.render(schedule, settings, now=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToSlots:
    """The fleet's own slots. `greenlight scaling loop` reads what is applied from the database."""

    fleet: str

    def plan(
        self, schedule: Schedule, capacity: HostCapacity | Unknown, *, now: datetime
    ) -> tuple[str, ...]:
        """Return the bounds that the loop would find now."""
        del capacity
        size = schedule.at(now)
        return (
            f"the loop of {self.fleet} keeps {size.minimum} to {size.maximum} hosts now, "
            f"{size.desired} while nothing is measured",
        )

    def apply(
        self, schedule: Schedule, capacity: HostCapacity | Unknown, *, now: datetime
    ) -> tuple[str, ...]:
        """Change nothing: that it is applied is what the loop reads."""
        return self.plan(schedule, capacity, now=now)
