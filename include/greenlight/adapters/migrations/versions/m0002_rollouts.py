"""Rollouts: leases with fencing numbers, rollouts and their journal."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "leases",
        sa.Column("fleet", sa.Text, nullable=False),
        sa.Column("holder", sa.Text),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("fence > 0", name=op.f("leases_fence_check")),
        sa.PrimaryKeyConstraint("fleet", name=op.f("leases_pkey")),
        comment="Who may change a fleet. The row stays: its fence only grows.",
    )
    op.create_table(
        "rollouts",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("fleet", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("digest", sa.CHAR(64), nullable=False),
        sa.Column("flags_digest", sa.CHAR(64), nullable=False),
        sa.Column("strategy", sa.Text, nullable=False),
        sa.Column("colour", sa.Text, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_by", sa.Text, nullable=False),
        sa.Column("previous_version", sa.Integer),
        sa.Column("previous_digest", sa.CHAR(64)),
        sa.Column("request", postgresql.JSONB, nullable=False),
        sa.CheckConstraint("colour IN ('blue', 'green')", name=op.f("rollouts_colour_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("rollouts_pkey")),
        comment="Attempts to bring a version to a fleet. Append-only: a trigger refuses changes.",
    )
    op.create_index(op.f("rollouts_fleet_started_at_idx"), "rollouts", ["fleet", "started_at"])
    op.create_table(
        "rollout_events",
        sa.Column("number", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("rollout_id", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("phase", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("fence", sa.BigInteger),
        sa.Column("detail", postgresql.JSONB, nullable=False),
        sa.CheckConstraint(
            "phase IN ('began', 'done', 'failed')", name=op.f("rollout_events_phase_check")
        ),
        sa.ForeignKeyConstraint(
            ["rollout_id"], ["rollouts.id"], name=op.f("rollout_events_rollout_id_fkey")
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("rollout_events_pkey")),
        comment="The journal of rollouts. Append-only: a trigger refuses changes.",
    )
    op.create_index(
        op.f("rollout_events_rollout_id_number_idx"), "rollout_events", ["rollout_id", "number"]
    )
    for table in ("rollouts", "rollout_events"):
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION greenlight_append_only()"
        )


def downgrade() -> None:
    for table in ("rollout_events", "rollouts", "leases"):
        op.drop_table(table)
