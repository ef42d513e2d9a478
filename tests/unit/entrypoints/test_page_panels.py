"""The panels that only gather: review, backups, schedules."""

import pytest
from page_worlds import PageWorld

from greenlight.backup.history import RESTORE
from greenlight.backup.ladder import Outcome
from greenlight.core.errors import InputError
from greenlight.entrypoints import scaling_replays
from greenlight.entrypoints.page import backups, review, schedules
from greenlight.registry.approvals import Approval, Decision
from greenlight.scaling.demand_profile import NotEnoughData
from greenlight.scaling.replay.comparison import Compared, Comparison
from greenlight.testing import page_story as story
from greenlight.testing.candidates import register_candidate, register_parent


@pytest.fixture
def world(tmp_path):
    return PageWorld(tmp_path)


def decided(version, decision=Decision.APPROVED, **changes):
    fields = {
        "decided_at": version.created_at, "decided_by": "ana", "decision": decision, "reason": "x",
        "model": version.model, "version": version.version, "digest": version.digest,
        "evidence_digest": version.tags["greenlight.evidence_digest"],
    }  # fmt: skip
    return Approval(**fields | changes)


@pytest.fixture
def candidate(world, tmp_path):
    return register_candidate(world.registry, register_parent(world.registry, tmp_path), tmp_path)


def test_a_version_with_evidence_waits_until_somebody_decides(world, candidate):
    (waits,) = review.review(world).versions
    assert (waits.model, waits.version, waits.recipe, waits.verdict) == (
        candidate.model, candidate.version, "q4", "pass",
    )  # fmt: skip
    assert waits.why == review.NOBODY
    world.approvals.kept = [decided(candidate)]
    assert review.review(world).versions == ()


def test_a_version_that_was_rejected_does_not_wait_any_more(world, candidate):
    world.approvals.kept = [decided(candidate, Decision.REJECTED)]
    assert review.review(world).versions == ()


def test_a_decision_on_other_evidence_is_none(world, candidate):
    world.approvals.kept = [decided(candidate, evidence_digest="0" * 64)]
    (waits,) = review.review(world).versions
    assert waits.why == "ana decided on other evidence: decide anew"


def test_a_schedule_that_asks_for_a_yes_waits(world):
    (waits,) = review.review(world).schedules
    assert waits.why == "GPU-hours rise by 42 %, more than 20 %"


def test_the_newest_drill_of_each_region_and_fault_is_shown(world):
    found = backups.backups(world)
    assert {d.drill.region: d.outcome for d in found.drills} == {
        "a": Outcome.PASS,
        "b": Outcome.FAIL,
    }
    assert {d.kind for d in found.drills} == {RESTORE}
    assert [d.kind for d in found.faults] == ["flipped byte", "missing segment of the log"]
    assert found.runs[0].outcome is Outcome.INCONCLUSIVE


def test_before_the_first_drill_there_is_none_and_regions_are_known(tmp_path):
    found = backups.backups(PageWorld(tmp_path, told=False))
    assert (found.drills, found.runs, found.regions) == ((), (), ("a", "b"))


def test_a_schedule_says_its_size_now_and_for_two_days(world):
    (card,) = schedules.schedules(world).fleets
    assert card.now.desired == 5  # at noon
    assert len(card.ahead) == schedules.AHEAD_H
    assert {size.desired for _, size in card.ahead} == {2, 5}
    assert [day.day for day in card.days] == sorted((d.day for d in card.days), reverse=True)
    assert card.replay is None


def test_a_fleet_without_a_schedule_has_no_size(tmp_path):
    (card,) = schedules.schedules(PageWorld(tmp_path, told=False)).fleets
    assert (card.now, card.applied_at, card.ahead, card.days) == (None, None, (), ())


def test_the_replay_of_the_last_plan_is_shown(world):
    row = Compared(policy="oracle", over_oracle=1.0, slo_pct=100.0, served_pct=100.0,
                   gpu_hours=240.0, starts=3, stops=3)  # fmt: skip
    first = world.now.date()
    kept = Comparison(first=first, last=first, bridged=0.0, rows=(row,))
    scaling_replays.keep(world.settings, story.FLEET, kept, made_at=world.now)
    (card,) = schedules.schedules(world).fleets
    assert (card.replay.first, card.replay.why_not) == (first, None)
    assert card.replay.rows[0].policy == "oracle, which knows all demand"


def test_what_could_not_be_replayed_says_why(world):
    why = NotEnoughData(why="30 % of the demand wasn't measured")
    scaling_replays.keep(world.settings, story.FLEET, why, made_at=world.now)
    (card,) = schedules.schedules(world).fleets
    assert card.replay.why_not == "30 % of the demand wasn't measured"


def test_a_damaged_replay_is_an_error_that_names_the_file(world):
    file = world.settings.home / "scaling" / f"{story.FLEET}.replay.json"
    file.parent.mkdir()
    file.write_text("{")
    with pytest.raises(InputError, match=r"demo\.replay\.json can't be read"):
        schedules.schedules(world)
