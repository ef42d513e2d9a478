"""Small worlds for backup tests: what one region keeps, told night by night."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from greenlight.backup.inventory import Inventory, StoredSet, chain_of
from greenlight.backup.ports import DatabaseCopy, Snapshot
from greenlight.backup.sets import BackupKind, Verdict, set_id

START = datetime(2026, 3, 2, 2, 14, 7, tzinfo=UTC)
"""A Monday."""
PASS, FAIL = Verdict.PASS, Verdict.FAIL
DAY = timedelta(days=1)


def a_copy(at: datetime, *, needs: Sequence[str] = (), **changes: Any) -> DatabaseCopy:
    """Return the database copy of the set of `at`: it ended a minute before."""
    copy = DatabaseCopy(
        label=f"db-{set_id(at)}",
        kind=BackupKind.INCREMENTAL if needs else BackupKind.FULL,
        mark=set_id(at),
        began_at=at - timedelta(minutes=2),
        ended_at=at - timedelta(minutes=1),
        needs=tuple(needs),
        stored_bytes=1_000,
        database_bytes=5_000,
    )
    return dataclasses.replace(copy, **changes)


def a_snapshot(at: datetime, **changes: Any) -> Snapshot:
    """Return the snapshot of the set of `at`: made a minute later."""
    snapshot = Snapshot(
        id=f"snap-{set_id(at)}",
        at=at + timedelta(minutes=1),
        mark=set_id(at),
        files=40,
        bytes=3_000,
        stored_bytes=100,
    )
    return dataclasses.replace(snapshot, **changes)


def nights(
    verdicts: Sequence[Verdict | None],
    *,
    start: datetime = START,
    step: timedelta = DAY,
    full_every: int = 7,
    versions: Mapping[int, set[tuple[str, int]]] | None = None,
) -> Inventory:
    """Return the sets of successive nights. `verdicts`: one a night, none: not checked.

    Every copy builds on those before it, back to a full one. `versions`: what was registered on
    some nights; on the others it is version 1 of m.
    """
    sets: list[StoredSet] = []
    copies: list[DatabaseCopy] = []
    for number, verdict in enumerate(verdicts):
        at = start + number * step
        since_full = number % full_every
        copy = a_copy(at, needs=[one.label for one in copies[len(copies) - since_full :]])
        copies.append(copy)
        sets.append(
            StoredSet(
                id=set_id(at),
                point_at=at,
                versions=frozenset((versions or {}).get(number, {("m", 1)})),
                label=copy.label,
                copy=copy,
                chain=chain_of(copy.label, {one.label: one for one in copies}),
                snapshot_id=a_snapshot(at).id,
                snapshot=a_snapshot(at),
                lacks=(),
                verdict=verdict,
                locked_until=None,
            )
        )
    return Inventory(
        region="a",
        sets=tuple(sets),
        unreadable=(),
        copies=tuple(copies),
        snapshots=tuple(stored.snapshot for stored in sets if stored.snapshot),
    )


def changed(inventory: Inventory, number: int, **changes: Any) -> Inventory:
    """Return the same with one set that differs."""
    sets = list(inventory.sets)
    sets[number] = dataclasses.replace(sets[number], **changes)
    return dataclasses.replace(inventory, sets=tuple(sets))


def night(number: int, *, start: datetime = START, step: timedelta = DAY) -> str:
    """Return the id of the set of a night."""
    return set_id(start + number * step)
