"""What is written down while a rollout goes on, and going back with the one that was looked at."""

import threading
import time

import pytest
from rollout_worlds import Colour, RolloutWorld

from greenlight.core.errors import GateError, InputError, RefusedError, UnavailableError
from greenlight.deploy.journal import Phase, Step
from greenlight.deploy.request import DeployRequest
from greenlight.entrypoints.rollout_hold import held
from greenlight.entrypoints.rollout_notes import EVERY_S
from greenlight.entrypoints.rollout_watch import Watch
from greenlight.testing.waiting import wait_for

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def half_way(tmp_path):
    """Version 1 is live, and every host has version 2 beside it."""
    world = RolloutWorld(tmp_path)
    world.run(1)
    request = DeployRequest(fleet="f", version=2)
    world.deploy.begin(request, rollout_id="x", by="ana")
    for host in world.hosts:
        world.deploy.steps.prepare("x", host)
    return world


def watch(world, **settings):
    """Compare until the step's time is over, which nothing decides before; return the reasons."""
    world.load.run = lambda *_, **__: None
    went_back = []
    with held(world.deploy.tools, "x") as hold, pytest.raises(GateError):
        Watch(hold, go_back=lambda _, reason: went_back.append(reason), **settings).compare("10")
    return went_back


def looks(world):
    return [e for e in world.journal.events("x") if "look" in e.detail]


def test_looks_are_written_down_while_a_step_goes_on(half_way):
    watch(half_way, note_every_s=0.0)
    first = wait_for(lambda: looks(half_way), seconds=10)[0]
    assert (first.step, first.subject, first.phase) == (Step.ANALYSE, "10", Phase.BEGAN)
    assert first.detail["where"] == "at 10 %"
    assert [rule["rule"] for rule in first.detail["look"]["rules"]] == ["errors", "ttft"]


def test_a_short_step_leaves_no_look(half_way):
    watch(half_way, note_every_s=EVERY_S)
    assert looks(half_way) == []


def test_a_journal_that_is_away_is_no_reason_to_go_back(half_way):
    def away(event):
        raise UnavailableError("the database is away")

    append, half_way.journal.append = half_way.journal.append, away
    (why,) = watch(half_way, note_every_s=0.0)
    half_way.journal.append = append
    assert "undecided" in why


def test_a_journal_that_hangs_holds_nobody_up_and_is_asked_once(half_way):
    go_on, asked = threading.Event(), []

    def hang(event):
        asked.append(event)
        go_on.wait(30)

    append, half_way.journal.append = half_way.journal.append, hang
    began = time.monotonic()
    (why,) = watch(half_way, note_every_s=0.0)
    took = time.monotonic() - began
    half_way.journal.append = append
    go_on.set()
    assert "undecided" in why
    assert len(asked) == 1
    assert took < 20


def test_going_back_twice_with_a_rollout_is_going_back_once(half_way):
    ended = half_way.deploy.go_back_from("x", reason="ana: odd")
    assert (ended["outcome"], ended["reason"]) == ("rolled back", "ana: odd")
    assert half_way.deploy.go_back_from("x", reason="ben: odd too") == ended
    assert half_way.share(Colour.BLUE) == 1


def test_a_rollout_that_went_live_meanwhile_is_not_taken_back(half_way):
    half_way.deploy.go_back_from("x", reason="ana: odd")
    half_way.run(2, rollout_id="y")
    with pytest.raises(RefusedError, match="rollout y ended meanwhile"):
        half_way.deploy.go_back_from("y", reason="ana: odd")
    assert half_way.share(Colour.GREEN) == 1


def test_a_rollout_that_is_not_there_is_named(half_way):
    with pytest.raises(InputError, match="no rollout 'z'"):
        half_way.deploy.go_back_from("z", reason="ana: odd")
