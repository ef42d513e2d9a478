"""What one region keeps: sets, database copies, snapshots, and which of them still fit together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from greenlight.backup.ports import DatabaseBackups, DatabaseCopy, FileBackups, SetStore, Snapshot
from greenlight.backup.sets import BackupSet, Verdict, Verification
from greenlight.core.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSet:
    """A set as one region keeps it.

    `chain`: labels of every database copy that restoring it takes, its own among them. `lacks`:
    what of it is gone; then it cannot be restored, whatever its last check said. `verdict`: the
    last check of this very manifest; none: never checked. `copy` and `snapshot` are none when they
    are gone.
    """

    id: str
    point_at: datetime
    versions: frozenset[tuple[str, int]]
    label: str
    copy: DatabaseCopy | None
    chain: frozenset[str]
    snapshot_id: str
    snapshot: Snapshot | None
    lacks: tuple[str, ...]
    verdict: Verdict | None
    locked_until: datetime | None

    @property
    def is_verified(self) -> bool:
        """Whether it was read back whole, and nothing of it went away since."""
        return self.verdict is Verdict.PASS and not self.lacks

    @property
    def is_damaged(self) -> bool:
        """Whether it is known that it cannot be restored. Not checked is not damaged."""
        return self.verdict is Verdict.FAIL or bool(self.lacks)

    @property
    def state(self) -> str:
        """What a person is told: `verified`, `damaged` or `not verified`."""
        if self.is_damaged:
            return "damaged"
        return "verified" if self.is_verified else "not verified"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Everything that one region keeps; each part oldest first.

    `unreadable`: sets whose manifest is damaged, so nobody knows which copies are theirs beyond
    the marks those bear.
    """

    region: str
    sets: tuple[StoredSet, ...]
    unreadable: tuple[str, ...]
    copies: tuple[DatabaseCopy, ...]
    snapshots: tuple[Snapshot, ...]

    @property
    def verified(self) -> tuple[StoredSet, ...]:
        """The sets that were read back whole."""
        return tuple(stored for stored in self.sets if stored.is_verified)


def read_inventory(store: SetStore, databases: DatabaseBackups, files: FileBackups) -> Inventory:
    """Read everything that a store's region keeps.

    A manifest that names no copy in this region is left out: the set is elsewhere.

    Raises:
        UnavailableError: the region does not answer.
    """
    copies, snapshots = databases.copies(store.region), files.snapshots(store.region)
    sets, unreadable = [], []
    for set_id in store.ids():
        try:
            backup = store.get(set_id)
        except InputError:
            unreadable.append(set_id)
            continue
        stored = stored_set(
            backup,
            region=store.region,
            copies=copies,
            snapshots=snapshots,
            verification=store.verification(set_id),
            locked_until=store.locked_until(set_id),
        )
        if stored is not None:
            sets.append(stored)
    return Inventory(
        region=store.region,
        sets=tuple(sorted(sets, key=lambda stored: stored.point_at)),
        unreadable=tuple(unreadable),
        copies=copies,
        snapshots=snapshots,
    )


def stored_set(
    backup: BackupSet,
    *,
    region: str,
    copies: Iterable[DatabaseCopy],
    snapshots: Iterable[Snapshot],
    verification: Verification | None,
    locked_until: datetime | None,
) -> StoredSet | None:
    """Return a set as a region keeps it; none: the region has no part of it.

    A check of another manifest counts as none: it said nothing about this one.
    """
    where = backup.copy_in(region)
    if where is None:
        return None
    by_label = {copy.label: copy for copy in copies}
    snapshot = next((found for found in snapshots if found.id == where.snapshot), None)
    chain = chain_of(where.database_label, by_label)
    lacks = [f"database copy {label}" for label in sorted(chain - by_label.keys())]
    if snapshot is None:
        lacks.append(f"snapshot {where.snapshot}")
    is_of_this = verification is not None and verification.manifest_digest == backup.digest
    return StoredSet(
        id=backup.id,
        point_at=backup.point.at,
        versions=frozenset((saved.model, saved.version) for saved in backup.versions),
        label=where.database_label,
        copy=by_label.get(where.database_label),
        chain=chain,
        snapshot_id=where.snapshot,
        snapshot=snapshot,
        lacks=tuple(lacks),
        verdict=verification.verdict if verification and is_of_this else None,
        locked_until=locked_until,
    )


def chain_of(label: str, copies: Mapping[str, DatabaseCopy]) -> frozenset[str]:
    """Return a copy's label and those of all it needs, directly or not, there or not."""
    found: set[str] = set()
    todo = [label]
    while todo:
        one = todo.pop()
        if one not in found:
            found.add(one)
            todo += copies[one].needs if one in copies else ()
    return frozenset(found)
