import pytest
from rollout_worlds import Colour, RolloutWorld

from greenlight.core.errors import GateError, RefusedError
from greenlight.deploy.journal import Step
from greenlight.deploy.ports import EngineState, ServerMode
from greenlight.deploy.request import DeployRequest
from greenlight.entrypoints.rollout_hold import Way, held

pytestmark = pytest.mark.timeout(60)
BLUE, GREEN = Colour.BLUE, Colour.GREEN


@pytest.fixture
def live(tmp_path):
    """Version 1 is live on blue."""
    world = RolloutWorld(tmp_path)
    world.run(1)
    return world


def begin(world, version, rollout_id):
    request = DeployRequest(fleet="f", version=version)
    return world.deploy.begin(request, rollout_id=rollout_id, by="ana")


def meanwhile(world, action):
    """Let something happen after the world was looked at, before the lease is taken."""
    acquire = world.leases.acquire

    def late(*arguments, **keywords):
        world.leases.acquire = acquire
        action()
        return acquire(*arguments, **keywords)

    world.leases.acquire = late


def test_a_plan_made_before_another_deploy_went_live_touches_nothing(live):
    meanwhile(live, lambda: live.run(2))
    with pytest.raises(RefusedError, match="changed while rollout late was planned"):
        begin(live, 3, "late")
    assert live.share(GREEN) == 1
    assert live.served(GREEN) == {live.digest(2)}
    assert [entry["rollout_id"] for entry in live.deploy.history()] == ["to-1", "to-2"]
    assert live.leases.current("f") is None
    assert live.run(3)["outcome"] == "live"


def test_a_plan_made_before_another_was_left_half_way_touches_nothing(live):
    def left():
        begin(live, 2, "left")
        live.leases.release(live.leases.current("f"))

    meanwhile(live, left)
    with pytest.raises(RefusedError, match="changed while"):
        begin(live, 3, "late")


def test_a_rollout_that_is_live_stays_so_when_it_is_run_again(live):
    calls = {name: len(host.calls) for name, host in live.hosts.items()}
    assert live.run(1)["outcome"] == "live"
    assert {name: len(host.calls) for name, host in live.hosts.items()} == calls
    assert live.leases.current("f") is None


def test_a_rollout_that_was_taken_back_is_refused_with_its_reason(live):
    live.load.bad[GREEN] = (0.3, 0.1)
    with pytest.raises(GateError):
        live.run(2)
    live.load.bad.clear()
    with pytest.raises(RefusedError, match="to-2 was taken back: at 10 %"):
        live.run(2)
    assert live.leases.current("f") is None


def test_the_retry_of_a_process_killed_while_it_went_back_goes_back_at_once(live):
    begin(live, 2, "to-2")
    for host in live.hosts:
        live.deploy.steps.prepare("to-2", host)
    live.deploy.steps.smoke("to-2")
    live.deploy.steps.move("to-2", "10")
    with held(live.tools(), "to-2", way=Way.BACK) as hold:  # its lease is alive
        hold.do(Step.ROLL_BACK, "", lambda: {"share": 0}, reason="slow")
    with pytest.raises(RefusedError, match="to-2 was taken back: slow"):
        live.run(2)
    assert {h.status(GREEN).state for h in live.hosts.values()} == {EngineState.STOPPED}
    assert live.deploy.history()[-1]["outcome"] == "rolled back"
    assert live.leases.current("f") is None


def test_traffic_is_back_before_the_load_has_ended(live):
    live.load.bad[GREEN] = (0.3, 0.1)
    at_its_end, run = [], live.load.run

    def noted(targets, **how):
        run(targets, **how)
        at_its_end.append(live.share(BLUE))

    live.load.run = noted
    with pytest.raises(GateError, match="at 10 %"):
        live.run(2)
    assert at_its_end[-1] == 1


def test_nothing_is_compared_with_engines_that_rest(live):
    live.router.set_modes({("gpu-1", BLUE): ServerMode.MAINT}, fence=live.leases.fence("f"))
    live.hosts["gpu-1"].stop(BLUE)
    with pytest.raises(RefusedError, match="doesn't serve on gpu-1"):
        begin(live, 2, "r2")
    assert live.leases.current("f") is None
    live.deploy.start()
    assert live.run(2)["outcome"] == "live"
