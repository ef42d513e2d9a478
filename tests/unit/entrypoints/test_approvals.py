from datetime import timedelta

import pytest
from registry_worlds import NOW, Clock, MemoryApprovals, world

from greenlight.core.errors import InputError, RefusedError, UnavailableError
from greenlight.entrypoints import approvals
from greenlight.registry.tags import EVIDENCE_FILE, Alias, Tag
from greenlight.testing.candidates import register_candidate


@pytest.fixture
def store():
    return MemoryApprovals()


@pytest.fixture
def settings(make_settings):
    return make_settings()


def record(settings, registry, store, version, **changes):
    arguments = {"decision": "approved", "by": "ana", "reason": "good"} | changes
    return approvals.record(
        settings, model=version.model, version=version.version, registry=registry, store=store,
        clock=Clock(), **arguments,
    )  # fmt: skip


def standing(settings, registry, store, version):
    return approvals.standing(
        settings, model=version.model, version=version.version, registry=registry, store=store,
        clock=Clock(),
    )  # fmt: skip


def test_an_approval_is_kept_and_shown(settings, store, tmp_path):
    registry, _, candidate = world(tmp_path)
    kept = record(settings, registry, store, candidate)
    assert kept["digest"] == candidate.digest
    assert kept["evidence_digest"] == candidate.tag(Tag.EVIDENCE_DIGEST)
    read = registry.get(candidate.model, candidate.version)
    assert read.aliases == (Alias.APPROVED,)
    assert read.tag(Tag.APPROVAL) == "approved"
    assert read.tag(Tag.APPROVED_BY) == "ana"
    assert standing(settings, registry, store, candidate)["approved"] is True


def test_saying_it_twice_is_saying_it_once(settings, store, tmp_path):
    registry, _, candidate = world(tmp_path)
    assert record(settings, registry, store, candidate) == record(
        settings, registry, store, candidate
    )
    assert len(store.kept) == 1


def test_an_approval_that_lost_the_registry_half_way_is_finished_by_the_next_call(
    settings, store, tmp_path
):
    registry, _, candidate = world(tmp_path)

    class GoesAway(MemoryApprovals):
        def append(self, approval):
            kept = super().append(approval)
            registry.away = True
            return kept

    store = GoesAway()
    with pytest.raises(UnavailableError):
        record(settings, registry, store, candidate)
    registry.away = False
    assert registry.get(candidate.model, candidate.version).aliases == ()
    record(settings, registry, store, candidate)
    assert len(store.kept) == 1
    assert registry.get(candidate.model, candidate.version).aliases == (Alias.APPROVED,)


def test_a_rejection_records_why_and_points_nowhere(settings, store, tmp_path):
    registry, _, candidate = world(tmp_path)
    record(settings, registry, store, candidate, decision="rejected", reason="too terse")
    read = registry.get(candidate.model, candidate.version)
    assert read.aliases == ()
    assert read.tag(Tag.APPROVAL_REASON) == "too terse"
    assert standing(settings, registry, store, candidate)["approved"] is False


def test_a_later_rejection_takes_the_alias_away(settings, store, tmp_path):
    registry, _, candidate = world(tmp_path)
    record(settings, registry, store, candidate)
    record(settings, registry, store, candidate, decision="rejected", reason="on reflection")
    assert registry.get(candidate.model, candidate.version).aliases == ()
    assert [a.decision for a in store.kept] == ["approved", "rejected"]


def test_rejecting_one_version_leaves_the_alias_on_another(settings, store, tmp_path):
    registry, parent, first = world(tmp_path)
    second = register_candidate(registry, parent, tmp_path, ratio=1.03)
    record(settings, registry, store, first)
    record(settings, registry, store, second, decision="rejected", reason="worse")
    assert registry.get(first.model, first.version).aliases == (Alias.APPROVED,)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"decision": "maybe"}, "none of approved, rejected"),
        ({"by": " "}, "needs the name"),
        ({"decision": "rejected", "reason": ""}, "needs its reason"),
    ],
)
def test_an_incomplete_decision_is_refused(settings, store, tmp_path, changes, why):
    registry, _, candidate = world(tmp_path)
    with pytest.raises(InputError, match=why):
        record(settings, registry, store, candidate, **changes)
    assert store.kept == []


def test_a_version_without_evidence_cannot_be_approved(settings, store, tmp_path):
    registry, parent, _ = world(tmp_path)
    with pytest.raises(RefusedError, match="no evidence to decide on"):
        record(settings, registry, store, parent)
    assert standing(settings, registry, store, parent)["approved"] is False


