import pytest
from scaling_plan_worlds import PlanWorld, a_journal

from greenlight.core.errors import InputError
from greenlight.entrypoints import scaling_replays, scaling_tasks
from greenlight.scaling.kept import ScheduleState


@pytest.fixture
def world():
    return PlanWorld()


def answer(*chosen, reason="", name="ana"):
    return {
        "chosen_options": list(chosen),
        "params_input": {"reason": reason},
        "responded_by_user": {"id": "1", "name": name},
    }


def test_a_first_schedule_is_asked_about_with_changes_and_replay(world):
    proposal = scaling_tasks.plan("f", scaling=world.scaling())
    asked = scaling_tasks.question(proposal)
    assert asked == proposal
    assert "the first schedule of this fleet" in asked["description"]
    assert "| oracle, which knows all demand |" in asked["description"]
    assert asked["digest"][:12] in asked["title"]


def test_the_replay_is_kept_for_whoever_shows_it(world, make_settings):
    settings = make_settings()
    scaling_tasks.plan("f", scaling=world.scaling(), settings=settings)
    kept = scaling_replays.read(settings, "f")
    assert kept["rows"][0]["policy"] == "oracle"
    assert scaling_replays.read(settings, "another") is None


def test_an_approved_schedule_is_applied(world):
    scaling = world.scaling()
    proposal = scaling_tasks.plan("f", scaling=scaling)
    assert scaling_tasks.apply(proposal, scaling=scaling)["applied"] is False
    scaling_tasks.record_answer(proposal, answer("Approve"), scaling=scaling)
    found = scaling_tasks.apply(proposal, scaling=scaling)
    assert found["applied"]
    assert found["lines"]
    assert world.store.applied("f").decided_by == "ana"
    assert scaling_tasks.apply(proposal, scaling=scaling)["lines"] == ["nothing to change"]


def test_a_rejection_is_kept_and_nothing_is_applied(world):
    scaling = world.scaling()
    proposal = scaling_tasks.plan("f", scaling=scaling)
    scaling_tasks.record_answer(proposal, answer("Reject", reason="too few"), scaling=scaling)
    assert scaling_tasks.apply(proposal, scaling=scaling)["why"] == "ana rejected it: too few"
    assert world.store.get(proposal["digest"]).state is ScheduleState.REJECTED


def test_nobody_answering_decides_nothing(world):
    scaling = world.scaling()
    proposal = scaling_tasks.plan("f", scaling=scaling)
    assert scaling_tasks.record_answer(proposal, answer(), scaling=scaling) == {"decision": None}
    assert "waits for approval" in scaling_tasks.apply(proposal, scaling=scaling)["why"]


def test_an_answer_that_was_not_asked_for_is_refused(world):
    scaling = world.scaling()
    proposal = scaling_tasks.plan("f", scaling=scaling)
    with pytest.raises(InputError, match="Perhaps"):
        scaling_tasks.record_answer(proposal, answer("Perhaps"), scaling=scaling)


def test_a_small_change_asks_nobody_and_is_applied(world):
    world.applied()
    world.clock.advance(24 * 3600)
    proposal = scaling_tasks.plan("f", scaling=world.scaling())
    assert scaling_tasks.question(proposal) is None
    assert scaling_tasks.apply(proposal, scaling=world.scaling())["applied"]


def test_too_little_measured_asks_nobody_applies_nothing_and_says_why(world):
    world.journal = a_journal(200)
    proposal = scaling_tasks.plan("f", scaling=world.scaling())
    assert scaling_tasks.question(proposal) is None
    found = scaling_tasks.apply(proposal, scaling=world.scaling())
    assert found["applied"] is False
    assert "1 cold starts" in found["why"]


def test_yesterday_is_figures_or_a_reason(world):
    assert "no schedule was applied" in scaling_tasks.look_back("f", days=world.days())["why"][0]
    world.applied()
    world.clock.advance(48 * 3600)
    found = scaling_tasks.look_back("f", days=world.days())
    assert (found["day"], found["slo_pct"]) == ("2026-11-25", 100.0)
