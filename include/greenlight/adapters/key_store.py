"""API keys in Greenlight's database, each change in one transaction with its audit event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from greenlight.adapters.audit_store import DatabaseAudit
from greenlight.adapters.database import connected
from greenlight.adapters.database_tables import API_KEYS
from greenlight.core.errors import InputError, RefusedError
from greenlight.gateway.api_keys import ApiKey, Use
from greenlight.gateway.audit import AuditEvent

FOUND = ("hash", "revoked_at")
"""What a change must find as it was read; nobody changes a key without changing one of them."""


class DatabaseKeys:
    """`gateway.stores.KeyStore` on Postgres. `audit` is in the same database."""

    def __init__(self, engine: sa.Engine, audit: DatabaseAudit) -> None:
        self._engine, self._audit = engine, audit

    def add(self, key: ApiKey, *, event: AuditEvent) -> None:
        """Keep a new key."""
        insert = postgresql.insert(API_KEYS).values(_row(key)).on_conflict_do_nothing()
        with connected(self._engine) as connection:
            if connection.execute(insert).rowcount == 0:
                raise InputError(f"there is a key {key.id} already")
            self._audit.append_within(connection, [event])

    def get(self, key_id: str) -> ApiKey | None:
        """Return a key, or nothing."""
        found = self._read(API_KEYS.c.id == key_id)
        return found[0] if found else None

    def all_keys(self) -> tuple[ApiKey, ...]:
        """Return every key there ever was, oldest first."""
        return self._read(sa.true())

    def change(self, before: ApiKey, after: ApiKey, *, event: AuditEvent) -> None:
        """Replace a key that is still as it was read."""
        old = _row(before)
        unchanged = [API_KEYS.c[name].is_not_distinct_from(old[name]) for name in FOUND]
        changes = {name: value for name, value in _row(after).items() if value != old[name]}
        update = sa.update(API_KEYS).where(API_KEYS.c.id == before.id, *unchanged)
        with connected(self._engine) as connection:
            if connection.execute(update.values(changes)).rowcount == 0:
                raise RefusedError(
                    f"key {before.id} was changed by somebody else meanwhile; look at it again: "
                    "`greenlight keys list`"
                )
            self._audit.append_within(connection, [event])

    def used(self, uses: Sequence[Use]) -> None:
        """Write when keys were last used; an earlier time than the one kept changes nothing."""
        if not uses:
            return
        with connected(self._engine) as connection:
            for previous in (False, True):
                column = API_KEYS.c.previous_used_at if previous else API_KEYS.c.last_used_at
                rows = [{"k": u.key_id, "t": u.at} for u in uses if u.previous is previous]
                if rows:
                    update = (
                        sa.update(API_KEYS)
                        .where(API_KEYS.c.id == sa.bindparam("k"))
                        .values({column: sa.func.greatest(column, sa.bindparam("t"))})
                    )
                    connection.execute(update, rows)

    def _read(self, condition: sa.ColumnElement[bool]) -> tuple[ApiKey, ...]:
        query = sa.select(API_KEYS).where(condition).order_by(API_KEYS.c.created_at, API_KEYS.c.id)
        with connected(self._engine) as connection:
            rows = connection.execute(query).mappings().all()
        return tuple(ApiKey(**{**row, "scopes": tuple(row["scopes"])}) for row in rows)


def _row(key: ApiKey) -> dict[str, object]:
    return asdict(key) | {"scopes": list(key.scopes)}
