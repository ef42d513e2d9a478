import pytest
from rollout_worlds import Colour, RolloutWorld

from greenlight.adapters.fleet_metrics import write_drift
from greenlight.deploy.ports import ServerMode
from greenlight.entrypoints.fleet_reconcile import find_drift
from greenlight.registry.tags import Alias

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def world(tmp_path):
    world = RolloutWorld(tmp_path)
    world.run(1)
    return world


def find(world):
    return find_drift(world.deploy.tools)


def test_after_a_deploy_there_is_no_drift(world):
    assert find(world) == ()


def test_an_alias_that_was_moved_by_hand_is_drift(world):
    world.models.registry.set_alias("m", alias=Alias.CHAMPION, version=2)
    assert "without a deploy" in find(world)[0]


def test_an_engine_that_ended_is_drift_and_so_is_a_host_that_is_away(world):
    world.hosts["gpu-0"].stop(Colour.BLUE)
    world.hosts["gpu-1"].away = True
    problems = find(world)
    assert any("gpu-0 is stopped" in p for p in problems)
    assert any("gpu-1 could not be asked" in p for p in problems)


def rest(world, host):
    """Take a host out as the loop of a schedule does."""
    world.router.set_modes({(host, Colour.BLUE): ServerMode.MAINT}, fence=world.leases.fence("f"))
    world.hosts[host].stop(Colour.BLUE)


def test_a_host_that_a_schedule_let_rest_is_no_drift(world):
    rest(world, "gpu-1")
    assert find_drift(world.deploy.tools, least=1) == ()
    assert any("gpu-1 is stopped" in p for p in find(world)), "without a schedule it is"


def test_fewer_than_the_schedule_wants_are_drift(world):
    rest(world, "gpu-1")
    assert any("gpu-1 is stopped" in p for p in find_drift(world.deploy.tools, least=2))


def test_a_failed_engine_is_drift_whatever_a_schedule_says(world):
    world.hosts["gpu-1"].engines[Colour.BLUE].crashed = True
    assert any("gpu-1 is failed" in p for p in find_drift(world.deploy.tools, least=1))
    world.hosts["gpu-0"].away = True
    assert any("gpu-0 could not be asked" in p for p in find_drift(world.deploy.tools, least=1))


def test_an_engine_that_ended_behind_the_routers_back_is_no_rest(world):
    world.router.dead.add(("gpu-1", Colour.BLUE))
    assert any("sends nothing to gpu-1" in p for p in find_drift(world.deploy.tools, least=1))


def test_what_is_live_but_was_rejected_since_is_drift(world):
    world.models.refused[1] = "rejected by ben"
    assert any("rejected by ben" in p for p in find(world))


def test_a_fleet_that_is_being_changed_is_left_for_the_next_time(world):
    from greenlight.deploy.request import DeployRequest

    request = DeployRequest(fleet="f", version=2)
    world.deploy.begin(request, rollout_id="now", by="ana")
    assert find(world) == ()
    world.leases.release(world.leases.current("f"))
    assert any("now is unfinished" in p for p in find(world))


def test_the_metric_counts_what_is_wrong(tmp_path):
    write_drift(tmp_path, fleet="f", problems=2)
    assert 'greenlight_fleet_drift{fleet="f"} 2.0' in (tmp_path / "fleet-f.prom").read_text()
