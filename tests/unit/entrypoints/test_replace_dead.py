"""A fleet whose live version is down and can never start again."""

import pytest
from rollout_worlds import Colour, RolloutWorld

from greenlight.core.errors import GateError, RefusedError
from greenlight.deploy.journal import Step
from greenlight.deploy.ports import EngineState
from greenlight.deploy.request import DeployRequest
from greenlight.registry.tags import Alias
from greenlight.testing.memory_hosts import EngineFault

pytestmark = pytest.mark.timeout(60)
BLUE, GREEN = Colour.BLUE, Colour.GREEN


@pytest.fixture
def dead(tmp_path):
    """Version 1 is live on blue, and every engine of it has crashed."""
    world = RolloutWorld(tmp_path)
    world.run(1)
    kill(world)
    return world


def kill(world):
    for host in world.hosts.values():
        host.engines[BLUE].crashed = True
    world.router.dead = {(host, BLUE) for host in world.hosts}


def states(world, colour):
    return {host.status(colour).state for host in world.hosts.values()}


def begin(world, rollout_id="x", **changes):
    request = DeployRequest(fleet="f", version=2, **changes)
    return world.deploy.begin(request, rollout_id=rollout_id, by="ana")


@pytest.mark.parametrize("rollout", ["standard", "rolling"])
def test_without_the_switch_it_is_refused_and_with_it_the_next_goes_live(dead, rollout):
    with pytest.raises(RefusedError, match="--replace-dead"):
        dead.run(2, rollout)
    ended = dead.run(2, rollout, replace_dead=True)
    assert (ended["outcome"], ended["replaces_dead"]) == ("live", True)
    assert "version 1 was dead and is given up" in dead.deploy.history()[-1]["reason"]
    assert dead.deploy.status()["live"]["version"] == 2
    assert dead.share(GREEN) == 1
    assert dead.served(GREEN) == {dead.digest(2)}
    assert states(dead, BLUE) == {EngineState.STOPPED}
    assert dead.models.registry.aliases == {str(Alias.CHAMPION): 2}
    kept = dead.journal.rollout("to-2")
    assert (kept.previous_version, kept.replaces_dead) == (1, True)
    dead.router.dead = set()
    assert dead.run(3)["outcome"] == "live", "the next one is compared again"


def test_what_is_left_of_it_is_stopped_before_the_new_engine_starts(dead):
    for host in dead.hosts.values():
        host.calls.clear()
    dead.run(2, replace_dead=True)
    for host in dead.hosts.values():
        changes = [call for call in host.calls if call[0] in ("start", "stop")]
        assert changes[:2] == [("stop", BLUE), ("start", GREEN)]


def test_one_engine_that_still_answers_is_not_given_up(dead):
    dead.hosts["gpu-1"].engines[BLUE].crashed = False
    with pytest.raises(RefusedError, match=r"not dead: it answers on gpu-1\. .* deploy start f"):
        dead.run(2, replace_dead=True)
    assert dead.hosts["gpu-1"].status(BLUE).state is EngineState.READY
    assert len(dead.deploy.history()) == 1


def test_one_that_only_the_router_reaches_is_not_given_up(dead):
    dead.router.dead.remove(("gpu-0", BLUE))
    with pytest.raises(RefusedError, match="not dead: it answers on gpu-0"):
        dead.run(2, replace_dead=True)


def test_a_live_version_in_good_health_is_not_given_up(tmp_path):
    world = RolloutWorld(tmp_path)
    world.run(1)
    with pytest.raises(RefusedError, match="answers on gpu-0, gpu-1"):
        world.run(2, replace_dead=True)
    assert world.share(BLUE) == 1


def test_an_engine_that_answers_again_meanwhile_is_left_alone(dead):
    begin(dead, replace_dead=True)
    kept = dead.hosts["gpu-1"]
    kept.engines[BLUE].crashed = False
    dead.router.dead.remove(("gpu-1", BLUE))
    dead.deploy.steps.prepare("x", "gpu-0")
    with pytest.raises(RefusedError, match="gpu-1 answers again"):
        dead.deploy.steps.prepare("x", "gpu-1")
    assert dead.deploy.steps.roll_back("x")["outcome"] == "rolled back"
    assert kept.status(BLUE).state is EngineState.READY
    assert dead.share(BLUE) == 1


