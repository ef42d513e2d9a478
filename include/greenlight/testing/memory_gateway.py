"""API keys and the audit log in memory, for tests that need no database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime

from greenlight.core.errors import ConfigError, InputError, RefusedError, UnavailableError
from greenlight.gateway.api_keys import ApiKey, Use
from greenlight.gateway.audit import (
    Anchor,
    AnchorKind,
    AuditEvent,
    Record,
    anchored,
    chained,
    is_signed,
)
from greenlight.gateway.spend_caps import SpendCap
from greenlight.gateway.stores import Named, Position, Snapshot, SpoolPart


class MemoryAudit:
    """`gateway.stores.AuditStore` in lists. `away`: it doesn't answer."""

    def __init__(self, *, secret: str = "a secret for tests, not a secret") -> None:  # noqa: S107
        self.secret = secret
        self.away = False
        self.stored: list[Record] = []
        self.anchors: dict[AnchorKind, Anchor] = {}
        self.subjects: dict[str, tuple[str, str | None]] = {}
        """Alias and identity."""
        self.spools: dict[str, int] = {}
        self._aliases = 0

    def append(
        self,
        events: Sequence[AuditEvent],
        *,
        identities: Mapping[str, str] | None = None,
        part: SpoolPart | None = None,
    ) -> Anchor | None:
        """Chain events, and return the head."""
        self._answer()
        head = self.anchors.get(AnchorKind.HEAD)
        if head and not is_signed(head, secret=self.secret):
            raise ConfigError("the end of the audit log is not signed with this secret")
        if part is not None:
            if self.spools.get(part.spool, 0) != part.start:
                return head
            self.spools[part.spool] = part.end
        named = [replace(e, subject=self._alias(e.subject, identities or {})) for e in events]
        new = list(chained(named, after=head, secret=self.secret))
        self.stored += new
        if new:
            self._anchor(AnchorKind.HEAD, new[-1], at=events[-1].at)
        return self.anchors.get(AnchorKind.HEAD)

    def position(self, spool: str) -> Position:
        """Return where the log ends, and up to which byte a spool is in it."""
        self._answer()
        return Position(head=self.anchors.get(AnchorKind.HEAD), taken=self.spools.get(spool, 0))

    def forget(self, spool: str) -> None:
        """Forget a spool whose file is gone."""
        self._answer()
        self.spools.pop(spool, None)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Open all of the log as it is now."""
        self._answer()
        head, pruned = (self.anchors.get(kind) for kind in AnchorKind)
        yield Snapshot(head=head, pruned=pruned, records=iter(list(self.stored)))

    def find(
        self,
        *,
        limit: int | None = None,
        event: str | None = None,
        subject: str | None = None,
        tenant: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> tuple[Named, ...]:
        """Return the newest records that fit, oldest first."""
        self._answer()
        named = [self._named(record) for record in self.stored]
        found = [
            one
            for one in named
            if (event is None or f"{one.record.event}.".startswith(f"{event}."))
            and subject in (None, one.subject, one.record.subject)
            and tenant in (None, one.record.tenant)
            and (since is None or one.record.at >= since)
            and (until is None or one.record.at < until)
        ]
        return tuple(found if limit is None else found[-limit:])

    def erase(self, subject: str, *, event: AuditEvent) -> str | None:
        """Forget who a subject (or an alias) is; return the alias."""
        self._answer()
        for name, (alias, _) in self.subjects.items():
            if subject in (name, alias):
                del self.subjects[name]
                self.append([replace(event, detail=event.detail | {"alias": alias})])
                return alias
        return None

    def prunable(self, before: datetime) -> Record | None:
        """Return the last record of the oldest stretch that is all older; never the newest one."""
        self._answer()
        last = None
        for record in self.stored[:-1]:
            if record.at >= before:
                break
            last = record
        return last

    def prune(self, through: Record, *, event: AuditEvent) -> int:
        """Delete a stretch from the oldest record on, sign where it ended, return how many."""
        self._answer()
        kept = [record for record in self.stored if record.number > through.number]
        count = len(self.stored) - len(kept)
        if count == 0:
            return 0
        self.stored = kept
        self._anchor(AnchorKind.PRUNED, through, at=event.at)
        used = {record.subject for record in kept}
        self.subjects = {name: row for name, row in self.subjects.items() if row[0] in used}
        detail = event.detail | {"through": through.number, "records": count}
        self.append([replace(event, detail=detail)])
        return count

    def _anchor(self, kind: AnchorKind, record: Record, *, at: datetime) -> None:
        self.anchors[kind] = anchored(kind, record, at=at, secret=self.secret)

    def _alias(self, subject: str | None, identities: Mapping[str, str]) -> str | None:
        if not subject:
            return None
        if subject not in self.subjects:
            self._aliases += 1
            self.subjects[subject] = (f"a_{self._aliases}", None)
        alias, identity = self.subjects[subject]
        self.subjects[subject] = (alias, identity or identities.get(subject))
        return alias

    def _named(self, record: Record) -> Named:
        for subject, (alias, identity) in self.subjects.items():
            if alias == record.subject:
                return Named(record=record, subject=subject, identity=identity)
        return Named(record=record, subject=None, identity=None)

    def _answer(self) -> None:
        if self.away:
            raise UnavailableError("the database did not answer")


class MemoryKeys:
    """`gateway.stores.KeyStore` in a dictionary. `lookups` counts what was asked."""

    def __init__(self, audit: MemoryAudit) -> None:
        self._audit = audit
        self._keys: dict[str, ApiKey] = {}
        self.away = False
        self.lookups = 0
        self.writes = 0

    def add(self, key: ApiKey, *, event: AuditEvent) -> None:
        """Keep a new key."""
        self._answer()
        if key.id in self._keys:
            raise InputError(f"there is a key {key.id} already")
        self._keys[key.id] = key
        self._audit.append([event])

    def get(self, key_id: str) -> ApiKey | None:
        """Return a key, or nothing."""
        self.lookups += 1
        self._answer()
        return self._keys.get(key_id)

    def all_keys(self) -> tuple[ApiKey, ...]:
        """Return every key there ever was, oldest first."""
        self._answer()
        return tuple(sorted(self._keys.values(), key=lambda key: (key.created_at, key.id)))

    def change(self, before: ApiKey, after: ApiKey, *, event: AuditEvent) -> None:
        """Replace a key that is still as it was read."""
        self._answer()
        now = self._keys.get(before.id)
        if now is None or (now.hash, now.revoked_at) != (before.hash, before.revoked_at):
            raise RefusedError(f"key {before.id} was changed by somebody else meanwhile")
        old = asdict(before)
        changes = {name: value for name, value in asdict(after).items() if value != old[name]}
        self._keys[before.id] = replace(now, **changes)
        self._audit.append([event])

    def used(self, uses: Sequence[Use]) -> None:
        """Write when keys were last used; an earlier time than the one kept changes nothing."""
        self._answer()
        self.writes += 1
        for use in uses:
            name = "previous_used_at" if use.previous else "last_used_at"
            if key := self._keys.get(use.key_id):
                newest = max(filter(None, (getattr(key, name), use.at)))
                self._keys[use.key_id] = replace(key, **{name: newest})

    def _answer(self) -> None:
        if self.away:
            raise UnavailableError("the database did not answer")


class MemorySpendCaps:
    """`gateway.stores.SpendCapStore` in a list."""

    def __init__(self, audit: MemoryAudit) -> None:
        self._audit = audit
        self._caps: tuple[SpendCap, ...] = ()
        self.away = False

    def all_caps(self) -> tuple[SpendCap, ...]:
        """Return every cap, by tenant and budget; also those whose time is over."""
        if self.away:
            raise UnavailableError("the database did not answer")
        return self._caps

    def replace(
        self,
        before: Sequence[SpendCap],
        after: Sequence[SpendCap],
        *,
        events: Sequence[AuditEvent],
    ) -> None:
        """Keep other caps in place of those that were read."""
        if self.all_caps() != tuple(before):
            raise RefusedError("the limits were changed by somebody else meanwhile")
        self._caps = tuple(sorted(after, key=lambda cap: (cap.tenant, cap.budget)))
        self._audit.append(events)
