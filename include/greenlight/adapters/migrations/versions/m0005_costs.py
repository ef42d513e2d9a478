"""Costs: hours and their lines, advice, alerts of budgets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"

TABLES = ("budget_alerts", "cost_advice", "cost_lines", "cost_hours")


def upgrade() -> None:
    op.create_table(
        "cost_hours",
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("computed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("inputs", sa.CHAR(64), nullable=False),
        sa.Column("bill", sa.BigInteger),
        sa.Column("currency", sa.CHAR(3)),
        sa.Column("reasons", postgresql.JSONB, nullable=False),
        sa.Column("warnings", postgresql.JSONB, nullable=False),
        sa.CheckConstraint("state IN ('computed', 'aside')", name=op.f("cost_hours_state_check")),
        sa.CheckConstraint(
            "state <> 'computed' OR bill IS NOT NULL", name=op.f("cost_hours_bill_check")
        ),
        sa.CheckConstraint(
            "date_trunc('hour', hour, 'UTC') = hour", name=op.f("cost_hours_hour_check")
        ),
        sa.PrimaryKeyConstraint("hour", name=op.f("cost_hours_pkey")),
        comment="What became of each hour. Computing an hour again replaces its row.",
    )
    op.create_table(
        "cost_lines",
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("part", sa.Text, nullable=False),
        sa.Column("item", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("sku", sa.Text, nullable=False),
        sa.Column("term", sa.Text, nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("region", sa.Text, nullable=False),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("currency", sa.CHAR(3), nullable=False),
        sa.Column("cost", sa.BigInteger, nullable=False),
        sa.Column("list_cost", sa.BigInteger, nullable=False),
        sa.Column("used_cost", sa.BigInteger, nullable=False),
        sa.Column("quantity", sa.Numeric(38, 9), nullable=False),
        sa.Column("share", sa.Double, nullable=False),
        sa.Column("model", sa.Text),
        sa.Column("version", sa.Text),
        sa.Column("slot", sa.Text),
        sa.Column("tenant", sa.Text),
        sa.Column("input_tokens", sa.BigInteger),
        sa.Column("output_tokens", sa.BigInteger),
        sa.PrimaryKeyConstraint("hour", "number", name=op.f("cost_lines_pkey")),
        sa.ForeignKeyConstraint(
            ["hour"], ["cost_hours.hour"], ondelete="CASCADE", name=op.f("cost_lines_hour_fkey")
        ),
        comment="Whose each hour's bill is. Costs are billionths of the currency.",
    )
    op.create_table(
        "cost_advice",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("resources", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("strategy", sa.Text, nullable=False),
        sa.Column("monthly_saving", sa.Numeric, nullable=False),
        sa.Column("currency", sa.CHAR(3), nullable=False),
        sa.Column("detail", postgresql.JSONB, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("hourly_before", sa.Numeric),
        sa.Column("realised", sa.Numeric),
        sa.CheckConstraint(
            "state IN ('open', 'accepted', 'dismissed', 'realised', 'withdrawn')",
            name=op.f("cost_advice_state_check"),
        ),
        sa.CheckConstraint(
            "state <> 'dismissed' OR reason <> ''", name=op.f("cost_advice_reason_check")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("cost_advice_pkey")),
        comment="Advice, and what became of it.",
    )
    op.create_index(op.f("cost_advice_state_idx"), "cost_advice", ["state"])
    op.create_table(
        "budget_alerts",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("fired_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("budget_alerts_pkey")),
        comment="Alerts that were sent, so that none is sent twice.",
    )


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
