"""Plan a restore: what comes from where, and every reason not to, before anything is written.

The databases come from the newest copy that ended before the instant, and the log is replayed up to
it. The files come from the first set whose restore point is at or after the instant: an artifact is
written before its version appears and is never changed, so files saved later hold everything that
was registered by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from greenlight.backup.inventory import Inventory, StoredSet
from greenlight.backup.ports import DatabaseCopy, Snapshot
from greenlight.core.errors import RefusedError

DATABASES = "postgres"
"""The part of a home with its databases."""
RESOLUTION = timedelta(seconds=1)
"""pgBackRest tells the end of a copy in whole seconds, rounded down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a restore goes. Paths are resolved: no links, no `..`.

    `holds`: names of what is in it; empty when it is empty or absent. `free_bytes`: on its disk;
    none: unknown. `home`: what is backed up and may be live; none: there is none on this machine.
    `over_live` and `typed_name` are what a person must give to replace the home itself.
    `databases_only`: its files are whole and stay as they are.
    """

    path: Path
    holds: tuple[str, ...] = ()
    free_bytes: int | None = None
    home: Path | None = None
    over_live: bool = False
    typed_name: str | None = None
    databases_only: bool = False

    @property
    def is_home(self) -> bool:
        """Whether it is the source itself."""
        return self.path == self.home


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A set of which nothing is gone."""

    stored: StoredSet
    copy: DatabaseCopy
    snapshot: Snapshot

    @property
    def id(self) -> str:
        """The set's name."""
        return self.stored.id

    @property
    def point_at(self) -> datetime:
        """The set's restore point."""
        return self.stored.point_at

    @property
    def reaches_from(self) -> datetime:
        """The first instant that its database copy can be brought to.

        The copy ended before the set's point, whatever its rounded end says.
        """
        return min(self.copy.ended_at + RESOLUTION, self.point_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What a restore takes. `at`: the last instant that counts; none: as far as the log goes.

    `databases` and `files` are often of different sets. `deleted_since`: a set whose artifacts are
    written first, because `files` lacks some of its versions. `set_aside`: where the live home, or
    its databases, go before they are replaced; none: nothing is replaced.
    """

    region: str
    at: datetime | None
    databases: Source
    files: Source
    to: Path
    set_aside: Path | None
    databases_only: bool
    deleted_since: Source | None = None

    @property
    def bytes(self) -> int:
        """What the restored home takes on disk, without the log that is replayed."""
        files = 0 if self.databases_only else self.files.snapshot.bytes
        return self.databases.copy.database_bytes + files

    @property
    def sets(self) -> tuple[StoredSet, ...]:
        """The sets that something is taken from."""
        taken = [self.databases] if self.databases_only else [self.databases, self.files]
        return tuple(dict.fromkeys(source.stored for source in taken))

    def steps(self) -> tuple[str, ...]:
        """Return what is done, as lines a person can read."""
        copy, snapshot = self.databases.copy, self.files.snapshot
        sets = " and ".join(stored.id for stored in self.sets)
        log = "replay the log as far as it goes, once all of it has been read"
        if self.at is not None:
            log = f"replay the log up to {_text(self.at)}; nothing committed later is there"
        lines = [
            f"read the manifests of {sets} in region {self.region}, and check their signatures",
            f"restore database copy {copy.label} ({copy.kind}, ended {_text(copy.ended_at)}) "
            f"{'under' if self.set_aside is None else 'beside'} {self.to}",
            log,
        ]
        if self.databases_only:
            lines.append("compare the registry with the files that are there, which stay")
        else:
            if (earlier := self.deleted_since) is not None:
                lines.append(f"restore the artifacts of snapshot {earlier.snapshot.id}")
            lines += [
                f"restore {snapshot.files:,} files of snapshot {snapshot.id}, as they were at "
                f"{_text(snapshot.at)}",
                "compare the registry with the files, both ways",
            ]
        if self.set_aside is not None:
            replaced = "its databases" if self.databases_only else "that"
            lines.append(
                f"stop all that runs in {self.to}, move {replaced} to {self.set_aside}, and put "
                "what was restored in its place"
            )
        return tuple(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePlan:
    """What would be restored, or why nothing is. `chosen` is none only when it is refused.

    `no_room`: the one refusal that says something about this machine and nothing about the sets.
    """

    region: str
    to: Path
    chosen: Chosen | None
    warnings: tuple[str, ...]
    refusals: tuple[str, ...]
    no_room: str | None = None

    def require_possible(self) -> Chosen:
        """Return what to restore.

        Raises:
            RefusedError: it may not be done; the message lists every reason.
        """
        if self.chosen is None or self.refusals:
            raise RefusedError(
                f"region {self.region} is not restored to {self.to}: {'; '.join(self.refusals)}; "
                "nothing was written"
            )
        return self.chosen

    def lines(self) -> list[str]:
        """Return it as a person reads it: steps, size, then what to know and why not."""
        found: list[str] = []
        if self.chosen is not None:
            found += self.chosen.steps()
            found.append(f"it takes about {_mb(self.chosen.bytes)} and the log's size on disk")
        found += [f"note: {warning}" for warning in self.warnings]
        found += [f"refused: {refusal}" for refusal in self.refusals]
        return found


def plan_restore(
    inventory: Inventory,
    *,
    at: datetime | None,
    target: Target,
    now: datetime,
    archived_until: datetime | None,
    to_end: bool = False,
) -> RestorePlan:
    """Decide what a restore to an instant takes; nothing is touched.

    `at`: none means the newest restore point, or with `to_end` as far as the log goes.
    `archived_until`: how far the log is known to have arrived; none when nobody can say, as when
    the database is gone. Then the newest point counts, because a set exists only once the log up to
    its point has arrived.

    Every reason to refuse is found, not only the first.
    """
    refusals = list(_refuse_target(target))
    usable = _usable(inventory)
    if not usable:
        refusals.append(_nothing_there(inventory))
        return _plan(inventory, target, None, (), refusals)
    newest = usable[-1].point_at
    instant = at or (max(now, newest) if to_end else newest)
    if at is not None:
        refusals += _refuse_instant(at, usable, inventory, now, archived_until)
    chosen = _choose(instant, usable, target=target, region=inventory.region, now=now)
    if chosen is None:
        return _plan(inventory, target, None, (), refusals)
    if to_end and at is None:
        chosen = replace(chosen, at=None)
    no_room = _refuse_size(chosen, target)
    refusals += [no_room] if no_room else []
    warnings = [*_warn_sets(chosen, inventory), *_warn_files(chosen)]
    if archived_until is None and chosen.at is not None and chosen.at > newest:
        warnings.append(
            f"nobody can say how far the log reaches; it is sure to reach {_text(newest)}, and the "
            f"restore fails when it ends before {_text(instant)}"
        )
    return replace(_plan(inventory, target, chosen, warnings, refusals), no_room=no_room)


def _plan(
    inventory: Inventory,
    target: Target,
    chosen: Chosen | None,
    warnings: Sequence[str],
    refusals: Sequence[str],
) -> RestorePlan:
    return RestorePlan(
        region=inventory.region,
        to=target.path,
        chosen=chosen,
        warnings=tuple(warnings),
        refusals=tuple(refusals),
    )


def _usable(inventory: Inventory) -> tuple[Source, ...]:
    """Return the sets to choose from: the whole ones; when there is none, those that failed."""
    whole = [
        Source(stored=stored, copy=stored.copy, snapshot=stored.snapshot)
        for stored in inventory.sets
        if stored.copy and stored.snapshot and not stored.lacks
    ]
    return tuple(source for source in whole if not source.stored.is_damaged) or tuple(whole)


def _choose(
    at: datetime, usable: Sequence[Source], *, target: Target, region: str, now: datetime
) -> Chosen | None:
    before = [source for source in usable if at >= source.reaches_from]
    if not before:
        return None
    replaced = target.path / DATABASES if target.databases_only else target.path
    aside = replaced.with_name(f"{replaced.name}.before-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}")
    databases = max(before, key=lambda source: source.copy.ended_at)
    files = next((source for source in usable if source.point_at >= at), usable[-1])
    is_earlier = databases.point_at <= at < files.point_at
    gone = databases.stored.versions - files.stored.versions
    return Chosen(
        region=region,
        at=at,
        databases=databases,
        files=files,
        to=target.path,
        set_aside=aside if target.is_home else None,
        databases_only=target.databases_only,
        deleted_since=databases if is_earlier and gone else None,
    )


def _nothing_there(inventory: Inventory) -> str:
    said = [f"set {stored.id} lacks {', '.join(stored.lacks)}" for stored in inventory.sets]
    said += [f"the manifest of set {set_id} is unreadable" for set_id in inventory.unreadable]
    why = f" ({'; '.join(said)})" if said else ""
    return (
        f"region {inventory.region} has no set that can be restored{why}; try another region, "
        "`greenlight backup list` shows them all"
    )


def _refuse_target(target: Target) -> Iterable[str]:
    home = target.home
    if home is not None and target.path in home.parents:
        yield f"{target.path} holds the live home {home}; name a new folder"
    elif home is not None and target.is_home:
        if not target.over_live:
            yield (
                f"{target.path} is the live home, which is the source; name a new folder, or ask "
                "for a restore over it (--over-live) and type its name"
            )
        elif target.typed_name != home.name:
            yield (
                f"to replace the live home {home} its name must be typed, {home.name!r}, not "
                f"{target.typed_name!r}"
            )
    elif target.holds:
        shown = ", ".join(target.holds[:3]) + (", …" if len(target.holds) > 3 else "")
        yield f"{target.path} is not empty (it holds {shown}); name a new folder"


def _refuse_instant(
    at: datetime,
    usable: Sequence[Source],
    inventory: Inventory,
    now: datetime,
    archived_until: datetime | None,
) -> Iterable[str]:
    if at > now:
        yield f"{_text(at)} is in the future: it is {_text(now)}"
    elif archived_until is not None:
        end = max(archived_until, usable[-1].point_at)
        if at > end:
            yield f"{_text(at)} is after {_text(end)}, the last instant whose log was archived"
    oldest = min(source.reaches_from for source in usable)
    if at < oldest:
        yield (
            f"{_text(at)} is before {_text(oldest)}, the first instant that region "
            f"{inventory.region} can restore; another region may reach further back"
        )


def _warn_sets(chosen: Chosen, inventory: Inventory) -> Iterable[str]:
    for stored in chosen.sets:
        if stored.is_damaged:
            yield f"set {stored.id} failed its last check, and no better one is there"
        elif not stored.is_verified:
            yield f"set {stored.id} is not verified in region {chosen.region}"
    skipped = [
        stored.id for stored in inventory.sets if stored.is_damaged and stored not in chosen.sets
    ]
    if skipped:
        yield f"damaged sets are not used: {', '.join(skipped)}"
    if inventory.unreadable:
        yield f"sets whose manifest is unreadable are not used: {', '.join(inventory.unreadable)}"


def _warn_files(chosen: Chosen) -> Iterable[str]:
    if chosen.databases_only:
        return
    files, databases = chosen.files, chosen.databases
    if chosen.at is None or files.point_at < chosen.at:
        wanted = _text(chosen.at) if chosen.at else "the end of the log"
        yield (
            f"no set is of {wanted} or later: files of versions registered after "
            f"{_text(files.point_at)} are missing, and configuration is as it was then"
        )
        return
    if chosen.deleted_since is not None:
        gone = sorted(databases.stored.versions - files.stored.versions)
        names = ", ".join(f"{model} version {version}" for model, version in gone)
        yield (
            f"deleted between {_text(databases.point_at)} and {_text(files.point_at)}: {names}; "
            f"their files come from snapshot {databases.snapshot.id}"
        )


def _refuse_size(chosen: Chosen, target: Target) -> str | None:
    if target.free_bytes is None or target.free_bytes >= chosen.bytes:
        return None
    return (
        f"it takes {_mb(chosen.bytes)} and the log's size, but only {_mb(target.free_bytes)} "
        f"are free under {target.path}; free some space or name a folder elsewhere"
    )


def _text(at: datetime) -> str:
    utc = at.astimezone(UTC)
    return f"{utc.replace(tzinfo=None).isoformat(sep=' ', timespec='auto')} UTC"


def _mb(size: int) -> str:
    return f"{size / 1e6:,.4g} MB" if size < 1e9 else f"{size / 1e6:,.0f} MB"
