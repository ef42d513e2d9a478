"""Backup runs and drills in Greenlight's database. Rows are added and never changed."""

from __future__ import annotations

from dataclasses import asdict

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from greenlight.adapters.database import connected
from greenlight.adapters.database_tables import BACKUP_DRILLS, BACKUP_RUNS
from greenlight.backup.history import BackupRun, DrillRecord
from greenlight.backup.ladder import Drill, Outcome
from greenlight.backup.sets import BackupKind

OF_THE_RECORD = ("kind", "outcome", "report_url")
"""Columns of a drill's row that are not the ladder's."""


class DatabaseHistory:
    """`backup.ports.BackupHistory` on Postgres."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def add_run(self, run: BackupRun) -> None:
        """Keep an attempt that has ended."""
        row = asdict(run) | {"kind": str(run.kind), "outcome": str(run.outcome)}
        with connected(self._engine) as connection:
            connection.execute(sa.insert(BACKUP_RUNS).values(row))

    def add_drill(self, record: DrillRecord) -> DrillRecord:
        """Keep a drill, or return the one with its id."""
        row = record.drill.model_dump() | {
            "rungs": record.drill.model_dump(mode="json")["rungs"],
            "kind": record.kind,
            "outcome": str(record.outcome),
            "report_url": record.report_url,
        }
        insert = postgresql.insert(BACKUP_DRILLS).values(row).on_conflict_do_nothing()
        query = sa.select(BACKUP_DRILLS).where(BACKUP_DRILLS.c.id == record.drill.id)
        with connected(self._engine) as connection:
            connection.execute(insert)
            return _drill(connection.execute(query).mappings().one())

    def runs(
        self, *, limit: int, kind: BackupKind | None = None, outcome: Outcome | None = None
    ) -> tuple[BackupRun, ...]:
        """Return the newest `limit` runs, newest first."""
        query = _newest(BACKUP_RUNS, BACKUP_RUNS.c.number, limit=limit, kind=kind, outcome=outcome)
        with connected(self._engine) as connection:
            rows = connection.execute(query).mappings().all()
        return tuple(_run(row) for row in rows)

    def drills(
        self, *, limit: int, kind: str | None = None, outcome: Outcome | None = None
    ) -> tuple[DrillRecord, ...]:
        """Return the newest `limit` drills, newest first."""
        query = _newest(BACKUP_DRILLS, BACKUP_DRILLS.c.id, limit=limit, kind=kind, outcome=outcome)
        with connected(self._engine) as connection:
            rows = connection.execute(query).mappings().all()
        return tuple(_drill(row) for row in rows)


def _newest(
    table: sa.Table,
    key: sa.Column[object],
    *,
    limit: int,
    kind: str | None,
    outcome: Outcome | None,
) -> sa.Select[tuple[object, ...]]:
    query = sa.select(table).order_by(table.c.began_at.desc(), key.desc()).limit(limit)
    if kind is not None:
        query = query.where(table.c.kind == str(kind))
    if outcome is not None:
        query = query.where(table.c.outcome == str(outcome))
    return query


def _run(row: sa.RowMapping) -> BackupRun:
    fields = dict(row)
    del fields["number"]
    typed = {"kind": BackupKind(row["kind"]), "outcome": Outcome(row["outcome"])}
    return BackupRun(**fields | typed)


def _drill(row: sa.RowMapping) -> DrillRecord:
    ladder = {name: value for name, value in row.items() if name not in OF_THE_RECORD}
    return DrillRecord(
        kind=row["kind"],
        drill=Drill.model_validate(ladder),
        outcome=Outcome(row["outcome"]),
        report_url=row["report_url"],
    )
