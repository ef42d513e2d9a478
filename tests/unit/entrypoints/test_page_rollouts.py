from dataclasses import replace
from datetime import timedelta

import pytest
from page_worlds import PageWorld, a_server

from greenlight.adapters.page.panels import Health
from greenlight.deploy.colours import Colour
from greenlight.deploy.journal import Event, Phase, Step
from greenlight.deploy.ports import ServerMode
from greenlight.deploy.rules import Verdict
from greenlight.entrypoints.page import rollouts
from greenlight.testing import page_story as story
from greenlight.testing.rollout_contract import a_rollout

BLUE, GREEN = Colour.BLUE, Colour.GREEN


@pytest.fixture
def world(tmp_path):
    return PageWorld(tmp_path)


def slots(world):
    (fleet,) = rollouts.fleets(world).fleets
    return {(slot.host, slot.colour): slot for slot in fleet.slots}


def write(world, step, phase=Phase.DONE, subject="", rollout_id=story.RUNNING, **detail):
    world.journal.append(
        Event(rollout_id=rollout_id, at=world.now, step=step, phase=phase, subject=subject,
              detail=detail)
    )  # fmt: skip


def test_each_slot_says_what_it_holds_and_gets(world):
    found = slots(world)
    live, new = found["gpu-1", GREEN], found["gpu-1", BLUE]
    assert (live.role, live.version, live.health) == ("live", 7, Health.SERVING)
    assert (new.role, new.version) == ("new", 9)
    assert new.digest == world.journal.rollout(story.RUNNING).digest
    assert sum(slot.share for slot in found.values()) == pytest.approx(1)


def test_who_is_down_or_drained_has_no_share_and_says_so(world):
    world.routed["gpu-1", GREEN] = a_server("gpu-1", GREEN, up=False)
    world.routed["gpu-2", GREEN] = a_server("gpu-2", GREEN, mode=ServerMode.DRAIN)
    world.routed["gpu-1", BLUE] = a_server("gpu-1", BLUE, mode=ServerMode.MAINT, up=False)
    found = slots(world)
    assert [(found[key].health, found[key].share) for key in world.routed if key[1] is GREEN] == [
        (Health.DOWN, 0.0),
        (Health.DRAINING, 0.0),
    ]
    assert found["gpu-1", BLUE].health is Health.RESTING
    assert found["gpu-2", BLUE].share == 1.0


def test_an_engine_without_weight_is_ready_and_serves_nobody(world):
    world.routed["gpu-1", BLUE] = a_server("gpu-1", BLUE, weight=0)
    assert slots(world)["gpu-1", BLUE].health is Health.READY


def test_without_its_router_health_and_shares_are_unknown_and_the_rest_is_told(world):
    world.routed = None
    (fleet,) = rollouts.fleets(world).fleets
    assert fleet.why_no_router == "HAProxy does not answer"
    assert {(slot.health, slot.share) for slot in fleet.slots} == {(Health.UNKNOWN, None)}
    assert {slot.version for slot in fleet.slots} == {7, 9}


def test_the_router_of_a_fleet_that_never_served_is_not_asked(tmp_path):
    world = PageWorld(tmp_path, told=False)
    world.routed = None
    (fleet,) = rollouts.fleets(world).fleets
    assert fleet.why_no_router is None
    assert {slot.role for slot in fleet.slots} == {"empty"}


def test_who_changes_the_fleet_is_named(world):
    (fleet,) = rollouts.fleets(world).fleets
    assert fleet.changed_by == story.RUNNING


def test_a_rollout_on_its_way_says_what_it_does_and_how_both_colours_compare(world):
    (card,) = rollouts.running(world).running
    assert (card.version, card.previous_version, card.share) == (9, 7, 50)
    assert card.doing == "compare both colours: 50 %"
    assert card.since == world.now - timedelta(minutes=2)
    assert card.goes_back is None
    seen = card.comparison
    assert (seen.where, seen.verdict, seen.ended) == ("at 50 %", Verdict.INSUFFICIENT, False)
    assert [rule["rule"] for rule in seen.rules] == ["errors", "ttft-p95", "live-ttft"]


def test_before_the_first_look_of_a_step_the_one_before_is_shown_as_ended(tmp_path):
    world = PageWorld(tmp_path, told=False)
    rollout = replace(a_rollout(story.RUNNING, fleet=story.FLEET), started_at=world.now)
    world.journal.open_rollout(rollout)
    (card,) = rollouts.running(world).running
    assert (card.doing, card.comparison) == ("begin", None)
    write(world, Step.ANALYSE, subject="10", **story.a_look(Verdict.PASS))
    write(world, Step.SHIFT, Phase.BEGAN, subject="50")
    (card,) = rollouts.running(world).running
    assert (card.comparison.ended, card.comparison.verdict) == (True, Verdict.PASS)
    assert card.doing == "move traffic: 50 %"


def test_a_host_that_its_cloud_takes_meanwhile_is_said(world):
    write(world, Step.DRAIN, subject="gpu-2")
    (card,) = rollouts.running(world).running
    assert card.doing == "AWS takes host gpu-2: it is drained: done"
    assert set(rollouts.DOING) == set(Step)


def test_a_rollout_that_goes_back_says_why(world):
    write(world, Step.ROLL_BACK, Phase.BEGAN, reason="ana: odd answers")
    (card,) = rollouts.running(world).running
    assert (card.goes_back, card.doing) == ("ana: odd answers", "go back")


def test_history_offers_no_way_back_while_a_rollout_is_on_its_way(world):
    found = rollouts.history(world)
    assert [(row.version, row.outcome) for row in found.rows] == [
        (9, "on its way"), (8, "rolled back"), (7, "live"), (6, "live"),
    ]  # fmt: skip
    assert not any(row.can_go_back for row in found.rows)
    assert [row.version for row in found.rows if row.is_live] == [7]


def test_history_offers_each_version_that_was_live_once(world):
    write(world, Step.FINISH, outcome="live", reason="9 serves everybody")
    found = {row.version: row for row in rollouts.history(world).rows}
    assert [v for v in found if found[v].can_go_back] == [7, 6]
    assert found[9].is_live


def test_history_is_cut_and_says_of_how_many(world):
    for number in range(rollouts.SHOWN):
        at = world.now - timedelta(days=40 + number)
        rollout = replace(a_rollout(f"old-{number}", fleet=story.FLEET), started_at=at)
        world.journal.open_rollout(rollout)
        write(world, Step.FINISH, rollout_id=rollout.id, outcome="rolled back", reason="slow")
    found = rollouts.history(world)
    assert (len(found.rows), found.shown_of) == (rollouts.SHOWN, rollouts.SHOWN + 4)
