"""The databases that are saved, in memory. A test changes what they say and what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from itertools import count

from greenlight.backup.ports import Archiving, Catalogue, CatalogueVersion, Sentinel
from greenlight.backup.sets import RestorePoint
from greenlight.core.errors import UnavailableError

Now = Callable[[], datetime]


class MemoryDatabases:
    """`backup.ports.Databases` in lists. `away`: they don't answer. `archives`: the log arrives."""

    def __init__(
        self,
        now: Now,
        *,
        versions: Iterable[CatalogueVersion] = (),
        tables: Mapping[str, int] | None = None,
    ) -> None:
        self._now = now
        self._lsn = count(1)
        self._sentinels: list[Sentinel] = []
        self._archived_at: datetime | None = None
        self._failed_at: datetime | None = None
        self._failures = 0
        self.versions = list(versions)
        self.tables = dict(tables or {})
        """Rows by `database.schema.table`, without the sentinels."""
        self.findings: list[str] = []
        self.away = False
        self.archives = True

    def restored_to(self, at: datetime) -> MemoryDatabases:
        """Return what a restore to a time gives; versions and tables are those of now."""
        other = MemoryDatabases(self._now, versions=self.versions, tables=self.tables)
        other._sentinels = [sentinel for sentinel in self._sentinels if sentinel.at <= at]
        return other

    def freeze(self, name: str) -> Catalogue:
        """Make a restore point."""
        self._reach()
        point = RestorePoint(name=name, lsn=f"0/{next(self._lsn):X}", at=self._now())
        return Catalogue(point=point, versions=self.catalogue(), runs=self.runs(), rows=self.rows())

    def wait_archived(self, lsn: str | None = None, *, at_most_s: float) -> None:
        """Return at once, or fail as an archive does that is away."""
        self._reach()
        if not self.archives:
            self._failed_at, self._failures = self._now(), self._failures + 1
            raise UnavailableError(
                f"{lsn or 'the log'} was not archived in {at_most_s:g} s; the archiver last failed "
                f"at {self._failed_at}"
            )
        self._archived_at = self._now()

    def archiving(self) -> Archiving:
        """Return how the archive stands."""
        self._reach()
        waiting = None if self.archives else self._archived_at or self._now()
        return Archiving(
            archived_at=self._archived_at,
            failed_at=self._failed_at,
            failures=self._failures,
            lag_s=0.0 if waiting is None else (self._now() - waiting).total_seconds(),
        )

    def mark_time(self) -> Sentinel:
        """Add a sentinel."""
        self._reach()
        sentinel = Sentinel(number=len(self._sentinels) + 1, at=self._now())
        self._sentinels.append(sentinel)
        return sentinel

    def sentinels(self) -> tuple[Sentinel, ...]:
        """Return all sentinels, oldest first."""
        self._reach()
        return tuple(self._sentinels)

    def catalogue(self) -> tuple[CatalogueVersion, ...]:
        """Return the versions."""
        self._reach()
        return tuple(sorted(self.versions, key=lambda v: (v.model, v.version)))

    def runs(self) -> frozenset[str]:
        """Return the folders of the versions' runs."""
        self._reach()
        return frozenset(version.folder.rpartition("/")[0] for version in self.versions)

    def rows(self) -> Mapping[str, int]:
        """Return the rows of every table."""
        self._reach()
        return {**self.tables, "greenlight.public.sentinels": len(self._sentinels)}

    def damage(self) -> tuple[str, ...]:
        """Return the findings."""
        self._reach()
        return tuple(self.findings)

    def _reach(self) -> None:
        if self.away:
            raise UnavailableError("the databases did not answer")
