"""Where keys and audit records are kept. Calls block: from the event loop they run in threads.

A change of a key and its audit event are one transaction: neither is there without the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from greenlight.gateway.api_keys import ApiKey, Use
from greenlight.gateway.audit import Anchor, AuditEvent, Record
from greenlight.gateway.spend_caps import SpendCap


class KeyStore(Protocol):
    """API keys. All raise `UnavailableError` when the database does not answer."""

    def add(self, key: ApiKey, *, event: AuditEvent) -> None:
        """Keep a new key.

        Raises:
            InputError: its id is taken.
        """
        ...

    def get(self, key_id: str) -> ApiKey | None:
        """Return a key, or nothing."""
        ...

    def all_keys(self) -> tuple[ApiKey, ...]:
        """Return every key there ever was, oldest first."""
        ...

    def change(self, before: ApiKey, after: ApiKey, *, event: AuditEvent) -> None:
        """Replace a key that is still as it was read.

        Raises:
            RefusedError: somebody else changed it meanwhile.
        """
        ...

    def used(self, uses: Sequence[Use]) -> None:
        """Write when keys were last used; an earlier time than the one kept changes nothing."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolPart:
    """Which bytes of a spool a batch is: kept with it, so that nothing is taken twice."""

    spool: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """The end of the log, and up to which byte a spool is in it."""

    head: Anchor | None
    taken: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The log at one instant. The records are read as they are iterated, by number."""

    head: Anchor | None
    pruned: Anchor | None
    records: Iterator[Record]


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A record whose alias was looked up; `subject` and `identity` are none once erased."""

    record: Record
    subject: str | None
    identity: str | None


class AuditStore(Protocol):
    """The chain. All raise `UnavailableError` when the database does not answer."""

    def append(
        self,
        events: Sequence[AuditEvent],
        *,
        identities: Mapping[str, str] | None = None,
        part: SpoolPart | None = None,
    ) -> Anchor | None:
        """Chain events, and return the head. `identities`: who subjects are.

        A part of a spool that was taken before is not taken again.

        Raises:
            ConfigError: the head is not signed with our secret: nothing may follow it.
        """
        ...

    def position(self, spool: str) -> Position:
        """Return where the log ends, and up to which byte a spool is in it."""
        ...

    def forget(self, spool: str) -> None:
        """Forget a spool whose file is gone."""
        ...

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Open all of the log as it is now."""
        ...

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
        """Return the newest records that fit, oldest first. `event`: its name, or its beginning.

        `subject`: a subject, or its alias. `since` is included, `until` is not.
        """
        ...

    def erase(self, subject: str, *, event: AuditEvent) -> str | None:
        """Forget who a subject (or an alias) is; return the alias, or nothing if unknown.

        The event is chained with the alias in its detail.
        """
        ...

    def prunable(self, before: datetime) -> Record | None:
        """Return the last record of the oldest stretch that is all older; never the newest one."""
        ...

    def prune(self, through: Record, *, event: AuditEvent) -> int:
        """Delete a stretch from the oldest record on, sign where it ended, return how many.

        Subjects that no record names any more are forgotten. The event is chained with the numbers
        in its detail.
        """
        ...


class SpendCapStore(Protocol):
    """What budgets leave tenants. Both raise `UnavailableError` when nobody answers."""

    def all_caps(self) -> tuple[SpendCap, ...]:
        """Return every cap, by tenant and budget; also those whose time is over."""
        ...

    def replace(
        self,
        before: Sequence[SpendCap],
        after: Sequence[SpendCap],
        *,
        events: Sequence[AuditEvent],
    ) -> None:
        """Keep other caps in place of those that were read.

        Raises:
            RefusedError: somebody else changed them meanwhile.
        """
        ...
