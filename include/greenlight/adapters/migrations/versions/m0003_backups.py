"""Backups: sentinels in the log, runs and drills."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"

TABLES = ("sentinels", "backup_runs", "backup_drills")


def upgrade() -> None:
    op.create_table(
        "sentinels",
        sa.Column("number", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("sentinels_pkey")),
        comment="Rows that prove what time a restored database is of. Append-only.",
    )
    op.create_table(
        "backup_runs",
        sa.Column("number", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("set_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("started_by", sa.Text, nullable=False),
        sa.Column("detail", postgresql.JSONB, nullable=False),
        sa.CheckConstraint("kind IN ('full', 'incremental')", name=op.f("backup_runs_kind_check")),
        sa.CheckConstraint(
            "outcome IN ('pass', 'fail', 'inconclusive')", name=op.f("backup_runs_outcome_check")
        ),
        sa.CheckConstraint("started_by <> ''", name=op.f("backup_runs_started_by_check")),
        sa.PrimaryKeyConstraint("number", name=op.f("backup_runs_pkey")),
        comment="Attempts to make a backup set. Append-only: a trigger refuses changes.",
    )
    op.create_index(op.f("backup_runs_began_at_idx"), "backup_runs", ["began_at"])
    op.create_table(
        "backup_drills",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("region", sa.Text, nullable=False),
        sa.Column("set_id", sa.Text),
        sa.Column("target_at", sa.DateTime(timezone=True)),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("rungs", postgresql.JSONB, nullable=False),
        sa.Column("rto_s", sa.Double),
        sa.Column("rpo_s", sa.Double),
        sa.Column("rows_lost", sa.Integer),
        sa.Column("rows_ahead", sa.Integer),
        sa.Column("report_url", sa.Text),
        sa.CheckConstraint("kind <> ''", name=op.f("backup_drills_kind_check")),
        sa.CheckConstraint(
            "outcome IN ('pass', 'fail', 'inconclusive')", name=op.f("backup_drills_outcome_check")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("backup_drills_pkey")),
        comment="Drills: restores, and faults that had to be detected. Append-only.",
    )
    op.create_index(op.f("backup_drills_kind_began_at_idx"), "backup_drills", ["kind", "began_at"])
    for table in TABLES:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION greenlight_append_only()"
        )


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
