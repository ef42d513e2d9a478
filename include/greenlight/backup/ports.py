"""What a backup needs from databases, files and stores, named after the need.

All raise `UnavailableError` when the other side does not answer, and `ConfigError` when it refuses
the credentials, the key or the passphrase.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from greenlight.backup.history import BackupRun, DrillRecord
from greenlight.backup.ladder import Outcome
from greenlight.backup.sets import BackupKind, BackupSet, RestorePoint, Verification


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseCopy:
    """A physical copy of the database cluster in one region.

    `label` is the tool's name of it; `needs` are the labels it cannot be restored without. `mark`
    is what `back_up` was given. `stored_bytes` is what this copy added to the repository,
    `database_bytes` the cluster's size.
    """

    label: str
    kind: BackupKind
    mark: str | None
    began_at: datetime
    ended_at: datetime
    needs: tuple[str, ...]
    stored_bytes: int
    database_bytes: int


class DatabaseBackups(Protocol):
    """Physical copies and the log of the database cluster, in every region."""

    def prepare(self) -> None:
        """Make the repositories ready and prove that the log arrives in each. Idempotent.

        A region that is away is left out: whoever writes there is told.
        """

    def back_up(self, region: str, kind: BackupKind, *, mark: str) -> DatabaseCopy:
        """Copy the running cluster to one region.

        Raises:
            RefusedError: another copy is being made.
            ResourceError: the disk or the store is full.
        """

    def copies(self, region: str) -> tuple[DatabaseCopy, ...]:
        """Return the complete copies of a region, oldest first."""

    def verify(self, region: str, label: str, *, until: str | None = None) -> tuple[str, ...]:
        """Read a copy and the log it needs, and return what is wrong with them, one a line.

        `until`: a place (LSN) that the log must reach, such as a restore point.
        """

    def restore(self, region: str, label: str, *, to: Path, at: datetime | None) -> None:
        """Write the cluster into the new folder `to`, so that it recovers when it is started.

        `at`: the last second that counts; none: as far as the log goes. The restored cluster does
        not archive.

        Raises:
            InputError: the copy, or the log it needs, is damaged or missing.
            RefusedError: `to` holds something.
        """

    def expire(self, region: str, label: str) -> None:
        """Delete a copy, those that need it, and the log that only they needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Files in one region at one time."""

    id: str
    at: datetime
    mark: str | None
    files: int
    bytes: int
    """As they were on disk."""
    stored_bytes: int
    """What it added to the repository."""


class FileBackups(Protocol):
    """Deduplicated, encrypted snapshots of files, in every region."""

    def prepare(self, region: str) -> None:
        """Make the repository. Idempotent."""

    def back_up(self, region: str, *, root: Path, paths: Sequence[str], mark: str) -> Snapshot:
        """Save `paths`, relative to `root`.

        Raises:
            ResourceError: the store is full.
            InputError: a file could not be read.
        """

    def snapshots(self, region: str) -> tuple[Snapshot, ...]:
        """Return the snapshots, oldest first; a region where nothing was saved has none."""

    def verify(self, region: str, snapshot: str) -> tuple[str, ...]:
        """Read all data of the repository and return what is wrong, one a line."""

    def listing(self, region: str, snapshot: str) -> Mapping[str, int]:
        """Return the sizes of the files of a snapshot by path relative to the root."""

    def restore(self, region: str, snapshot: str, *, to: Path, folder: str | None = None) -> None:
        """Write the files of a snapshot under `to` as they were under the root.

        `folder`: only what is in it, relative to the root.

        Raises:
            InputError: the snapshot, its data or the folder is damaged or missing.
        """

    def forget(self, region: str, snapshots: Sequence[str]) -> None:
        """Delete snapshots and the data that only they used."""


class SetStore(Protocol):
    """Manifests and verifications of sets, in one region, signed."""

    @property
    def region(self) -> str:
        """The region's name."""

    def put(self, backup: BackupSet) -> None:
        """Write the manifest.

        Raises:
            RefusedError: there is another set of that name.
        """

    def ids(self) -> tuple[str, ...]:
        """Return the names of all sets, oldest first."""

    def get(self, set_id: str) -> BackupSet:
        """Return a manifest.

        Raises:
            InputError: there is none, or it was changed, cut short, or signed with another key.
        """

    def put_verification(self, verification: Verification) -> None:
        """Keep the newest check of a set."""

    def verification(self, set_id: str) -> Verification | None:
        """Return the newest check of a set."""

    def locked_until(self, set_id: str) -> datetime | None:
        """Return until when the store keeps the set whatever anybody asks."""

    def delete(self, set_id: str) -> None:
        """Delete the manifest and the verification; nothing there is fine.

        Raises:
            RefusedError: the store still locks it.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueVersion:
    """A complete version in the registry's database. `folder`: its files, relative to the home.

    A version whose run is gone has a folder that does not exist.
    """

    model: str
    version: int
    digest: str
    run_id: str
    aliases: tuple[str, ...]
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """What the databases say at one instant. `runs`: folders of all runs, relative to the home.

    `rows` counts exactly what a restore to the point has. A table whose writers did not pause for
    the point is left out: its count could not be taken.
    """

    point: RestorePoint
    versions: tuple[CatalogueVersion, ...]
    runs: frozenset[str]
    rows: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Archiving:
    """How the log's archive stands. Times are the server's; `None`: never.

    `lag_s`: how long the oldest segment that is not archived has been waiting; 0: none waits.
    """

    archived_at: datetime | None
    failed_at: datetime | None
    failures: int
    lag_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentinel:
    """A row that proves what time a restored database is of. `at`: when it was committed."""

    number: int
    at: datetime


class Databases(Protocol):
    """The running databases that are saved (or were restored).

    All raise `InputError` when what they read is damaged.
    """

    def freeze(self, name: str) -> Catalogue:
        """Make a restore point, and return what the databases said at that very point.

        Raises:
            ConfigError: a version's files are where no backup reaches them.
        """

    def wait_archived(self, lsn: str | None = None, *, at_most_s: float) -> None:
        """Return when the log up to `lsn` is archived; none: all that was committed before.

        Raises:
            UnavailableError: it isn't in time; the message carries the archiver's last failure.
            ConfigError: the server does not archive.
        """

    def archiving(self) -> Archiving:
        """Return how the archive stands.

        Raises:
            ConfigError: the server does not archive.
        """

    def mark_time(self) -> Sentinel:
        """Write one more sentinel and commit it."""

    def sentinels(self) -> tuple[Sentinel, ...]:
        """Return all sentinels, oldest first."""

    def catalogue(self) -> tuple[CatalogueVersion, ...]:
        """Return the complete versions as they are now."""

    def runs(self) -> frozenset[str]:
        """Return the folders of all runs, relative to the home."""

    def rows(self) -> Mapping[str, int]:
        """Return the rows of every table of every database by `database.schema.table`."""

    def damage(self) -> tuple[str, ...]:
        """Check every page, table and index of every database; return what is wrong."""


class BackupHistory(Protocol):
    """What became of backup runs and drills. It is added to and never changed."""

    def add_run(self, run: BackupRun) -> None:
        """Keep an attempt that has ended."""

    def add_drill(self, record: DrillRecord) -> DrillRecord:
        """Keep a drill, or return the one with its id: a retry writes nothing twice."""

    def runs(
        self, *, limit: int, kind: BackupKind | None = None, outcome: Outcome | None = None
    ) -> tuple[BackupRun, ...]:
        """Return the newest `limit` runs, newest first."""

    def drills(
        self, *, limit: int, kind: str | None = None, outcome: Outcome | None = None
    ) -> tuple[DrillRecord, ...]:
        """Return the newest `limit` drills, newest first."""
