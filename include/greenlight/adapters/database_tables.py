"""The tables of Greenlight's database, as the newest migration leaves them."""

from __future__ import annotations

import sqlalchemy as sa

VERSION_TABLE = "greenlight_schema"
"""Alembic's own table, named apart: another application may share the database."""

METADATA = sa.MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)

APPROVALS = sa.Table(
    "approvals",
    METADATA,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("decided_by", sa.Text, nullable=False),
    sa.Column("decision", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("digest", sa.CHAR(64), nullable=False),
    sa.Column("evidence_digest", sa.CHAR(64), nullable=False),
    sa.CheckConstraint("decision IN ('approved', 'rejected')", name="decision"),
    sa.CheckConstraint("decided_by <> ''", name="decided_by"),
    sa.CheckConstraint("version > 0", name="version"),
    sa.Index(None, "model", "version"),
    sa.Index(None, "digest"),
    comment="What people decided. Append-only: a trigger refuses changes.",
)
