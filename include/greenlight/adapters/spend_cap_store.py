"""What budgets leave tenants, in Greenlight's database; each change with its audit events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import sqlalchemy as sa

from greenlight.adapters.audit_store import DatabaseAudit
from greenlight.adapters.database import connected
from greenlight.adapters.database_tables import SPEND_CAPS
from greenlight.core.errors import RefusedError
from greenlight.gateway.audit import AuditEvent
from greenlight.gateway.spend_caps import SpendCap

EVERY_CAP = sa.select(SPEND_CAPS).order_by(SPEND_CAPS.c.tenant, SPEND_CAPS.c.budget)


class DatabaseSpendCaps:
    """`gateway.stores.SpendCapStore` on Postgres. `audit`: none, for those who only read."""

    def __init__(self, engine: sa.Engine, audit: DatabaseAudit | None = None) -> None:
        self._engine, self._audit = engine, audit

    def all_caps(self) -> tuple[SpendCap, ...]:
        """Return every cap, by tenant and budget; also those whose time is over."""
        with connected(self._engine) as connection:
            return _read(connection)

    def replace(
        self,
        before: Sequence[SpendCap],
        after: Sequence[SpendCap],
        *,
        events: Sequence[AuditEvent],
    ) -> None:
        """Keep other caps in place of those that were read."""
        if self._audit is None:
            raise RefusedError("these caps were opened to be read only")
        with connected(self._engine) as connection:
            connection.execute(sa.text("LOCK TABLE spend_caps IN SHARE ROW EXCLUSIVE MODE"))
            if _read(connection) != tuple(before):
                raise RefusedError(
                    "the budgets' limits at the gateway were changed by somebody else meanwhile: "
                    "run it again"
                )
            connection.execute(sa.delete(SPEND_CAPS))
            if after:
                connection.execute(sa.insert(SPEND_CAPS), [asdict(cap) for cap in after])
            self._audit.append_within(connection, events)


def _read(connection: sa.Connection) -> tuple[SpendCap, ...]:
    rows = connection.execute(EVERY_CAP).mappings().all()
    return tuple(SpendCap(**row) for row in rows)