@pytest.mark.parametrize("ratio", [1.045, 1.3])
def test_nobody_can_approve_past_the_gates(settings, store, tmp_path, ratio):
    registry, _, candidate = world(tmp_path, ratio=ratio)
    with pytest.raises(RefusedError, match="cannot approve past"):
        record(settings, registry, store, candidate)
    assert store.kept == []
    assert record(settings, registry, store, candidate, decision="rejected")["id"] == 1


def test_evidence_that_was_exchanged_cannot_be_approved(settings, store, tmp_path):
    registry, parent, candidate = world(tmp_path, ratio=1.3)
    other = register_candidate(registry, parent, tmp_path, ratio=1.01)
    good = registry.download_artifact(
        other.model, version=other.version, path=EVIDENCE_FILE, target=tmp_path / "e"
    ).read_bytes()
    registry.damage(candidate.model, version=candidate.version, path=EVIDENCE_FILE, data=good)
    with pytest.raises(RefusedError, match="the version says"):
        record(settings, registry, store, candidate)


def test_old_evidence_lets_the_approval_lapse(make_settings, store, tmp_path):
    registry, _, candidate = world(tmp_path, created_at=NOW - timedelta(days=3))
    record(make_settings(), registry, store, candidate)
    assert standing(make_settings(evidence_days=3), registry, store, candidate)["approved"] is True
    lapsed = standing(make_settings(evidence_days=2), registry, store, candidate)
    assert lapsed["approved"] is False
    assert "validate again" in lapsed["reason"]


def shown(candidate, **changes):
    return {
        "title": "smollm2 version 2 (q4)",
        "model": candidate.model,
        "version": candidate.version,
        "digest": candidate.digest,
        "evidence_digest": candidate.tag(Tag.EVIDENCE_DIGEST),
    } | changes


def answer(settings, registry, store, candidate, *, option="Approve", reason="fine", **changes):
    return approvals.record_answer(
        shown(candidate, **changes),
        {
            "chosen_options": [option] if option else [],
            "params_input": {"reason": reason},
            "responded_by_user": {"id": "7", "name": "ben"},
        },
        settings=settings, registry=registry, store=store,
    )  # fmt: skip


def test_an_answer_in_airflow_is_a_decision_by_who_answered(settings, store, tmp_path):
    registry, _, candidate = world(tmp_path)
    assert answer(settings, registry, store, candidate)["decided_by"] == "ben"
    assert registry.get(candidate.model, candidate.version).aliases == (Alias.APPROVED,)


def test_a_rejection_in_airflow_needs_no_reason_but_says_so(settings, store, tmp_path):
    registry, _, candidate = world(tmp_path)
    kept = answer(settings, registry, store, candidate, option="Reject", reason="")
    assert (kept["decision"], kept["reason"]) == ("rejected", "(no reason given)")


def test_no_answer_changes_nothing_and_says_so(settings, store, tmp_path):
    registry, _, candidate = world(tmp_path)
    result = answer(settings, registry, store, candidate, option=None)
    assert result["decision"] is None
    assert "nobody answered" in result["message"]
    assert store.kept == []
    assert registry.get(candidate.model, candidate.version) == candidate


@pytest.mark.parametrize("key", ["digest", "evidence_digest"])
def test_an_answer_about_something_else_is_refused(settings, store, tmp_path, key):
    registry, _, candidate = world(tmp_path)
    with pytest.raises(RefusedError, match=f"was shown with {key}"):
        answer(settings, registry, store, candidate, **{key: "0" * 64})
    assert store.kept == []


def test_decisions_are_listed(settings, store, tmp_path):
    registry, _, candidate = world(tmp_path)
    record(settings, registry, store, candidate)
    (listed,) = approvals.list_approvals(settings, model="smollm2", store=store)
    assert listed["decided_by"] == "ana"
    assert approvals.list_approvals(settings, model="other", store=store) == []


def test_a_version_without_evidence_is_approved_as_a_baseline_only(settings, store, tmp_path):
    registry, parent, _ = world(tmp_path)
    with pytest.raises(RefusedError, match="--baseline"):
        record(settings, registry, store, parent)
    assert standing(settings, registry, store, parent)["approved"] is False
    record(settings, registry, store, parent, baseline=True)
    found = standing(settings, registry, store, parent)
    assert (found["approved"], found["baseline"]) == (True, True)


def test_a_version_with_evidence_is_no_baseline(settings, store, tmp_path):
    registry, _, candidate = world(tmp_path)
    with pytest.raises(RefusedError, match="has evidence"):
        record(settings, registry, store, candidate, baseline=True)
    assert store.kept == []
