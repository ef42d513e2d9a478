from dataclasses import replace
from datetime import date, timedelta

import pytest
from scaling_plan_worlds import NIGHT, PlanWorld, a_benchmark, a_journal

from greenlight.core.errors import GateError, InputError, RefusedError
from greenlight.entrypoints.scaling import Planned, read_kept, require_planned
from greenlight.entrypoints.scaling_days import fleet_schedule
from greenlight.entrypoints.scaling_measured import NotPlanned
from greenlight.scaling.kept import ScheduleState
from greenlight.scaling.look_back import LookBack
from greenlight.scaling.rules import WeeklyRule
from greenlight.scaling.schedule import Override


@pytest.fixture
def world():
    return PlanWorld()


def test_a_plan_follows_what_was_measured_and_a_first_one_waits(world):
    found = world.scaling().plan()
    assert isinstance(found, Planned)
    noon = NIGHT.replace(hour=12)
    assert found.schedule.at(noon).desired == 10
    assert found.schedule.at(NIGHT).desired == 2
    assert found.schedule.lead_s == 300
    assert found.waits_for[0] == "the first schedule of this fleet"
    assert found.replayed.of("schedule").slo_pct > 99


def test_a_plan_is_kept_once_and_changes_nothing(world):
    scaling = world.scaling()
    found = scaling.plan()
    assert world.store.newest("f") == ()
    kept = scaling.propose(found, by="t")
    assert scaling.propose(found, by="t") == kept
    assert (kept.state, world.target.calls) == (ScheduleState.PROPOSED, 0)
    assert read_kept(kept).at(NIGHT) == found.schedule.at(NIGHT)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda w: setattr(w, "journal", a_journal(200, 240)), "2 cold starts"),
        (lambda w: setattr(w.benchmarks, "found", None), "no benchmark"),
        (lambda w: setattr(w.source, "days", 0), "no demand was measured"),
        (lambda w: setattr(w.source, "days", 9), "9.0 days of demand"),
        (
            lambda w: setattr(w.benchmarks, "found", a_benchmark(other_requests=None)),
            "an unknown part",
        ),
    ],
)
def test_what_is_not_measured_makes_no_schedule_and_says_why(world, change, why):
    change(world)
    found = world.scaling().plan()
    assert isinstance(found, NotPlanned)
    assert why in "; ".join(found.why)
    with pytest.raises(GateError, match=why):
        require_planned(found)


def test_everything_that_is_missing_is_said_at_once(world):
    world.journal, world.benchmarks.found = a_journal(), None
    assert len(world.scaling().plan().why) == 2


def test_a_first_schedule_is_applied_only_after_a_yes(world):
    scaling = world.scaling()
    kept = scaling.propose(scaling.plan(), by="t")
    assert "waits for approval" in scaling.apply(kept.digest, by="t").why_not
    assert world.target.calls == 0
    scaling.decide(kept.digest, approved=True, by="ana", reason="looks right")
    found = scaling.apply(kept.digest, by="t")
    assert found.schedule.state is ScheduleState.APPLIED
    assert any(isinstance(rule, WeeklyRule) for rule in world.target.read().rules)
    assert world.target.read().loop.target == 85.0


def test_applied_twice_changes_nothing(world):
    digest = world.applied()
    calls = world.target.calls
    assert world.scaling().apply(digest, by="t").lines == ("nothing to change",)
    assert world.target.calls == calls


def test_a_rejected_schedule_is_never_applied(world):
    scaling = world.scaling()
    kept = scaling.propose(scaling.plan(), by="t")
    scaling.decide(kept.digest, approved=False, by="ana", reason="too few")
    assert scaling.apply(kept.digest, by="t").why_not == "ana rejected it: too few"
    with pytest.raises(RefusedError, match="rejected already"):
        scaling.decide(kept.digest, approved=True, by="bo", reason="")


def test_a_small_change_needs_nobody(world):
    world.applied()
    world.clock.advance(24 * 3600)
    found = world.scaling().plan()
    assert found.waits_for == ()
    kept = world.scaling().propose(found, by="t")
    assert world.scaling().apply(kept.digest, by="t").why_not is None


def test_a_large_change_waits_and_says_by_how_much(world):
    world.applied()
    world.source.factor = 1.8
    world.clock.advance(24 * 3600)
    found = world.scaling().plan()
    assert any("GPU-hours a week" in reason for reason in found.waits_for)


def test_what_could_not_be_replayed_waits_even_when_it_is_small(world):
    world.applied()
    world.source.days = 15
    world.source.factor = 1.06
    world.clock.advance(24 * 3600)
    found = world.scaling().plan()
    assert any("could not be replayed" in reason for reason in found.waits_for)


def test_an_old_proposal_does_not_replace_a_newer_schedule(world):
    scaling = world.scaling()
    old = scaling.propose(scaling.plan(), by="t")
    scaling.decide(old.digest, approved=True, by="ana", reason="")
    world.clock.advance(3600)
    world.applied()
    assert "a newer one" in scaling.apply(old.digest, by="t").why_not
    world.clock.advance(99 * 3600)
    late = PlanWorld()
    kept = late.scaling().propose(late.scaling().plan(), by="t")
    late.scaling().decide(kept.digest, approved=True, by="ana", reason="")
    late.clock.advance(99 * 3600)
    assert "more than 3 days ago" in late.scaling().apply(kept.digest, by="t").why_not


