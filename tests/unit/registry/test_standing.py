from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from greenlight.registry.approvals import Approval, Decision, standing

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
WEEK = timedelta(days=7)
DAY = timedelta(days=1)


def approval(decision="approved", *, at=NOW - DAY, digest="d1", evidence="e1", number=1):
    return Approval(
        id=number,
        decided_at=at,
        decided_by="ana",
        decision=Decision(decision),
        reason="because",
        model="m",
        version=1,
        digest=digest,
        evidence_digest=evidence,
    )


def judge(*approvals, digest="d1", evidence="e1", created=NOW - 2 * DAY, now=NOW):
    return standing(
        approvals,
        digest=digest,
        evidence_digest=evidence,
        evidence_created_at=created,
        now=now,
        max_age=WEEK,
    )


def test_an_approval_of_these_files_on_this_evidence_stands():
    result = judge(approval())
    assert result.approved
    assert "ana" in result.reason


def test_silence_is_no_approval():
    result = judge()
    assert not result.approved
    assert result.reason == "nobody decided about digest d1"
    assert result.approval is None


def test_an_approval_lapses_when_the_files_change():
    result = judge(approval(), digest="d2")
    assert not result.approved
    assert "the model changed" in result.reason


def test_an_approval_lapses_when_the_evidence_changes():
    result = judge(approval(), evidence="e2")
    assert not result.approved
    assert "other evidence" in result.reason


@pytest.mark.parametrize(("age", "stands"), [(WEEK, True), (WEEK + timedelta(seconds=1), False)])
def test_an_approval_lapses_when_the_evidence_is_older_than_allowed(age, stands):
    assert judge(approval(), created=NOW - age).approved is stands


def test_evidence_from_the_future_is_not_believed():
    result = judge(approval(), created=NOW + timedelta(seconds=1))
    assert not result.approved
    assert "a clock is wrong" in result.reason


def test_a_later_rejection_overrides():
    result = judge(approval(number=1), approval("rejected", at=NOW, number=2))
    assert not result.approved
    assert result.reason.endswith("because")


def test_a_later_approval_overrides_a_rejection():
    assert judge(approval("rejected", number=1), approval(at=NOW, number=2)).approved


def test_the_order_of_the_list_does_not_matter():
    decisions = [approval(number=1), approval("rejected", at=NOW, number=2)]
    assert judge(*decisions) == judge(*reversed(decisions))


def test_of_two_at_one_instant_the_one_stored_later_counts():
    assert not judge(approval("rejected", number=2), approval(number=1)).approved


def test_a_rejection_of_other_evidence_does_not_touch_this():
    assert judge(approval(), approval("rejected", at=NOW, evidence="e0")).approved


def test_two_decisions_are_the_same_whatever_the_time():
    assert approval().same_as(replace(approval(at=NOW), id=7))
    assert not approval().same_as(replace(approval(), reason="other"))
