"""What budgets leave tenants at the gateway."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "spend_caps",
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("budget", sa.Text, nullable=False),
        sa.Column("per_day", sa.Numeric, nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.CheckConstraint("per_day >= 0", name=op.f("spend_caps_per_day_check")),
        sa.PrimaryKeyConstraint("tenant", "budget", name=op.f("spend_caps_pkey")),
        comment="What budgets leave tenants a day at the gateway. The audit log has their history.",
    )


def downgrade() -> None:
    op.drop_table("spend_caps")
