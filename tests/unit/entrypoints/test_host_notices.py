import pytest
from host_notice_worlds import DRAINED, NOW, NoticeWorld, instance

from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.deploy.journal import history_of, live
from greenlight.deploy.ports import ServerMode
from greenlight.entrypoints.host_notices import HINT_LASTS
from greenlight.testing.memory_aws import MemoryHook, ending, interruption, rebalance


@pytest.fixture
def world(tmp_path):
    return NoticeWorld(tmp_path)


def test_a_spot_host_that_is_taken_gets_no_more_requests_at_once(world):
    world.queue.send(interruption(instance(0), told=NOW))
    said = world.look(later=3)
    assert any(line.startswith("drain gpu-0: it is taken in 117 s") for line in said)
    assert world.modes() == {"gpu-0": "drain", "gpu-1": "ready", "gpu-2": "ready"}
    assert world.drains() == DRAINED


def test_nothing_else_of_the_fleet_changes(world):
    before = {s for s in world.rollouts.router.state().servers if s.host != "gpu-0"}
    now_live = live(history_of(world.rollouts.journal, "f"))
    world.queue.send(interruption(instance(0), told=NOW))
    world.look()
    assert {s for s in world.rollouts.router.state().servers if s.host != "gpu-0"} == before
    assert live(history_of(world.rollouts.journal, "f")) == now_live
    assert world.rollouts.leases.current("f") is None


def test_a_spot_host_stays_in_hand_until_it_is_taken_and_never_comes_back(world):
    world.queue.send(interruption(instance(0), told=NOW))
    for _ in range(23):
        world.look(later=5)
        assert world.queue.left
    said = world.look(later=6)
    assert said == (f"interruption of gpu-0 ({instance(0)}) is over: drained",)
    assert not world.queue.left
    assert world.counts == {("interruption", "drained"): 1}
    assert world.look(later=600) == ()
    assert world.modes()["gpu-0"] == "drain"


def test_streams_that_had_not_ended_by_then_are_counted_as_cut(world):
    world.queue.send(interruption(instance(0), told=NOW))
    world.busy("gpu-0", 2)
    world.look(later=110)
    world.busy("gpu-0", 0)  # the host is gone, and its requests with it
    world.look(later=11)
    assert world.counts == {("interruption", "cut"): 1}


def test_a_notice_that_came_too_late_changes_nothing_and_is_counted(world):
    world.queue.send(interruption(instance(0), told=NOW))
    world.look(later=200)
    assert world.modes()["gpu-0"] == "ready", "it may be another host by now"
    assert world.counts == {("interruption", "left"): 1}
    assert not world.queue.left


def test_the_only_host_serves_until_shortly_before_it_is_taken(tmp_path):
    world = NoticeWorld(tmp_path, hosts=1)
    world.queue.send(interruption(instance(0), told=NOW))
    assert "nobody else serves" in world.look()[-1]
    assert world.modes() == {"gpu-0": "ready"}
    world.look(later=91)
    assert world.modes() == {"gpu-0": "drain"}


def test_the_same_notice_twice_is_one(world):
    for _ in range(2):
        world.queue.send(interruption(instance(0), told=NOW))
    world.look()
    world.look(later=130)
    world.queue.send(interruption(instance(0), told=NOW))
    world.look()
    assert not world.queue.left
    assert world.drains() == DRAINED
    assert world.counts == {("interruption", "drained"): 1}


def test_many_hosts_are_taken_at_once(world):
    for number in range(2):
        world.queue.send(interruption(instance(number), told=NOW))
    world.look()
    assert world.modes() == {"gpu-0": "drain", "gpu-1": "drain", "gpu-2": "ready"}


def test_a_worker_that_was_killed_is_followed_by_one_that_goes_on(world):
    world.queue.send(interruption(instance(0), told=NOW))
    world.look()
    world.notices = world.new_worker()
    assert world.look(later=30) == (), "the message is still hidden"
    world.look(later=31)
    assert world.notices.in_hand
    world.look(later=60)
    assert world.counts == {("interruption", "drained"): 1}
    assert world.drains() == DRAINED


def test_an_instance_that_is_no_host_of_the_fleet_is_left_alone(world):
    world.queue.send(interruption("i-0ffffffffffffffff", told=NOW))
    said = world.look()
    assert said == (
        "interruption of i-0ffffffffffffffff is left alone: no host of fleet f is that instance",
    )
    assert set(world.modes().values()) == {"ready"}
    assert not world.queue.left
    assert world.counts == {("interruption", "not_ours"): 1}


