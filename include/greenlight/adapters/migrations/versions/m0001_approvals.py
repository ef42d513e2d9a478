"""Approvals: what people decided, append-only."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

REFUSE = """
CREATE FUNCTION greenlight_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'table % is append-only: % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END $$
"""


def upgrade() -> None:
    op.create_table(
        "approvals",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_by", sa.Text, nullable=False),
        sa.Column("decision", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("digest", sa.CHAR(64), nullable=False),
        sa.Column("evidence_digest", sa.CHAR(64), nullable=False),
        sa.CheckConstraint(
            "decision IN ('approved', 'rejected')", name=op.f("approvals_decision_check")
        ),
        sa.CheckConstraint("decided_by <> ''", name=op.f("approvals_decided_by_check")),
        sa.CheckConstraint("version > 0", name=op.f("approvals_version_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("approvals_pkey")),
        comment="What people decided. Append-only: a trigger refuses changes.",
    )
    op.create_index(op.f("approvals_model_version_idx"), "approvals", ["model", "version"])
    op.create_index(op.f("approvals_digest_idx"), "approvals", ["digest"])
    op.execute(REFUSE)
    op.execute(
        "CREATE TRIGGER approvals_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON approvals "
        "FOR EACH STATEMENT EXECUTE FUNCTION greenlight_append_only()"
    )


def downgrade() -> None:
    op.drop_table("approvals")
    op.execute("DROP FUNCTION greenlight_append_only()")
