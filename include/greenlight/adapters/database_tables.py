"""The tables of Greenlight's database, as the newest migration leaves them."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

VERSION_TABLE = "greenlight_schema"
"""Alembic's own table, named apart: another application may share the database."""

METADATA = sa.MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
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

LEASES = sa.Table(
    "leases",
    METADATA,
    sa.Column("fleet", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text),
    sa.Column("fence", sa.BigInteger, nullable=False),
    sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("fence > 0", name="fence"),
    comment="Who may change a fleet. The row stays: its fence only grows.",
)

ROLLOUTS = sa.Table(
    "rollouts",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
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
    sa.CheckConstraint("colour IN ('blue', 'green')", name="colour"),
    sa.Index(None, "fleet", "started_at"),
    comment="Attempts to bring a version to a fleet. Append-only: a trigger refuses changes.",
)

ROLLOUT_EVENTS = sa.Table(
    "rollout_events",
    METADATA,
    sa.Column("number", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("rollout_id", sa.Text, sa.ForeignKey(ROLLOUTS.c.id), nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("step", sa.Text, nullable=False),
    sa.Column("phase", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("fence", sa.BigInteger),
    sa.Column("detail", postgresql.JSONB, nullable=False),
    sa.CheckConstraint("phase IN ('began', 'done', 'failed')", name="phase"),
    sa.Index(None, "rollout_id", "number"),
    comment="The journal of rollouts. Append-only: a trigger refuses changes.",
)

SENTINELS = sa.Table(
    "sentinels",
    METADATA,
    sa.Column("number", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    comment="Rows that prove what time a restored database is of. Append-only.",
)

BACKUP_RUNS = sa.Table(
    "backup_runs",
    METADATA,
    sa.Column("number", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("set_id", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("started_by", sa.Text, nullable=False),
    sa.Column("detail", postgresql.JSONB, nullable=False),
    sa.CheckConstraint("kind IN ('full', 'incremental')", name="kind"),
    sa.CheckConstraint("outcome IN ('pass', 'fail', 'inconclusive')", name="outcome"),
    sa.CheckConstraint("started_by <> ''", name="started_by"),
    sa.Index(None, "began_at"),
    comment="Attempts to make a backup set. Append-only: a trigger refuses changes.",
)

BACKUP_DRILLS = sa.Table(
    "backup_drills",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
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
    sa.CheckConstraint("kind <> ''", name="kind"),
    sa.CheckConstraint("outcome IN ('pass', 'fail', 'inconclusive')", name="outcome"),
    sa.Index(None, "kind", "began_at"),
    comment="Drills: restores, and faults that had to be detected. Append-only.",
)

API_KEYS = sa.Table(
    "api_keys",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
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
    sa.CheckConstraint("id <> ''", name="id"),
    sa.CheckConstraint("created_by <> ''", name="created_by"),
    comment="Keys of the gateway, hashed. Rows stay: a trigger refuses to delete them.",
)

AUDIT_RECORDS = sa.Table(
    "audit_records",
    METADATA,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("subject", sa.Text),
    sa.Column("tenant", sa.Text),
    sa.Column("detail", postgresql.JSON, nullable=False),
    sa.Column("previous", sa.CHAR(64), nullable=False),
    sa.Column("hash", sa.CHAR(64), nullable=False),
    sa.CheckConstraint("number > 0", name="number"),
    sa.Index(None, "at"),
    sa.Index(None, "subject"),
    sa.Index(None, "event", "at"),
    comment="The audit log, chained. Append-only; triggers let retention delete its beginning.",
)
"""`detail` is JSON as it was written: JSONB would write numbers anew, and change the hash."""

AUDIT_ANCHORS = sa.Table(
    "audit_anchors",
    METADATA,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.CHAR(64), nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("signature", sa.CHAR(64), nullable=False),
    sa.CheckConstraint("kind IN ('head', 'pruned')", name="kind"),
    comment="Where the audit log ends, and where retention cut it off; both signed.",
)

AUDIT_SUBJECTS = sa.Table(
    "audit_subjects",
    METADATA,
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("alias", sa.Text, nullable=False),
    sa.Column("identity", sa.Text),
    sa.UniqueConstraint("alias", name="audit_subjects_alias_key"),
    comment="Who the aliases in the audit log are. Deleting a row erases somebody from it.",
)

AUDIT_SPOOLS = sa.Table(
    "audit_spools",
    METADATA,
    sa.Column("spool", sa.Text, primary_key=True),
    sa.Column("taken", sa.BigInteger, nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    comment="Up to which byte the gateways' spool files are in the audit log.",
)

COST_HOURS = sa.Table(
    "cost_hours",
    METADATA,
    sa.Column("hour", sa.DateTime(timezone=True), primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("computed_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("inputs", sa.CHAR(64), nullable=False),
    sa.Column("bill", sa.BigInteger),
    sa.Column("currency", sa.CHAR(3)),
    sa.Column("reasons", postgresql.JSONB, nullable=False),
    sa.Column("warnings", postgresql.JSONB, nullable=False),
    sa.CheckConstraint("state IN ('computed', 'aside')", name="state"),
    sa.CheckConstraint("state <> 'computed' OR bill IS NOT NULL", name="bill"),
    sa.CheckConstraint("date_trunc('hour', hour, 'UTC') = hour", name="hour"),
    comment="What became of each hour. Computing an hour again replaces its row.",
)

COST_LINES = sa.Table(
    "cost_lines",
    METADATA,
    sa.Column(
        "hour",
        sa.DateTime(timezone=True),
        sa.ForeignKey(COST_HOURS.c.hour, ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("number", sa.Integer, primary_key=True),
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
    comment="Whose each hour's bill is. Costs are billionths of the currency.",
)

COST_ADVICE = sa.Table(
    "cost_advice",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
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
        "state IN ('open', 'accepted', 'dismissed', 'realised', 'withdrawn')", name="state"
    ),
    sa.CheckConstraint("state <> 'dismissed' OR reason <> ''", name="reason"),
    sa.Index(None, "state"),
    comment="Advice, and what became of it.",
)

BUDGET_ALERTS = sa.Table(
    "budget_alerts",
    METADATA,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("fired_at", sa.DateTime(timezone=True), nullable=False),
    comment="Alerts that were sent, so that none is sent twice.",
)

SCHEDULES = sa.Table(
    "schedules",
    METADATA,
    sa.Column("digest", sa.CHAR(64), primary_key=True),
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
    sa.CheckConstraint("state IN ('proposed', 'approved', 'rejected', 'applied')", name="state"),
    sa.CheckConstraint("(state = 'applied') = (applied_at IS NOT NULL)", name="applied"),
    sa.CheckConstraint("state NOT IN ('approved', 'rejected') OR decided_by <> ''", name="decided"),
    sa.Index(None, "fleet", "made_at"),
    comment="Schedules of fleets, by the digest of their text, and what became of them.",
)

SCHEDULE_DAYS = sa.Table(
    "schedule_days",
    METADATA,
    sa.Column("fleet", sa.Text, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("share", sa.Double, nullable=False),
    sa.Column("planned_hours", sa.Double, nullable=False),
    sa.Column("hours", sa.Double, nullable=False),
    sa.Column("spare_hours", sa.Double, nullable=False),
    sa.Column("planned_slo_pct", sa.Double, nullable=False),
    sa.Column("slo_pct", sa.Double, nullable=False),
    sa.Column("error", sa.Double, nullable=False),
    sa.Column("worst_hour", sa.Integer),
    comment="Each local day's plan against what happened. Looking again replaces the row.",
)

SPEND_CAPS = sa.Table(
    "spend_caps",
    METADATA,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("budget", sa.Text, primary_key=True),
    sa.Column("per_day", sa.Numeric, nullable=False),
    sa.Column("until", sa.DateTime(timezone=True), nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.CheckConstraint("per_day >= 0", name="per_day"),
    comment="What budgets leave tenants a day at the gateway. The audit log has their history.",
)
