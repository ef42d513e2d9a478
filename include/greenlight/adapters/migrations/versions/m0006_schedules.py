"""Schedules: what was proposed, decided and applied, and how the days went."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"

TABLES = ("schedule_days", "schedules")


def upgrade() -> None:
    op.create_table(
        "schedules",
        sa.Column("digest", sa.CHAR(64), nullable=False),
        sa.Column("fleet", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("made_by", sa.Text, nullable=False),
        sa.Column("waits_for", postgresql.JSONB, nullable=False),
        sa.Column("expected_slo_pct", sa.Double),
        sa.Column("gpu_hours", sa.Double),
        sa.Column("decided_at", sa.DateTime(timezone=True)),
        sa.Column("decided_by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True)),
        sa.Column("applied_by", sa.Text, nullable=False),
        sa.CheckConstraint(
            "state IN ('proposed', 'approved', 'rejected', 'applied')",
            name=op.f("schedules_state_check"),
        ),
        sa.CheckConstraint(
            "(state = 'applied') = (applied_at IS NOT NULL)", name=op.f("schedules_applied_check")
        ),
        sa.CheckConstraint(
            "state NOT IN ('approved', 'rejected') OR decided_by <> ''",
            name=op.f("schedules_decided_check"),
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("schedules_pkey")),
        comment="Schedules of fleets, by the digest of their text, and what became of them.",
    )
    op.create_index(op.f("schedules_fleet_made_at_idx"), "schedules", ["fleet", "made_at"])
    op.create_table(
        "schedule_days",
        sa.Column("fleet", sa.Text, nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("share", sa.Double, nullable=False),
        sa.Column("planned_hours", sa.Double, nullable=False),
        sa.Column("hours", sa.Double, nullable=False),
        sa.Column("spare_hours", sa.Double, nullable=False),
        sa.Column("planned_slo_pct", sa.Double, nullable=False),
        sa.Column("slo_pct", sa.Double, nullable=False),
        sa.Column("error", sa.Double, nullable=False),
        sa.Column("worst_hour", sa.Integer),
        sa.PrimaryKeyConstraint("fleet", "day", name=op.f("schedule_days_pkey")),
        comment="Each local day's plan against what happened. Looking again replaces the row.",
    )


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