def test_a_message_that_cannot_be_read_is_left_for_the_dead_letter_queue(world):
    world.queue.send("{}")
    world.queue.send(interruption(instance(0), told=NOW))
    said = world.look()
    assert said[0].startswith("not read: ")
    assert list(world.queue.left) == ["message 1", "message 2"]
    assert world.modes()["gpu-0"] == "drain", "it doesn't hold others up"
    assert world.counts == {("unknown", "unreadable"): 1}


def test_a_rollout_keeps_its_lease_and_the_host_is_drained_all_the_same(world):
    lease = world.rollouts.leases.acquire("f", holder="r2", ttl_s=60)
    world.queue.send(interruption(instance(0), told=NOW))
    world.look()
    assert world.modes()["gpu-0"] == "drain"
    assert world.rollouts.leases.renew(lease, ttl_s=60).fence == lease.fence


def test_a_rollout_goes_on_while_a_host_is_taken(world):
    world.queue.send(interruption(instance(0), told=NOW))
    world.rollouts.load.on_start = world.look
    ended = world.rollouts.run(2)
    assert ended["outcome"] == "live"
    world.look()
    modes = {s.host: str(s.mode) for s in world.rollouts.router.state().of(world.live)}
    assert modes == {"gpu-0": "drain", "gpu-1": "ready", "gpu-2": "ready"}
    assert world.rollouts.share(world.live) == 1.0


def test_a_host_that_a_rollout_lets_in_again_is_drained_again(world):
    world.queue.send(interruption(instance(0), told=NOW))
    world.look()
    router, key = world.rollouts.router, ("gpu-0", world.live)
    router.set_modes({key: ServerMode.READY}, fence=router.state().fence)
    world.look(later=5)
    assert world.modes()["gpu-0"] == "drain"


def test_both_colours_of_a_host_are_drained_during_a_rollout(world):
    router, other = world.rollouts.router, ("gpu-0", world.live.other)
    router.set_modes({other: ServerMode.READY}, fence=router.state().fence)
    world.queue.send(interruption(instance(0), told=NOW))
    world.look()
    modes = {s.mode for s in router.state().servers if s.host == "gpu-0"}
    assert modes == {ServerMode.DRAIN}


def test_a_router_that_is_away_is_asked_again(world):
    world.queue.send(interruption(instance(0), told=NOW))
    world.rollouts.router.away = True
    assert "not done yet" in world.look()[0]
    world.rollouts.router.away = False
    world.look(later=5)
    assert world.modes()["gpu-0"] == "drain"


def test_a_database_that_is_away_keeps_no_host_from_being_drained(world, monkeypatch):
    def away(*_, **__):
        raise UnavailableError("the database does not answer")

    for part, name in (
        (world.rollouts.leases, "current"),
        (world.rollouts.journal, "rollouts"),
        (world.notices, "needed"),
    ):
        monkeypatch.setattr(part, name, away)
    world.queue.send(interruption(instance(0), told=NOW))
    world.queue.send(rebalance(instance(1), told=NOW))
    world.look()
    assert world.modes() == {"gpu-0": "drain", "gpu-1": "ready", "gpu-2": "ready"}, (
        "a hint is followed only when it is known that others are enough"
    )


def test_a_drain_with_a_number_that_has_grown_old_is_made_with_the_new_one(world):
    lease = world.rollouts.leases.acquire("f", holder="r2", ttl_s=60)
    router = world.rollouts.router
    router.set_modes({}, fence=lease.fence + 1)  # somebody has acted with a newer lease
    world.queue.send(interruption(instance(0), told=NOW))
    assert "not done yet" in world.look()[-1]
    assert world.modes()["gpu-0"] == "ready"
    world.rollouts.leases.acquire("f", holder="r2", ttl_s=60)
    world.look(later=5)
    assert world.modes()["gpu-0"] == "drain"


def test_a_dry_run_says_what_it_would_do_and_changes_nothing(world):
    world.queue.send(interruption(instance(0), told=NOW))
    world.queue.send(ending(instance(1), told=NOW))
    world.queue.send(interruption("i-0ffffffffffffffff", told=NOW))
    said = world.look(dry_run=True)
    assert any(line.startswith("would drain gpu-0") for line in said)
    assert set(world.modes().values()) == {"ready"}
    assert (len(world.queue.left), world.hook.calls, world.drains()) == (3, [], [])
    assert world.new_worker().look(), "nothing was hidden from the worker"


def test_a_host_at_risk_is_drained_once_others_are_enough(world):
    world.needed = 3
    world.queue.send(rebalance(instance(0), told=NOW))
    assert "2 others serve, 3 are needed" in world.look()[-1]
    assert world.modes()["gpu-0"] == "ready"
    world.needed = 2
    world.look(later=5)
    world.look(later=5)
    assert world.modes()["gpu-0"] == "drain"
    assert world.counts == {("rebalance", "drained"): 1}


