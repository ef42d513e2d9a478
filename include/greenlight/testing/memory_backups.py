"""Repositories and set stores of backups in memory, which a test can damage.

`away` names regions that do not answer, `full` those that take nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

from greenlight.adapters.restic.saveable import require_saveable
from greenlight.backup.ports import DatabaseCopy, Snapshot
from greenlight.backup.sets import BackupKind, BackupSet, Verification
from greenlight.core.errors import (
    ConfigError,
    InputError,
    RefusedError,
    ResourceError,
    UnavailableError,
)

Now = Callable[[], datetime]


class Regions:
    """Whether regions answer."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        self.away: set[str] = set()
        self.full: set[str] = set()

    def reach(self, region: str) -> None:
        """Fail as a region that is unknown or away does."""
        if region not in self.names:
            known = ", ".join(self.names)
            raise ConfigError(f"there is no region {region!r}; there are {known}")
        if region in self.away:
            raise UnavailableError(f"region {region} does not answer")

    def reach_to_write(self, region: str) -> None:
        """Fail as a region that is full does, too."""
        self.reach(region)
        if region in self.full:
            raise ResourceError(f"region {region} is full")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFiles:
    """A snapshot with the content and mode of its files."""

    snapshot: Snapshot
    files: Mapping[str, tuple[bytes, int]]


class MemoryFileBackups:
    """`backup.ports.FileBackups` in dictionaries. `damage` is what a test breaks."""

    def __init__(self, regions: Regions, now: Now) -> None:
        self._regions = regions
        self._now = now
        self._numbers = count(1)
        self._kept: dict[str, dict[str, KeptFiles]] = {}
        self.damage: dict[str, list[str]] = {}
        """Findings by region. Everything in it is unreadable while there are any."""

    def prepare(self, region: str) -> None:
        """Make the repository."""
        self._regions.reach_to_write(region)
        self._kept.setdefault(region, {})

    def back_up(self, region: str, *, root: Path, paths: Sequence[str], mark: str) -> Snapshot:
        """Keep the files' content."""
        require_saveable(root, paths)
        self._regions.reach_to_write(region)
        repository = self._repository(region)
        files = {
            path.relative_to(root).as_posix(): (_content(path), path.stat().st_mode)
            for path in _files(root, paths)
        }
        known = {content for kept in repository.values() for content, _ in kept.files.values()}
        contents = {content for content, _ in files.values()}
        snapshot = Snapshot(
            id=f"{next(self._numbers):064x}",
            at=self._now(),
            mark=mark,
            files=len(files),
            bytes=sum(len(content) for content, _ in files.values()),
            stored_bytes=sum(len(content) for content in contents - known),
        )
        repository[snapshot.id] = KeptFiles(snapshot=snapshot, files=files)
        return snapshot

    def snapshots(self, region: str) -> tuple[Snapshot, ...]:
        """Return the snapshots, oldest first."""
        self._regions.reach(region)
        return tuple(kept.snapshot for kept in self._kept.get(region, {}).values())

    def verify(self, region: str, snapshot: str) -> tuple[str, ...]:
        """Return what a test broke, and whether the snapshot is gone."""
        gone = () if snapshot in self._repository(region) else (f"snapshot {snapshot} is gone",)
        return (*gone, *self.damage.get(region, ()))

    def listing(self, region: str, snapshot: str) -> Mapping[str, int]:
        """Return the sizes of the files of a snapshot by path."""
        files = self._snapshot(region, snapshot).files
        return {path: len(content) for path, (content, _) in files.items()}

    def restore(self, region: str, snapshot: str, *, to: Path, folder: str | None = None) -> None:
        """Write the files of a snapshot, or of one folder in it, under `to`."""
        kept = self._snapshot(region, snapshot)
        if findings := self.damage.get(region):
            raise InputError(f"region {region}: {'; '.join(findings)}")
        wanted = {
            path: file
            for path, file in kept.files.items()
            if folder is None or path.startswith(f"{folder}/")
        }
        if folder and not wanted:
            raise InputError(f"region {region}: snapshot {snapshot} has no {folder}")
        for path, (content, mode) in wanted.items():
            (to / path).parent.mkdir(parents=True, exist_ok=True)
            (to / path).write_bytes(content)
            (to / path).chmod(mode)

    def forget(self, region: str, snapshots: Sequence[str]) -> None:
        """Delete snapshots."""
        for snapshot in snapshots:
            self._repository(region).pop(snapshot, None)

    def lose(self, region: str, snapshot: str, path: str) -> None:
        """Take one file out of a snapshot, as if it had not been there when it was made."""
        kept = self._snapshot(region, snapshot)
        files = {name: file for name, file in kept.files.items() if name != path}
        self._repository(region)[snapshot] = replace(kept, files=files)

    def _repository(self, region: str) -> dict[str, KeptFiles]:
        self._regions.reach(region)
        if region not in self._kept:
            raise InputError(f"region {region} has no repository")
        return self._kept[region]

    def _snapshot(self, region: str, snapshot: str) -> KeptFiles:
        found = self._repository(region).get(snapshot)
        if found is None:
            raise InputError(f"region {region} has no snapshot {snapshot}")
        return found


