"""What became of backup runs and drills, in memory, for tests that need no database."""

from __future__ import annotations

from greenlight.backup.history import BackupRun, DrillRecord
from greenlight.backup.ladder import Outcome
from greenlight.backup.sets import BackupKind


class MemoryHistory:
    """`backup.ports.BackupHistory` in lists."""

    def __init__(self) -> None:
        self._runs: list[BackupRun] = []
        self._drills: dict[str, DrillRecord] = {}

    def add_run(self, run: BackupRun) -> None:
        """Keep an attempt that has ended."""
        self._runs.append(run)

    def add_drill(self, record: DrillRecord) -> DrillRecord:
        """Keep a drill, or return the one with its id."""
        return self._drills.setdefault(record.drill.id, record)

    def runs(
        self, *, limit: int, kind: BackupKind | None = None, outcome: Outcome | None = None
    ) -> tuple[BackupRun, ...]:
        """Return the newest `limit` runs, newest first."""
        found = [
            run
            for run in reversed(self._runs)
            if kind in (None, run.kind) and outcome in (None, run.outcome)
        ]
        return tuple(sorted(found, key=lambda run: run.began_at, reverse=True)[:limit])

    def drills(
        self, *, limit: int, kind: str | None = None, outcome: Outcome | None = None
    ) -> tuple[DrillRecord, ...]:
        """Return the newest `limit` drills, newest first."""
        found = [
            record
            for record in self._drills.values()
            if kind in (None, record.kind) and outcome in (None, record.outcome)
        ]
        order = sorted(found, key=lambda r: (r.drill.began_at, r.drill.id), reverse=True)
        return tuple(order[:limit])
