import threading

import pytest
from rollout_worlds import Colour, RolloutWorld

from greenlight.core.errors import (
    GateError,
    InputError,
    RefusedError,
    UnavailableError,
)
from greenlight.deploy.journal import Phase, Step
from greenlight.deploy.ports import EngineState, ServerMode
from greenlight.deploy.request import DeployRequest
from greenlight.registry.tags import Alias
from greenlight.testing.memory_hosts import EngineFault

pytestmark = pytest.mark.timeout(60)
BLUE, GREEN = Colour.BLUE, Colour.GREEN


@pytest.fixture
def world(tmp_path):
    return RolloutWorld(tmp_path)


@pytest.fixture
def live(world):
    """Version 1 is live on blue."""
    world.run(1)
    return world


def test_the_first_version_goes_live_on_blue_without_a_comparison(world):
    ended = world.run(1)
    assert ended["outcome"] == "live"
    assert world.share(BLUE) == 1
    assert world.served(BLUE) == {world.digest(1)}
    assert world.models.registry.aliases == {str(Alias.CHAMPION): 1}


def test_the_next_version_goes_to_the_idle_colour_in_steps(live):
    ended = live.run(2)
    assert ended["outcome"] == "live"
    assert [s[GREEN] for s in live.router.history[-3:]] == [10, 50, 100]
    assert live.served(GREEN) == {live.digest(2)}
    assert {h.status(BLUE).state for h in live.hosts.values()} == {EngineState.STOPPED}
    assert live.models.registry.aliases == {str(Alias.CHAMPION): 2}
    assert {s.mode for s in live.router.state().of(BLUE)} == {ServerMode.MAINT}
    assert live.leases.current("f") is None


@pytest.mark.parametrize("bad", [(0.3, 0.1), (0.0, 0.2)], ids=["errors", "slow first token"])
def test_a_worse_version_is_gone_again_and_blue_serves(live, bad):
    live.load.bad[GREEN] = bad
    with pytest.raises(GateError, match="at 10 %"):
        live.run(2)
    assert live.share(BLUE) == 1
    assert live.served(BLUE) == {live.digest(1)}
    assert {h.status(GREEN).state for h in live.hosts.values()} == {EngineState.STOPPED}
    assert live.models.registry.aliases == {str(Alias.CHAMPION): 1}
    assert live.deploy.history()[-1]["outcome"] == "rolled back"


def test_a_breach_during_the_bake_is_a_change_of_weights(live):
    def later():
        events = live.journal.events("to-2")
        if any(e.step is Step.BAKE for e in events):
            live.load.bad[GREEN] = (0.3, 0.1)

    live.load.on_start = later
    with pytest.raises(GateError, match="at 100 %"):
        live.run(2)
    assert live.share(BLUE) == 1
    assert live.served(BLUE) == {live.digest(1)}


def test_no_sample_at_all_is_no_pass(live):
    live.load.run = lambda *_, **__: None
    with pytest.raises(GateError):
        live.run(2)
    assert live.share(BLUE) == 1


def test_one_host_that_fails_takes_the_others_back(live):
    live.hosts["gpu-1"].fault = EngineFault.DIES
    with pytest.raises(GateError, match="gpu-1"):
        live.run(2)
    assert live.share(BLUE) == 1
    assert {h.status(GREEN).state for h in live.hosts.values()} == {EngineState.STOPPED}


def test_an_engine_that_serves_another_digest_is_refused(live):
    live.hosts["gpu-0"].fault = EngineFault.WRONG_DIGEST
    with pytest.raises((RefusedError, GateError)):
        live.run(2)
    assert live.share(BLUE) == 1


def test_a_file_damaged_on_the_way_is_not_served(live):
    live.hosts["gpu-0"].damage = "model.safetensors"
    with pytest.raises(InputError, match=r"model\.safetensors"):
        live.run(2)
    assert live.share(BLUE) == 1
    assert live.served(BLUE) == {live.digest(1)}


def test_a_wrong_answer_in_the_smoke_test_moves_no_traffic(live):
    live.smoke_failure = "it says something else"
    before = list(live.router.history)
    with pytest.raises(GateError, match="something else"):
        live.run(2)
    assert all(shares[BLUE] == 100 for shares in live.router.history[len(before) :])


@pytest.mark.parametrize("rollout", ["standard", "blue_green"])
def test_the_journal_has_every_step_before_and_after(live, rollout):
    live.run(2, rollout)
    events = live.journal.events("to-2")
    began = [(e.step, e.subject) for e in events if e.phase is Phase.BEGAN]
    done = [(e.step, e.subject) for e in events if e.phase is Phase.DONE]
    assert sorted(began) == sorted(done)
    shares = [s for step, s in done if step is Step.SHIFT]
    assert shares == (["10", "50", "100"] if rollout == "standard" else ["100"])


def test_a_second_deploy_is_refused_with_who_and_since_when(live):
    live.leases.acquire("f", holder="somebody", ttl_s=30)
    with pytest.raises(RefusedError, match="somebody since"):
        live.run(2)
    assert live.deploy.history()[-1]["rollout_id"] == "to-1"


def test_an_unapproved_version_is_refused_and_nothing_is_touched(live):
    live.models.refused[2] = "nobody decided"
    calls = {name: len(host.calls) for name, host in live.hosts.items()}
    with pytest.raises(RefusedError, match=r"nobody decided.*nothing was changed"):
        live.run(2)
    assert all(
        {call for call, _ in host.calls[calls[name] :]} <= {"ping"}
        for name, host in live.hosts.items()
    )
    assert live.leases.current("f") is None