@pytest.mark.parametrize("needed", [3, None])
def test_a_hint_lapses_when_nobody_can_stand_in(world, needed):
    world.needed = needed
    world.queue.send(rebalance(instance(0), told=NOW))
    for _ in range(5):
        world.look(later=50)
    world.look(later=HINT_LASTS.total_seconds())
    assert world.modes()["gpu-0"] == "ready"
    assert world.counts == {("rebalance", "left"): 1}


# The end of a host that an Auto Scaling group's hook holds.


def ends(world, number=0, token="t", **changes):
    world.hook.hold(token)
    world.queue.send(ending(instance(number), told=NOW, LifecycleActionToken=token, **changes))


def test_an_ending_host_goes_as_soon_as_its_streams_have_ended(world):
    ends(world)
    world.busy("gpu-0", 1)
    for _ in range(3):
        world.look(later=5)
        assert world.hook.is_held("t")
    world.busy("gpu-0", 0)
    world.look(later=5)
    assert not world.hook.is_held("t")
    assert world.hook.calls[-1] == ("complete", instance(0))
    assert world.modes()["gpu-0"] == "drain"
    assert world.counts == {("termination", "drained"): 1}
    assert not world.queue.left


def test_a_host_does_not_go_in_the_look_that_drained_it(world):
    """A request may have come to it at the last moment."""
    ends(world)
    world.look(later=1)
    assert ("complete", instance(0)) not in world.hook.calls
    world.look(later=5)
    assert ("complete", instance(0)) in world.hook.calls


def test_while_streams_go_on_the_hook_is_told_so_in_time(world):
    ends(world)
    world.busy("gpu-0", 1)
    for _ in range(100):
        world.look(later=5)
        assert world.hook.is_held("t"), "its heartbeat lasts 120 s"
    beats = [call for call in world.hook.calls if call[0] == "heartbeat"]
    assert 12 <= len(beats) <= 14, "one each 40 s"


def test_streams_are_cut_when_the_drain_has_lasted_long_enough(world):
    ends(world)
    world.busy("gpu-0", 1)
    for _ in range(119):
        world.look(later=5)
    assert world.hook.is_held("t")
    world.look(later=6)
    assert world.counts == {("termination", "cut"): 1}
    assert world.hook.calls[-1] == ("complete", instance(0))


def test_the_hooks_own_limit_binds(world):
    world.hook = MemoryHook(world.clock, heartbeat_s=60, at_most_s=100)
    world.notices = world.new_worker()
    ends(world)
    world.busy("gpu-0", 1)
    for _ in range(20):
        world.look(later=5)
    assert world.counts == {("termination", "cut"): 1}


def test_an_end_that_is_not_held_any_more_is_let_go_of(world):
    world.queue.send(ending(instance(0), told=NOW, LifecycleActionToken="never held"))
    world.busy("gpu-0", 1)
    world.look()
    assert world.modes()["gpu-0"] == "drain"
    assert world.counts == {("termination", "cut"): 1}
    assert not world.queue.left


@pytest.mark.parametrize("changes", [{"LifecycleHookName": "own"}, {"AutoScalingGroupName": "b"}])
def test_an_end_that_another_hook_holds_is_left_alone(world, changes):
    ends(world, **changes)
    assert "isn't the fleet's" in world.look()[0]
    assert (world.hook.calls, set(world.modes().values())) == ([], {"ready"})
    assert world.counts == {("termination", "not_ours"): 1}


def test_an_end_that_cannot_be_completed_now_is_completed_later(world, monkeypatch):
    ends(world)
    world.look()

    def refuse(end):
        raise UnavailableError("AWS autoscaling does not answer")

    with monkeypatch.context() as broken:
        broken.setattr(world.hook, "complete", refuse)
        assert "not done yet" in world.look(later=5)[0]
    assert world.queue.left
    world.look(later=5)
    assert not world.queue.left


def test_a_hook_that_refuses_does_not_hold_up_a_host_that_is_taken(world, monkeypatch):
    def refuse():
        raise ConfigError("AWS autoscaling refuses")

    monkeypatch.setattr(world.hook, "times", refuse)
    ends(world, 1)
    world.queue.send(interruption(instance(0), told=NOW))
    world.look()
    assert world.modes()["gpu-0"] == "drain"


def test_before_anything_is_live_there_is_nothing_to_drain(tmp_path):
    world = NoticeWorld(tmp_path, is_live=False)
    ends(world)
    world.look()
    assert world.counts == {("termination", "drained"): 1}