@pytest.mark.parametrize("fault", ["smoke", "engine", "errors"])
def test_a_bad_one_is_stopped_again_and_another_may_follow(dead, fault):
    if fault == "smoke":
        dead.smoke_failure = "it says something else"
    if fault == "engine":
        dead.hosts["gpu-0"].fault = EngineFault.DIES
    if fault == "errors":
        dead.load.bad[GREEN] = (0.5, 0.1)
    with pytest.raises(GateError):
        dead.run(2, replace_dead=True)
    assert dead.deploy.history()[-1]["outcome"] == "rolled back"
    assert states(dead, GREEN) == {EngineState.STOPPED}
    assert dead.share(BLUE) == dead.share(GREEN) == 0
    assert dead.deploy.status()["live"]["version"] == 1, "what is live stays written down"
    assert dead.models.registry.aliases == {str(Alias.CHAMPION): 1}
    dead.smoke_failure, dead.hosts["gpu-0"].fault, dead.load.bad = None, None, {}
    assert dead.run(3, replace_dead=True)["outcome"] == "live"


def test_a_start_that_fails_keeps_nobody_waiting(dead):
    for host in dead.hosts.values():
        host.fault = EngineFault.DIES
    with pytest.raises(GateError, match="did not start"):
        dead.deploy.start()
    assert dead.leases.current("f") is None


def test_an_unapproved_one_is_refused_all_the_same(dead):
    dead.models.refused[2] = "nobody decided"
    with pytest.raises(RefusedError, match="nobody decided"):
        dead.run(2, replace_dead=True)


def test_when_its_files_are_lost_too_the_change_of_interface_is_asked_about(dead):
    dead.models.lost.add(1)
    with pytest.raises(RefusedError, match="--replace-dead"):
        dead.run(2)
    with pytest.raises(RefusedError, match="not known: there is no version 1"):
        dead.run(2, replace_dead=True)
    both = {"replace_dead": True, "allow_interface_change": True}
    assert dead.run(2, **both)["outcome"] == "live"


@pytest.mark.parametrize("rollout", ["standard", "rolling"])
def test_a_rollout_that_can_never_go_back_to_it_is_ended_without_it(tmp_path, rollout):
    world = RolloutWorld(tmp_path)
    world.run(1)
    begin(world, rollout=rollout)
    world.deploy.steps.prepare("x", "gpu-0")
    world.deploy.steps.prepare("x", "gpu-1")
    if rollout == "rolling":
        for move in ("gpu-0", "gpu-1"):
            world.deploy.steps.move("x", move)
    else:
        kill(world)
    for host in world.hosts.values():
        host.fault = EngineFault.DIES  # whatever is started from now on
    with pytest.raises(GateError, match="did not start"):
        world.deploy.go_back(reason="ana: green is worse")
    world.leases.release(world.leases.current("f"))
    for host in world.hosts.values():
        host.fault = None
    world.router.dead = {(host, BLUE) for host in world.hosts}
    world.deploy.run(
        DeployRequest(fleet="f", version=3, replace_dead=True), rollout_id="y", by="ana"
    )
    assert [entry["outcome"] for entry in world.deploy.history()] == ["live", "rolled back", "live"]
    assert world.served(GREEN) == {world.digest(3)}


def test_a_refused_deploy_leaves_what_was_left_half_way_as_it_is(dead):
    begin(dead, replace_dead=True)
    dead.deploy.steps.prepare("x", "gpu-0")
    dead.leases.release(dead.leases.current("f"))
    dead.models.refused[3] = "nobody decided"
    with pytest.raises(RefusedError, match="nobody decided"):
        dead.run(3, replace_dead=True)
    assert dead.hosts["gpu-0"].status(GREEN).state is not EngineState.STOPPED
    events = dead.journal.events("x")
    assert not any(event.step is Step.ROLL_BACK for event in events)
