"""The audit log in Greenlight's database: one chain, whoever writes to it.

Appending holds an advisory lock until its transaction ends, so several workers and commands add to
the same end. A batch, the head and the spool it came from are one transaction.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import OperationalError

from greenlight.adapters.database import connected
from greenlight.adapters.database_tables import (
    AUDIT_ANCHORS,
    AUDIT_RECORDS,
    AUDIT_SPOOLS,
    AUDIT_SUBJECTS,
)
from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.gateway.audit import (
    Anchor,
    AnchorKind,
    AuditEvent,
    Record,
    anchored,
    chained,
    is_signed,
)
from greenlight.gateway.stores import Named, Position, Snapshot, SpoolPart

LOCK = 0x6175646974  # "audit"
CHUNK = 2000
"""Records that a check holds in memory."""
NOW = sa.func.clock_timestamp()


COLUMNS = tuple(field.name for field in fields(Record))


class DatabaseAudit:
    """`gateway.stores.AuditStore` on Postgres."""

    def __init__(self, engine: sa.Engine, *, secret: str) -> None:
        self._engine, self._secret = engine, secret

    def append(
        self,
        events: Sequence[AuditEvent],
        *,
        identities: Mapping[str, str] | None = None,
        part: SpoolPart | None = None,
    ) -> Anchor | None:
        """Chain events, and return the head."""
        with connected(self._engine) as connection:
            return self.append_within(connection, events, identities=identities, part=part)

    def append_within(
        self,
        connection: sa.Connection,
        events: Sequence[AuditEvent],
        *,
        identities: Mapping[str, str] | None = None,
        part: SpoolPart | None = None,
    ) -> Anchor | None:
        """Chain events in a transaction that is another's too."""
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
        head = self._signed_head(connection)
        if part is not None and not _take(connection, part):
            return head
        aliases = _aliases(connection, events, identities or {})
        pseudonymous = [
            replace(one, subject=aliases[one.subject] if one.subject else None) for one in events
        ]
        records = list(chained(pseudonymous, after=head, secret=self._secret))
        if records:
            connection.execute(sa.insert(AUDIT_RECORDS), [_row(record) for record in records])
            head = self._anchor(connection, AnchorKind.HEAD, records[-1], at=events[-1].at)
        return head

    def position(self, spool: str) -> Position:
        """Return where the log ends, and up to which byte a spool is in it."""
        with connected(self._engine) as connection:
            head = _anchors(connection).get(AnchorKind.HEAD)
            return Position(head=head, taken=_taken(connection, spool))

    def forget(self, spool: str) -> None:
        """Forget a spool whose file is gone."""
        with connected(self._engine) as connection:
            connection.execute(sa.delete(AUDIT_SPOOLS).where(AUDIT_SPOOLS.c.spool == spool))

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Open all of the log as it is now."""
        query = sa.select(AUDIT_RECORDS).order_by(AUDIT_RECORDS.c.number)
        options = {"isolation_level": "REPEATABLE READ", "yield_per": CHUNK}
        with _unavailable(self._engine), self._engine.connect() as plain:
            connection = plain.execution_options(**options)
            anchors = _anchors(connection)
            rows = connection.execute(query).mappings()
            yield Snapshot(
                head=anchors.get(AnchorKind.HEAD),
                pruned=anchors.get(AnchorKind.PRUNED),
                records=(Record(**row) for row in rows),
            )

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
        records, names = AUDIT_RECORDS.c, AUDIT_SUBJECTS.c
        query = (
            sa.select(AUDIT_RECORDS, names.subject.label("named"), names.identity)
            .outerjoin(AUDIT_SUBJECTS, names.alias == records.subject)
            .order_by(records.number.desc())
            .limit(limit)
        )
        if event is not None:
            below = records.event.startswith(f"{event}.", autoescape=True)
            query = query.where(sa.or_(records.event == event, below))
        if subject is not None:
            query = query.where(sa.or_(records.subject == subject, names.subject == subject))
        if tenant is not None:
            query = query.where(records.tenant == tenant)
        if since is not None:
            query = query.where(records.at >= since)
        if until is not None:
            query = query.where(records.at < until)
        with connected(self._engine) as connection:
            rows = connection.execute(query).mappings().all()
        return tuple(_named(row) for row in reversed(rows))

    def erase(self, subject: str, *, event: AuditEvent) -> str | None:
        """Forget who a subject (or an alias) is; return the alias."""
        names = AUDIT_SUBJECTS.c
        delete = sa.delete(AUDIT_SUBJECTS).where(
            sa.or_(names.subject == subject, names.alias == subject)
        )
        with connected(self._engine) as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
            found = connection.execute(delete.returning(names.alias)).scalar_one_or_none()
            if found is not None:
                detail = event.detail | {"alias": found}
                self.append_within(connection, [replace(event, detail=detail)])
        return found

    def prunable(self, before: datetime) -> Record | None:
        """Return the last record of the oldest stretch that is all older; never the newest one."""
        records = AUDIT_RECORDS.c
        first_kept = sa.select(sa.func.min(records.number)).where(records.at >= before)
        newest = sa.select(sa.func.max(records.number))
        end = sa.func.least(first_kept.scalar_subquery(), newest.scalar_subquery()) - 1
        query = sa.select(AUDIT_RECORDS).where(records.number <= end)
        with connected(self._engine) as connection:
            row = connection.execute(
                query.order_by(records.number.desc()).limit(1)
            ).mappings().one_or_none()  # fmt: skip
        return None if row is None else Record(**row)

    def prune(self, through: Record, *, event: AuditEvent) -> int:
        """Delete a stretch from the oldest record on, sign where it ended, return how many."""
        records, names = AUDIT_RECORDS.c, AUDIT_SUBJECTS.c
        with connected(self._engine) as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
            before = _anchors(connection).get(AnchorKind.PRUNED)
            if before is not None and before.number >= through.number:
                return 0
            self._anchor(connection, AnchorKind.PRUNED, through, at=event.at)
            delete = sa.delete(AUDIT_RECORDS).where(records.number <= through.number)
            count = connection.execute(delete).rowcount
            used = sa.select(records.subject).where(records.subject == names.alias)
            connection.execute(sa.delete(AUDIT_SUBJECTS).where(~used.exists()))
            detail = event.detail | {"through": through.number, "records": count}
            self.append_within(connection, [replace(event, detail=detail)])
        return count

    def _signed_head(self, connection: sa.Connection) -> Anchor | None:
        head = _anchors(connection).get(AnchorKind.HEAD)
        if head is not None and not is_signed(head, secret=self._secret):
            raise ConfigError(
                "the end of the audit log is not signed with this gateway_audit secret, so nothing "
                "can follow it: put the secret back that it was written with, and see what "
                "`greenlight audit verify` says"
            )
        return head

    def _anchor(
        self, connection: sa.Connection, kind: AnchorKind, record: Record, *, at: datetime
    ) -> Anchor:
        anchor = anchored(kind, record, at=at, secret=self._secret)
        row = asdict(anchor) | {"kind": str(kind)}
        insert = postgresql.insert(AUDIT_ANCHORS).values(row)
        connection.execute(
            insert.on_conflict_do_update(index_elements=[AUDIT_ANCHORS.c.kind], set_=row)
        )
        return anchor


def _take(connection: sa.Connection, part: SpoolPart) -> bool:
    """Note a part of a spool; return whether it is the one that comes next."""
    if _taken(connection, part.spool) != part.start:
        return False
    row = {"spool": part.spool, "taken": part.end, "at": NOW}
    insert = postgresql.insert(AUDIT_SPOOLS).values(row)
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=[AUDIT_SPOOLS.c.spool], set_={"taken": part.end, "at": NOW}
        )
    )
    return True


def _taken(connection: sa.Connection, spool: str) -> int:
    query = sa.select(AUDIT_SPOOLS.c.taken).where(AUDIT_SPOOLS.c.spool == spool)
    return connection.execute(query).scalar_one_or_none() or 0


def _aliases(
    connection: sa.Connection, events: Iterable[AuditEvent], identities: Mapping[str, str]
) -> dict[str, str]:
    """Return every subject's alias; new ones are made up. The lock is held."""
    subjects = {one.subject for one in events if one.subject}
    names = AUDIT_SUBJECTS.c
    query = sa.select(names.subject, names.alias, names.identity).where(names.subject.in_(subjects))
    found = {row.subject: row for row in connection.execute(query)}
    new = [
        {"subject": s, "alias": f"a_{secrets.token_hex(16)}", "identity": identities.get(s)}
        for s in sorted(subjects - set(found))
    ]
    if new:
        connection.execute(sa.insert(AUDIT_SUBJECTS), new)
    for subject, row in found.items():
        if row.identity is None and subject in identities:
            update = sa.update(AUDIT_SUBJECTS).where(names.subject == subject)
            connection.execute(update.values(identity=identities[subject]))
    return {s: row.alias for s, row in found.items()} | {r["subject"]: r["alias"] for r in new}


def _anchors(connection: sa.Connection) -> dict[AnchorKind, Anchor]:
    rows = connection.execute(sa.select(AUDIT_ANCHORS)).mappings()
    found = [Anchor(**{**row, "kind": AnchorKind(row["kind"])}) for row in rows]
    return {anchor.kind: anchor for anchor in found}


def _row(record: Record) -> dict[str, object]:
    """Return its columns; `asdict` would copy the detail to its depth."""
    return {name: getattr(record, name) for name in COLUMNS}


def _named(row: sa.RowMapping) -> Named:
    fields = dict(row)
    subject, identity = fields.pop("named"), fields.pop("identity")
    return Named(record=Record(**fields), subject=subject, identity=identity)


@contextmanager
def _unavailable(engine: sa.Engine) -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        shown = engine.url.render_as_string(hide_password=True)
        raise UnavailableError(f"the database {shown} did not answer: {error.orig}") from error