def test_another_tokenizer_is_refused_unless_it_is_wanted(live):
    live.models.tokenizers[2] = '{"other": 1}'
    with pytest.raises(RefusedError, match=r"would notice: tokenizer\.json"):
        live.run(2)
    assert live.run(2, allow_interface_change=True)["outcome"] == "live"


def test_an_alias_that_was_moved_to_something_unapproved_is_refused(live):
    live.models.registry.set_alias("m", alias=Alias.APPROVED, version=9)
    live.models.refused[9] = "nobody decided about it"
    with pytest.raises(RefusedError, match="version 9 does not go to fleet f: it is not approved"):
        live.run("approved")


def test_a_host_that_is_away_is_found_before_anything_changes(live):
    live.hosts["gpu-1"].away = True
    with pytest.raises(RefusedError, match=r"gpu-1 cannot be used.*nothing was changed"):
        live.run(2)
    assert ("put_model", None) not in live.hosts["gpu-0"].calls[-2:]


def test_a_baseline_may_start_a_fleet_and_not_replace_what_is_live(world):
    world.models.baselines = {1, 2}
    world.run(1)
    with pytest.raises(RefusedError, match="baseline"):
        world.run(2)


def test_a_version_that_is_live_already_is_nothing_to_do(live):
    history = list(live.router.history)
    assert live.run(1, rollout_id="again")["nothing_to_do"]
    assert live.router.history == history


def test_a_rollout_left_half_way_is_taken_back_by_the_next(live):
    deploy = live.deploy
    request = DeployRequest(fleet="f", version=2)
    deploy.begin(request, rollout_id="left", by="ana")
    deploy.steps.prepare("left", "gpu-0")
    deploy.steps.prepare("left", "gpu-1")
    deploy.steps.smoke("left")
    deploy.steps.move("left", "10")
    live.leases.release(live.leases.current("f"))
    assert live.run(3)["outcome"] == "live"
    outcomes = {entry["rollout_id"]: entry["outcome"] for entry in deploy.history()}
    assert outcomes == {"to-1": "live", "left": "rolled back", "to-3": "live"}


def test_a_retry_goes_on_where_the_killed_process_stopped(live):
    deploy, request = live.deploy, DeployRequest(fleet="f", version=2)
    deploy.begin(request, rollout_id="to-2", by="ana")
    deploy.steps.prepare("to-2", "gpu-0")
    copies = live.hosts["gpu-0"].calls.count(("put_model", None))
    assert live.run(2)["outcome"] == "live"
    assert live.hosts["gpu-0"].calls.count(("put_model", None)) == copies


def test_moves_come_in_their_order(live):
    deploy = live.deploy
    deploy.begin(DeployRequest(fleet="f", version=2), rollout_id="x", by="ana")
    with pytest.raises(UnavailableError, match="10 comes before 50"):
        deploy.steps.move("x", "50")


def test_a_person_who_goes_back_shuts_the_running_process_out(live):
    started = threading.Event()
    live.load.on_start = started.set
    failed = []

    def deploy():
        try:
            live.run(2, "patient")
        except (RefusedError, GateError) as error:
            failed.append(error)

    live.load.run = _slow(live.load, started)
    thread = threading.Thread(target=deploy)
    thread.start()
    assert started.wait(10)
    ended = live.deploy.go_back(reason="ana: looks odd")
    thread.join(20)
    assert (ended["outcome"], ended["reason"]) == ("rolled back", "ana: looks odd")
    assert failed
    assert live.share(BLUE) == 1


def _slow(load, started):
    def run(targets, *, seconds, on_sample, stop=None):
        started.set()
        stop.wait(seconds)

    return run


def test_streams_that_are_open_are_waited_for_before_blue_stops(live):
    live.router.sessions["gpu-0", BLUE] = 1
    ended = threading.Timer(0.3, lambda: live.router.sessions.clear())
    ended.start()
    live.run(2)
    done = [e for e in live.journal.events("to-2") if e.step is Step.RETIRE]
    assert done[-1].detail["streams_cut"] == 0


def test_what_is_live_is_started_again_after_its_engines_ended(live):
    for host in live.hosts.values():
        host.stop(BLUE)
    assert live.deploy.start().version == 1
    assert live.served(BLUE) == {live.digest(1)}
    assert live.share(BLUE) == 1
    assert live.leases.current("f") is None


def test_nothing_is_started_on_a_fleet_that_never_served_or_is_being_changed(world):
    with pytest.raises(RefusedError, match="never served"):
        world.deploy.start()
    world.run(1)
    world.deploy.begin(DeployRequest(fleet="f", version=2), rollout_id="now", by="ana")
    with pytest.raises(RefusedError, match="now is on its way"):
        world.deploy.start()


def test_what_is_live_but_down_is_started_before_anything_replaces_it(live):
    live.router.dead = {(host, BLUE) for host in live.hosts}
    with pytest.raises(RefusedError, match="deploy start f"):
        live.run(2)
    live.router.dead = set()
    assert live.run(2)["outcome"] == "live"


def test_going_back_starts_old_engines_that_went_down_meanwhile(live):
    deploy = live.deploy
    deploy.begin(DeployRequest(fleet="f", version=2), rollout_id="x", by="ana")
    for host in live.hosts.values():
        host.stop(BLUE)
    live.router.set_modes(
        {(host, BLUE): ServerMode.MAINT for host in live.hosts}, fence=live.router.state().fence
    )
    assert deploy.go_back(reason="ana: blue is gone")["outcome"] == "rolled back"
    assert live.served(BLUE) == {live.digest(1)}
    assert live.share(BLUE) == 1
