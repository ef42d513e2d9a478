import threading
from datetime import timedelta

import pytest
from scaling_slots_worlds import NOW, SlotWorld, kept, schedule

from greenlight.core.errors import RefusedError
from greenlight.deploy.ports import ServerMode
from greenlight.entrypoints.scaling_slots import LEFT_ALONE_S, least_hosts
from greenlight.scaling.capacity import Unknown
from greenlight.scaling.scaling_file import FleetScaling
from greenlight.scaling.schedule import Override


@pytest.fixture
def world(tmp_path):
    return SlotWorld(tmp_path)


def rest(world, *, load=40.0):
    """Let the load be low until only as many serve as it needs."""
    for _ in range(20):
        world.cycle(load=load, later=60.0)


def test_a_quiet_fleet_drains_to_the_minimum_and_stops_what_is_empty(world):
    rest(world)
    assert world.serving() == ["gpu-0"]
    assert world.running() == ["gpu-0"]


def test_a_new_loop_takes_nothing_away_before_a_window_has_passed(world):
    assert world.cycle(load=40.0).steps == ()
    assert len(world.serving()) == 3


def test_load_starts_hosts_that_are_admitted_once_they_are_ready(world):
    rest(world)
    steps = world.cycle(load=240.0).steps
    assert [step.line.split(":")[0] for step in steps] == ["start gpu-1", "start gpu-2"]
    assert world.serving() == ["gpu-0"], "nobody is sent to an engine that starts"
    world.cycle(load=240.0)
    world.cycle(load=240.0)
    assert world.serving() == ["gpu-0", "gpu-1", "gpu-2"]


def test_requests_on_a_draining_host_are_waited_for_and_cut_only_after_the_limit(world):
    busy = ("gpu-2", world.live)
    world.rollouts.router.sessions[busy] = 4
    for _ in range(12):
        world.cycle(load=40.0, later=29.0)
        if "gpu-2" not in world.serving():
            break
    assert "gpu-2" in world.running()
    world.cycle(load=40.0, later=29.0)
    assert "gpu-2" in world.running()
    world.cycle(load=40.0, later=40.0)
    assert "gpu-2" not in world.running()


def test_a_draining_host_is_taken_back_when_load_comes_back(world):
    world.rollouts.router.sessions["gpu-2", world.live] = 4
    rest_until_drained(world)
    world.cycle(load=290.0)
    assert "gpu-2" in world.serving()


def rest_until_drained(world):
    for _ in range(12):
        world.cycle(load=40.0, later=29.0)
        if "gpu-2" not in world.serving():
            return
    raise AssertionError("gpu-2 was never drained")


@pytest.mark.parametrize("why", ["none", "away", "late", "capacity"])
def test_without_a_measured_load_nothing_ends_and_the_schedule_raises(tmp_path, why):
    world = SlotWorld(tmp_path, size=(1, 2, 3))
    rest(world)
    load = None if why == "none" else 40.0
    world.load.away = why == "away"
    world.load.age = timedelta(minutes=9) if why == "late" else world.load.age
    if why == "capacity":
        world.capacity = Unknown(why="no benchmark", measure="run one")
    for _ in range(5):
        found = world.cycle(load=load)
    assert "missing" in found.why
    assert world.serving() == ["gpu-0", "gpu-1"], "raised to what the schedule wants, no further"
    for _ in range(20):
        world.cycle(load=load, later=60.0)
    assert len(world.serving()) == 2


def test_a_fleet_with_a_rollout_on_its_way_is_not_touched(world):
    world.rollouts.deploy.begin(request(2), rollout_id="r2", by="ana")
    found = world.cycle(load=1000.0)
    assert (found.why, found.steps) == ("held: rollout r2 is on its way", ())


def request(version):
    from greenlight.deploy.request import DeployRequest

    return DeployRequest(fleet="f", version=version, rollout="standard")


def test_somebody_elses_lease_is_respected(world):
    rest(world)
    world.rollouts.leases.acquire("f", holder="ana", ttl_s=60)
    with pytest.raises(RefusedError, match="ana"):
        world.cycle(load=240.0)
    assert world.running() == ["gpu-0"]


