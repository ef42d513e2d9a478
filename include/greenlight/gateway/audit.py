"""The audit log: records that are chained, so that nobody can change history unnoticed.

Each record carries an HMAC over all its fields, its number and the HMAC of the record before. Who
can write to the database but doesn't have the secret `gateway_audit` can't edit, add, move or leave
out a record in the middle. So that the *end* can't be cut off, the number and HMAC of the last
record are signed too (the head). A log with its head set back to an earlier, genuine one is found
by a copy of the head that is kept elsewhere (a witness).

A record names its subject by an alias, a random one for each subject. Who the alias is stands in a
table of its own: without that row nobody can tell any more, not even with every secret, and the
chain stays whole.

Prompts and answers are never in a record.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from greenlight.core.errors import InputError
from greenlight.core.types import JsonDict

EVENT = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")
MAX_DETAIL = 8 * 1024
"""Characters of a record's detail."""
GENESIS = "0" * 64
"""What the first record follows."""
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
HASHED = ("number", "at", "event", "subject", "tenant", "detail", "previous")


class EventName(StrEnum):
    """Events that Greenlight's commands write or look for; requests have names beside these."""

    KEY_CREATED = "key.created"
    KEY_ROTATED = "key.rotated"
    KEY_REVOKED = "key.revoked"
    LIMITS_CHANGED = "limits.changed"
    LIMITS_CAPPED = "limits.capped"
    """A budget left a tenant less money a day than gateway.yaml does, or does no longer."""
    PRUNED = "audit.pruned"
    ERASED = "audit.erased"
    EXPORTED = "audit.exported"
    TORN = "audit.torn"
    """A line of a spool could not be read: its writer lost its power or its disk."""
    SET_BACK = "audit.set_back"
    """The log ended earlier than it once did: its end was cut off, or a backup was restored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """What happened, before it is in the chain. `subject`: who did it, or who asked."""

    at: datetime
    event: str
    subject: str | None = None
    tenant: str | None = None
    detail: JsonDict = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what could not be kept.

        Raises:
            InputError: a name no database takes, a detail that is no JSON or too long.
        """
        if not EVENT.fullmatch(self.event):
            raise InputError(f"event {self.event!r} must look like `key.created`")
        for name in ("subject", "tenant"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value.isprintable()):
                raise InputError(f"{name} of event {self.event}: must be printable, got {value!r}")
        if len(canonical(self.detail)) > MAX_DETAIL:
            raise InputError(f"the detail of event {self.event} has more than {MAX_DETAIL} bytes")

    def to_json(self) -> JsonDict:
        """Return what `from_json` reads."""
        return {
            "at": self.at.astimezone(UTC).isoformat(),
            "event": self.event,
            "subject": self.subject,
            "tenant": self.tenant,
            "detail": self.detail,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> AuditEvent:
        """Read what `to_json` wrote.

        Raises:
            InputError: it is something else.
        """
        try:
            at = datetime.fromisoformat(str(data["at"]))
            return cls(**{**data, "at": at})  # type: ignore[arg-type]  # checked in __post_init__
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"not an audit event: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One link of the chain. `subject` is an alias."""

    number: int
    at: datetime
    event: str
    subject: str | None
    tenant: str | None
    detail: JsonDict
    previous: str
    hash: str

    def to_json(self) -> JsonDict:
        """Return it with its time in ISO 8601."""
        return asdict(self) | {"at": self.at.isoformat()}


class AnchorKind(StrEnum):
    """What is signed apart from the records."""

    HEAD = "head"
    """The last record."""
    PRUNED = "pruned"
    """The last record that retention deleted; the chain goes on behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A place in the chain that is signed: a record's number and hash."""

    kind: AnchorKind
    number: int
    hash: str
    at: datetime
    signature: str

    def to_json(self) -> JsonDict:
        """Return what `from_json` reads."""
        return asdict(self) | {"at": self.at.isoformat()}

    @classmethod
    def from_json(cls, data: JsonDict) -> Anchor:
        """Read what `to_json` wrote.

        Raises:
            InputError: it is something else.
        """
        try:
            at, kind = datetime.fromisoformat(data["at"]), AnchorKind(data["kind"])
            return cls(**{**data, "at": at, "kind": kind})
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"not an anchor of the audit log: {error}") from error


def canonical(value: object) -> str:
    """Return JSON in the one form that is hashed.

    Raises:
        InputError: it is no JSON.
    """
    try:
        return _CANONICAL.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"an audit record holds JSON only: {error}") from error


def chained(events: Iterable[AuditEvent], *, after: Anchor | None, secret: str) -> Iterator[Record]:
    """Yield the records that follow the head; their subjects are aliases already."""
    number, previous = (after.number, after.hash) if after else (0, GENESIS)
    for one in events:
        number += 1
        fields = {
            "number": number,
            "at": one.at.astimezone(UTC),
            "event": one.event,
            "subject": one.subject,
            "tenant": one.tenant,
            "detail": one.detail,
            "previous": previous,
        }
        previous = _mac("record", fields, secret)
        yield Record(**fields, hash=previous)  # type: ignore[arg-type]


def record_hash(record: Record, *, secret: str, number: int | None = None) -> str:
    """Return the hash a record should have; with `number`, if it stood there."""
    fields = {name: getattr(record, name) for name in HASHED}
    return _mac("record", fields | {"number": number or record.number}, secret)


def anchored(kind: AnchorKind, record: Record, *, at: datetime, secret: str) -> Anchor:
    """Return a signed anchor at a record."""
    fields = {"kind": str(kind), "number": record.number, "hash": record.hash, "at": at}
    return Anchor(
        kind=kind, number=record.number, hash=record.hash, at=at,
        signature=_mac("anchor", fields, secret),
    )  # fmt: skip


def is_signed(anchor: Anchor, *, secret: str) -> bool:
    """Return whether we signed an anchor."""
    fields = {
        "kind": str(anchor.kind),
        "number": anchor.number,
        "hash": anchor.hash,
        "at": anchor.at,
    }
    return hmac.compare_digest(_mac("anchor", fields, secret), anchor.signature)


def _mac(what: str, fields: JsonDict, secret: str) -> str:
    at = fields["at"].astimezone(UTC).isoformat()
    text = f"greenlight {what}\n{canonical(fields | {'at': at})}"
    return hmac.digest(secret.encode(), text.encode(), hashlib.sha256).hex()
