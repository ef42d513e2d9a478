import pytest
from host_notice_worlds import NoticeWorld

from greenlight.core.errors import LostLeaseError, UnavailableError
from greenlight.deploy.journal import Step
from greenlight.deploy.ports import ServerMode
from greenlight.entrypoints.host_drain import drain_host


@pytest.fixture
def world(tmp_path):
    return NoticeWorld(tmp_path)


def drain(world, host="gpu-0"):
    drain_host(world.tools, host, why="it is taken", told={"instance": "i-1"})


def test_only_the_hosts_own_engines_are_drained_and_the_lease_is_given_back(world):
    drain(world)
    assert world.modes() == {"gpu-0": "drain", "gpu-1": "ready", "gpu-2": "ready"}
    assert world.rollouts.leases.current("f") is None


def test_an_engine_in_maintenance_stays_there(world):
    drain(world)
    idle = world.rollouts.router.state().of(world.live.other)
    assert {server.mode for server in idle} == {ServerMode.MAINT}


def test_the_journal_says_why_before_and_after(world):
    drain(world)
    events = [e for e in world.rollouts.journal.events("to-1") if e.step is Step.DRAIN]
    assert [e.detail for e in events] == [{"why": "it is taken", "instance": "i-1"}] * 2


def test_what_the_router_does_not_take_is_not_written_as_done(world):
    world.rollouts.leases.acquire("f", holder="r2", ttl_s=60)
    router = world.rollouts.router
    router.set_modes({}, fence=router.state().fence + 9)
    with pytest.raises(LostLeaseError):
        drain(world)
    assert [str(phase) for _, phase in world.drains()] == ["began"]


def test_a_router_that_is_away_is_told(world):
    world.rollouts.router.away = True
    with pytest.raises(UnavailableError):
        drain(world)
