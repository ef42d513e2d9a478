"""Approvals in Greenlight's database. Rows are added and never changed."""

from __future__ import annotations

from dataclasses import asdict, replace

import sqlalchemy as sa

from greenlight.adapters.database import connected
from greenlight.adapters.database_tables import APPROVALS
from greenlight.registry.approvals import Approval, Decision


class DatabaseApprovals:
    """`registry.ports.ApprovalStore` on Postgres."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def append(self, approval: Approval) -> Approval:
        """Insert a decision and return it with its id."""
        row = asdict(approval) | {"decision": str(approval.decision)}
        del row["id"]
        with connected(self._engine) as connection:
            result = connection.execute(sa.insert(APPROVALS).values(row).returning(APPROVALS.c.id))
            return replace(approval, id=result.scalar_one())

    def approvals(
        self, *, model: str | None = None, version: int | None = None
    ) -> tuple[Approval, ...]:
        """Return decisions, oldest first."""
        query = sa.select(APPROVALS).order_by(APPROVALS.c.decided_at, APPROVALS.c.id)
        if model is not None:
            query = query.where(APPROVALS.c.model == model)
        if version is not None:
            query = query.where(APPROVALS.c.version == version)
        with connected(self._engine) as connection:
            rows = connection.execute(query).mappings().all()
        return tuple(Approval(**{**row, "decision": Decision(row["decision"])}) for row in rows)