def test_nothing_is_applied_in_a_blackout_and_an_override_is(world):
    always = {"from": "tue 10:00", "to": "tue 14:00", "reason": "nobody is there to look"}
    world = PlanWorld(blackouts=[always])
    world.applied()
    world.clock.set(NIGHT.replace(hour=12))
    kept = world.scaling().propose(world.scaling().plan(), by="t")
    found = world.scaling().apply(kept.digest, by="t")
    assert found.why_not == "nothing changes now: nobody is there to look"
    assert world.scaling().override(an_override(world, minimum=15)).why_not is None


def an_override(world, *, minimum=None, maximum=None, hours=3):
    now = world.clock.now()
    return Override(
        start=now, expires=now + timedelta(hours=hours), minimum=minimum, maximum=maximum,
        reason="a launch", by="ana",
    )  # fmt: skip


def test_an_override_holds_at_once_lapses_and_outlives_the_next_plan(world):
    world.applied()
    world.clock.advance(60)
    found = world.scaling().override(an_override(world, minimum=15, hours=48))
    assert (found.schedule.decided_by, found.schedule.reason) == ("ana", "a launch")
    assert world.target.read().bounds[0] == 15
    world.clock.advance(24 * 3600)
    again = world.scaling().plan().schedule
    assert again.at(world.clock.now()).minimum == 15
    assert again.at(world.clock.now() + timedelta(hours=25)).minimum < 15


def test_the_ceiling_binds_an_override(world):
    world.applied()
    world.scaling().override(an_override(world, minimum=99))
    assert world.target.read().bounds == (20, 20)


def test_a_dry_run_of_an_override_keeps_nothing(world):
    world.applied()
    before = (world.target.calls, world.store.newest("f"))
    assert world.scaling().override(an_override(world, minimum=15), dry_run=True).lines
    assert (world.target.calls, world.store.newest("f")) == before


@pytest.mark.parametrize(
    "bad",
    [{}, {"minimum": 5, "maximum": 4}, {"minimum": 5, "hours": 0}, {"maximum": 1, "hours": -1}],
)
def test_an_override_that_makes_no_sense_is_refused(world, bad):
    world.applied()
    with pytest.raises(InputError):
        world.scaling().override(an_override(world, **bad))


def test_nothing_applied_cannot_be_overridden(world):
    with pytest.raises(RefusedError, match="nothing is applied"):
        world.scaling().override(an_override(world, minimum=3))


def test_a_fleet_without_a_target_is_planned_and_not_applied(world):
    scaling = world.scaling(applier=None)
    kept = scaling.propose(scaling.plan(), by="t")
    scaling.decide(kept.digest, approved=True, by="ana", reason="")
    assert "names no target" in scaling.apply(kept.digest, by="t").why_not
    assert world.store.applied("f") is None


def test_another_fleets_schedule_is_refused(world):
    kept = world.scaling().propose(world.scaling().plan(), by="t")
    world.store.add(replace(kept, digest="b" * 64, fleet="other"))
    with pytest.raises(InputError, match="is of other"):
        world.scaling().apply("b" * 64, by="t")


def test_yesterday_is_compared_with_what_was_planned_for_it(world):
    world.applied()
    world.clock.advance(48 * 3600)
    found = world.days().look_back()
    assert isinstance(found, LookBack)
    assert found.day == date(2026, 11, 25)
    assert found.slo_pct == 100.0
    assert found.error < 0.05
    assert world.days().newest(7) == (found,)


def test_too_few_hosts_show_in_what_came_and_not_in_the_plan(world):
    world.applied()
    world.source.hosts_there = 4.0
    world.clock.advance(48 * 3600)
    found = world.days().look_back()
    assert found.slo_pct < 50 < 95 < found.planned_slo_pct


def test_a_day_without_schedule_or_measurement_has_no_figures(world):
    assert "no schedule was applied" in world.days().look_back().why[0]
    world.applied()
    world.clock.advance(48 * 3600)
    world.source.hosts_there = None
    assert "not measured" in world.days().look_back().why[0]
    assert world.store.look_backs("f", date.min, date.max) == ()


def test_a_day_that_is_not_over_is_refused(world):
    with pytest.raises(InputError, match="isn't over"):
        world.days().look_back(NIGHT.date())


def test_metrics_tell_what_holds_what_waits_and_the_newest_day(world):
    before = fleet_schedule(world.store, "f", now=NIGHT)
    assert (before.applied, before.size, before.waiting, before.day) == (None,) * 4
    world.applied()
    world.clock.advance(48 * 3600)
    day = world.days().look_back()
    world.source.factor = 1.8
    waiting = world.scaling().propose(world.scaling().plan(), by="t")
    found = fleet_schedule(world.store, "f", now=world.clock.now())
    assert (found.size.desired, found.waiting, found.day) == (2, waiting, day)
    later = fleet_schedule(world.store, "f", now=NIGHT + timedelta(days=9))
    assert later.day is None, "an old day is not told as if it were yesterday"


def test_a_region_that_must_survive_the_loss_of_another_is_planned_for_both():
    regions = [{"name": "eu", "share": 0.5}, {"name": "us", "share": 0.5}]
    world = PlanWorld(ceiling=40, regions=regions, region="eu", survive_a_region=True)
    assert world.scaling().plan().schedule.at(NIGHT.replace(hour=12)).desired == 20
