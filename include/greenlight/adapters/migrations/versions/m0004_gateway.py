"""The gateway: API keys and the audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"

TABLES = ("audit_spools", "audit_subjects", "audit_records", "audit_anchors", "api_keys")

PRUNED_ONLY = """
CREATE FUNCTION greenlight_audit_pruned_only() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    beyond bigint;
BEGIN
    SELECT max(number) INTO beyond FROM deleted
    WHERE number > COALESCE((SELECT number FROM audit_anchors WHERE kind = 'pruned'), 0);
    IF beyond IS NOT NULL THEN
        RAISE EXCEPTION 'table % is append-only: DELETE of record % is refused',
            TG_TABLE_NAME, beyond USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("hash", sa.CHAR(64), nullable=False),
        sa.Column("pepper", sa.CHAR(16), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("last_used_at", sa.DateTime(timezone=True)),
        sa.Column("rotated_at", sa.DateTime(timezone=True)),
        sa.Column("previous_hash", sa.CHAR(64)),
        sa.Column("previous_until", sa.DateTime(timezone=True)),
        sa.Column("previous_used_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_by", sa.Text),
        sa.CheckConstraint("id <> ''", name=op.f("api_keys_id_check")),
        sa.CheckConstraint("created_by <> ''", name=op.f("api_keys_created_by_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("api_keys_pkey")),
        comment="Keys of the gateway, hashed. Rows stay: a trigger refuses to delete them.",
    )
    op.create_table(
        "audit_records",
        sa.Column("number", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("subject", sa.Text),
        sa.Column("tenant", sa.Text),
        sa.Column("detail", postgresql.JSON, nullable=False),
        sa.Column("previous", sa.CHAR(64), nullable=False),
        sa.Column("hash", sa.CHAR(64), nullable=False),
        sa.CheckConstraint("number > 0", name=op.f("audit_records_number_check")),
        sa.PrimaryKeyConstraint("number", name=op.f("audit_records_pkey")),
        comment="The audit log, chained. Append-only; triggers let retention delete its beginning.",
    )
    for columns in (["at"], ["subject"], ["event", "at"]):
        op.create_index(op.f(f"audit_records_{'_'.join(columns)}_idx"), "audit_records", columns)
    op.create_table(
        "audit_anchors",
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.CHAR(64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("signature", sa.CHAR(64), nullable=False),
        sa.CheckConstraint("kind IN ('head', 'pruned')", name=op.f("audit_anchors_kind_check")),
        sa.PrimaryKeyConstraint("kind", name=op.f("audit_anchors_pkey")),
        comment="Where the audit log ends, and where retention cut it off; both signed.",
    )
    op.create_table(
        "audit_subjects",
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("alias", sa.Text, nullable=False),
        sa.Column("identity", sa.Text),
        sa.PrimaryKeyConstraint("subject", name=op.f("audit_subjects_pkey")),
        sa.UniqueConstraint("alias", name=op.f("audit_subjects_alias_key")),
        comment="Who the aliases in the audit log are. Deleting a row erases somebody from it.",
    )
    op.create_table(
        "audit_spools",
        sa.Column("spool", sa.Text, nullable=False),
        sa.Column("taken", sa.BigInteger, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("spool", name=op.f("audit_spools_pkey")),
        comment="Up to which byte the gateways' spool files are in the audit log.",
    )
    _triggers()


def _triggers() -> None:
    for table, events in (("api_keys", "DELETE"), ("audit_records", "UPDATE")):
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE {events} OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION greenlight_append_only()"
        )
    op.execute(PRUNED_ONLY)
    op.execute(
        "CREATE TRIGGER audit_records_pruned_only AFTER DELETE ON audit_records "
        "REFERENCING OLD TABLE AS deleted "
        "FOR EACH STATEMENT EXECUTE FUNCTION greenlight_audit_pruned_only()"
    )


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
    op.execute("DROP FUNCTION greenlight_audit_pruned_only()")