class MemorySetStore:
    """`backup.ports.SetStore` in dictionaries. `lock`: for so long nobody can delete a set."""

    def __init__(
        self, regions: Regions, now: Now, *, region: str, lock: timedelta = timedelta()
    ) -> None:
        self._regions = regions
        self._now = now
        self._region = region
        self._lock = lock
        self._sets: dict[str, tuple[BackupSet, datetime]] = {}
        self._verifications: dict[str, Verification] = {}
        self.tampered: set[str] = set()
        """Sets whose manifest was changed by somebody without the key."""

    @property
    def region(self) -> str:
        """The region's name."""
        return self._region

    def put(self, backup: BackupSet) -> None:
        """Keep the manifest, unless there is another one."""
        self._regions.reach_to_write(self._region)
        kept, _ = self._sets.setdefault(backup.id, (backup, self._now()))
        if kept != backup or backup.id in self.tampered:
            raise RefusedError(f"region {self._region} already has another set {backup.id}")

    def ids(self) -> tuple[str, ...]:
        """Return the names of all sets, oldest first."""
        self._regions.reach(self._region)
        return tuple(sorted(self._sets))

    def get(self, set_id: str) -> BackupSet:
        """Return a manifest that nobody tampered with."""
        self._regions.reach(self._region)
        if set_id not in self._sets:
            raise InputError(f"region {self._region} has no set {set_id!r}")
        if set_id in self.tampered:
            raise InputError(f"the manifest of set {set_id} was changed after it was signed")
        return self._sets[set_id][0]

    def put_verification(self, verification: Verification) -> None:
        """Keep a check, unless a newer one is there."""
        self._regions.reach_to_write(self._region)
        kept = self._verifications.get(verification.set_id)
        if kept is None or kept.at <= verification.at:
            self._verifications[verification.set_id] = verification

    def verification(self, set_id: str) -> Verification | None:
        """Return the newest check."""
        self._regions.reach(self._region)
        return self._verifications.get(set_id)

    def locked_until(self, set_id: str) -> datetime | None:
        """Return until when the set is locked."""
        self._regions.reach(self._region)
        if set_id not in self._sets or not self._lock:
            return None
        return self._sets[set_id][1] + self._lock

    def delete(self, set_id: str) -> None:
        """Delete the manifest and the verification, unless they are locked."""
        until = self.locked_until(set_id)
        if until is not None and until > self._now():
            raise RefusedError(f"set {set_id} is locked in region {self._region} until {until}")
        self._sets.pop(set_id, None)
        self._verifications.pop(set_id, None)


@dataclass(slots=True, kw_only=True)
class MemoryDatabaseBackups:
    """`backup.ports.DatabaseBackups` that copies nothing: labels, chains, and what a test broke.

    A restore writes `restored` into the new folder, with the label and the instant. `damage`:
    findings by region and label. `busy`: another copy is being made.
    """

    regions: Regions
    now: Now
    database_bytes: int = 1_000_000
    busy: bool = False
    damage: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    _copies: dict[str, list[DatabaseCopy]] = field(default_factory=dict)

    def prepare(self) -> None:
        """Make the repositories of the regions that answer."""
        for region in self.regions.names:
            self._copies.setdefault(region, [])

    def back_up(self, region: str, kind: BackupKind, *, mark: str) -> DatabaseCopy:
        """Note a copy. Without a full one to build on it is full."""
        self.regions.reach_to_write(region)
        if self.busy:
            raise RefusedError(f"region {region}: another copy is being made")
        kept = self._copies.setdefault(region, [])
        is_full = kind is BackupKind.FULL or not kept
        began = self.now()
        copy = DatabaseCopy(
            label=f"{mark}{'F' if is_full else 'I'}",
            kind=BackupKind.FULL if is_full else BackupKind.INCREMENTAL,
            mark=mark,
            began_at=began,
            ended_at=self.now(),
            needs=() if is_full else (*kept[-1].needs, kept[-1].label),
            stored_bytes=self.database_bytes if is_full else self.database_bytes // 100,
            database_bytes=self.database_bytes,
        )
        kept.append(copy)
        return copy

    def copies(self, region: str) -> tuple[DatabaseCopy, ...]:
        """Return the copies, oldest first."""
        self.regions.reach(region)
        return tuple(self._copies.get(region, ()))

    def verify(self, region: str, label: str, *, until: str | None = None) -> tuple[str, ...]:
        """Return what a test broke in a copy or in those it needs."""
        del until
        found = {copy.label: copy for copy in self.copies(region)}
        if label not in found:
            return (f"copy {label} is gone",)
        chain = (*found[label].needs, label)
        lacking = [f"copy {one} is gone" for one in chain if one not in found]
        return (*lacking, *(line for one in chain for line in self.damage.get((region, one), ())))

    def restore(self, region: str, label: str, *, to: Path, at: datetime | None) -> None:
        """Write down in the new folder what was restored."""
        if to.exists() and any(to.iterdir()):
            raise RefusedError(f"{to} is not empty")
        if findings := self.verify(region, label):
            raise InputError(f"region {region}: {'; '.join(findings)}")
        to.mkdir(parents=True, exist_ok=True)
        (to / "restored").write_text(f"{label} {at.isoformat() if at else 'end of the log'}\n")

    def expire(self, region: str, label: str) -> None:
        """Delete a copy and those that need it."""
        self._copies[region] = [
            copy for copy in self.copies(region) if copy.label != label and label not in copy.needs
        ]


def _files(root: Path, paths: Sequence[str]) -> Iterable[Path]:
    for path in paths:
        place = root / path
        below = sorted(place.rglob("*")) if place.is_dir() else [place]
        yield from (file for file in below if file.is_file() and not file.is_symlink())


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} could not be read: {error}") from error
