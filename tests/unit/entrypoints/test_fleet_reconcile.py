import pytest
from rollout_worlds import Colour, RolloutWorld

from greenlight.adapters.fleet_metrics import write_drift
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