def test_the_lease_is_given_back_after_each_step(world):
    rest(world)
    world.cycle(load=240.0)
    assert world.rollouts.leases.current("f") is None


def test_a_dry_run_says_the_steps_and_does_none(world):
    rest(world)
    found = world.cycle(load=240.0, dry_run=True)
    assert [step.host for step in found.steps] == ["gpu-1", "gpu-2"]
    assert world.running() == ["gpu-0"]


def test_without_an_applied_schedule_nothing_happens(tmp_path):
    world = SlotWorld(tmp_path)
    world.store.__init__()
    assert world.cycle(load=1000.0).why == "held: no schedule is applied"


def test_an_override_holds_until_it_expires(world):
    rest(world)
    until = world.clock.now() + timedelta(hours=2)
    override = Override(
        start=NOW, expires=until, minimum=3, maximum=None, reason="a launch", by="ana"
    )
    world.store.__init__()
    world.store.add(kept(schedule(1, 1, 3, overrides=(override,))))
    for _ in range(4):
        world.cycle(load=40.0)
    assert len(world.serving()) == 3
    world.clock.set(until)
    rest(world)
    assert len(world.serving()) == 1


def test_a_host_that_is_away_is_left_alone_and_another_one_starts(world):
    rest(world)
    world.rollouts.hosts["gpu-1"].away = True
    found = world.cycle(load=150.0)
    assert "gpu-1 is left alone" in found.why
    assert [step.host for step in found.steps] == ["gpu-2"]


def test_a_host_that_cannot_start_does_not_stop_others_and_is_tried_again_later(world):
    rest(world)
    broken = world.rollouts.hosts["gpu-1"]
    broken.models.clear()
    broken.disk_bytes = 0
    world.cycle(load=150.0)
    assert "gpu-1" not in world.running()
    world.cycle(load=150.0)
    assert world.running() == ["gpu-0", "gpu-2"]
    broken.disk_bytes = 10**12
    world.cycle(load=290.0, later=LEFT_ALONE_S)
    assert "gpu-1" in world.running()


def test_a_crashed_engine_is_told_and_not_started_over_and_over(world):
    rest(world)
    world.cycle(load=240.0)
    world.rollouts.hosts["gpu-2"].engines[world.live].crashed = True
    assert "gpu-2 is left alone: the engine ended" in world.cycle(load=240.0).why


def test_the_last_host_serves_even_where_the_schedule_wants_none(tmp_path):
    world = SlotWorld(tmp_path, size=(0, 0, 0))
    rest(world, load=0.0)
    assert world.serving() == ["gpu-0"]


def test_the_other_colour_is_never_touched(world):
    rest(world)
    idle = world.live.other
    calls = [call for host in world.rollouts.hosts.values() for call in host.calls]
    before = [call for call in calls if call[1] is idle and call[0] in ("start", "stop")]
    world.cycle(load=240.0)
    after = [c for h in world.rollouts.hosts.values() for c in h.calls
             if c[1] is idle and c[0] in ("start", "stop")]  # fmt: skip
    assert before == after
    modes = {s.mode for s in world.rollouts.router.state().of(idle)}
    assert ServerMode.READY not in modes


def test_at_least_so_many_must_serve_only_where_the_loop_takes_hosts_away(world):
    slots = FleetScaling(floor=2, ceiling=9, target={"kind": "slots"})
    assert least_hosts(slots, world.store, "f", now=NOW) == 2
    assert least_hosts(FleetScaling(ceiling=9), world.store, "f", now=NOW) is None
    assert least_hosts(slots, world.store, "other", now=NOW) is None


def test_a_loop_goes_on_when_something_does_not_answer(world):
    world.rollouts.router.away = True
    stop = threading.Event()
    looks = []

    def capacity():
        looks.append(1)
        stop.set()
        return world.capacity

    world.loop.capacity = capacity
    thread = threading.Thread(target=lambda: world.loop.run(every_s=0.01, stop=stop))
    thread.start()
    threading.Event().wait(0.1)
    assert thread.is_alive()
    world.rollouts.router.away = False
    thread.join(timeout=10)
    assert looks
