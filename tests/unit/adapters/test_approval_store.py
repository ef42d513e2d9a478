from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from greenlight.adapters.approval_store import DatabaseApprovals
from greenlight.registry.approvals import Approval, Decision

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def store(database_engine):
    return DatabaseApprovals(database_engine)


def approval(model, *, at=NOON, version=1, decision="approved"):
    return Approval(
        decided_at=at,
        decided_by="ana",
        decision=Decision(decision),
        reason="it's fine; DROP TABLE",
        model=model,
        version=version,
        digest="d" * 64,
        evidence_digest="e" * 64,
    )


def test_a_decision_is_read_back_as_it_was_made(store):
    kept = store.append(approval("read-back"))
    assert kept.id is not None
    assert store.approvals(model="read-back") == (kept,)


def test_times_come_back_in_utc(store):
    elsewhere = timezone(timedelta(hours=5))
    store.append(approval("times", at=NOON.astimezone(elsewhere)))
    read = store.approvals(model="times")[0].decided_at
    assert read == NOON
    assert read.utcoffset() == timedelta(0)


def test_decisions_come_oldest_first_and_by_version(store):
    late = store.append(approval("order", at=NOON + timedelta(hours=1), decision="rejected"))
    early = store.append(approval("order", version=2))
    assert store.approvals(model="order") == (early, late)
    assert store.approvals(model="order", version=1) == (late,)
    assert {early, late} <= set(store.approvals())


@pytest.mark.parametrize(
    "statement", ["DELETE FROM approvals", "UPDATE approvals SET reason = ''", "TRUNCATE approvals"]
)
def test_history_cannot_be_rewritten(store, database_engine, statement):
    store.append(approval("history"))
    with pytest.raises(IntegrityError, match="append-only"), database_engine.begin() as connection:
        connection.execute(sa.text(statement))
    assert store.approvals(model="history")
