"""Hosts that can't hold both colours: the old engine of each is exchanged for the new one."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from rollout_worlds import Colour, RolloutWorld

from greenlight.core.errors import GateError, LostLeaseError, UnavailableError
from greenlight.deploy.journal import Phase, Step
from greenlight.deploy.ports import EngineState, ServerMode
from greenlight.deploy.request import DeployRequest
from greenlight.entrypoints.rollout_engines import exchange
from greenlight.entrypoints.rollout_hold import Hold
from greenlight.entrypoints.rollout_steps import Steps
from greenlight.testing.memory_hosts import EngineFault

pytestmark = pytest.mark.timeout(60)
BLUE, GREEN = Colour.BLUE, Colour.GREEN


class Killed(BaseException):
    """The controller ends here: nothing catches it."""


def killed(*_):
    raise Killed


class Around:
    """A host or a router of which one call is heard before or after it is done."""

    def __init__(self, of, call, *, before=lambda *_: None, after=lambda *_: None):
        self._of, self._call, self._before, self._after = of, call, before, after

    def __getattr__(self, name):
        found = getattr(self._of, name)
        return found if name != self._call else self._called

    def _called(self, *args, **kwargs):
        self._before(*args)
        found = getattr(self._of, self._call)(*args, **kwargs)
        self._after(*args)
        return found


@pytest.fixture
def live(tmp_path):
    """Version 1 is live on blue, on three hosts."""
    world = RolloutWorld(tmp_path, hosts=3)
    world.run(1)
    world.load.runs.clear()
    return world


def analysed(world):
    events = world.journal.events("to-2")
    found = [e for e in events if (e.step, e.phase) == (Step.ANALYSE, Phase.DONE)]
    return {e.subject: e.detail for e in found}


def begun(world):
    """Begin, and bring the model to every host."""
    world.deploy.begin(DeployRequest(fleet="f", version=2, rollout="rolling"),
                       rollout_id="to-2", by="ana")  # fmt: skip
    for host in world.hosts:
        world.deploy.steps.prepare("to-2", host)
    return world.deploy.steps


def assert_old_serves(world):
    assert world.share(BLUE) == 1
    for host, runner in world.hosts.items():
        assert runner.status(BLUE).served_digest == world.digest(1), host
        assert runner.status(GREEN).state is EngineState.STOPPED
    state = world.router.state()
    assert {(s.mode, s.weight) for s in state.of(BLUE)} == {(ServerMode.READY, 100)}
    assert {s.mode for s in state.of(GREEN)} == {ServerMode.MAINT}


def test_hosts_are_exchanged_one_after_the_other(live):
    assert live.run(2, "rolling")["outcome"] == "live"
    assert live.served(GREEN) == {live.digest(2)}
    assert {h.status(BLUE).state for h in live.hosts.values()} == {EngineState.STOPPED}
    shifts = [e.subject for e in live.journal.events("to-2") if e.step is Step.SHIFT]
    assert shifts == ["gpu-0", "gpu-0", "gpu-1", "gpu-1", "gpu-2", "gpu-2"]


def test_only_engines_that_serve_are_asked_each_as_much_as_any_other(live):
    live.run(2, "rolling")
    warm_ups, comparisons = live.load.runs[::2], live.load.runs[1::2]
    assert warm_ups == [(1000, [(GREEN, 20200 + n)]) for n in range(3)]
    assert comparisons == [
        (1000, [(GREEN, 20200), (BLUE, 20101), (BLUE, 20102)]),
        (1000, [(GREEN, 20200), (GREEN, 20201), (BLUE, 20102)]),
        (pytest.approx(1000 / 3), [(GREEN, 20200), (GREEN, 20201), (GREEN, 20202)]),
    ]


def test_the_last_host_leaves_nothing_to_compare_with_and_green_is_judged_alone(live):
    live.run(2, "rolling")
    found = analysed(live)
    counts = {host: (detail["n_blue"], detail["n_green"]) for host, detail in found.items()}
    assert counts == {"gpu-0": (800, 400), "gpu-1": (400, 800), "gpu-2": (None, 1200)}
    (errors, ttft) = found["gpu-2"]["rules"]
    assert (errors["verdict"], errors["at_most"]) == ("pass", 0.05)
    assert ttft["verdict"] == "not applicable"


def test_a_version_that_fails_once_it_serves_alone_is_gone_again(live):
    def fails_alone():
        _, asked = live.load.runs[-1]
        if len(asked) == 3 and {colour for colour, _ in asked} == {GREEN}:
            live.load.bad[GREEN] = (0.3, 0.1)

    live.load.on_start = fails_alone
    with pytest.raises(GateError, match=r"on gpu-2, 3 of 3 hosts: errors: .* green alone"):
        live.run(2, "rolling")
    assert_old_serves(live)


@pytest.mark.parametrize("bad", [(0.3, 0.1), (0.0, 0.2)], ids=["errors", "slow first token"])
def test_a_worse_version_is_gone_after_the_first_host(live, bad):
    live.load.bad[GREEN] = bad
    with pytest.raises(GateError, match="on gpu-0, 1 of 3 hosts"):
        live.run(2, "rolling")
    assert_old_serves(live)


def test_nobody_is_sent_to_a_new_engine_that_answers_wrongly(live):
    shares = []
    live.on_smoke = lambda: shares.append(live.share(GREEN))
    live.smoke_failure = "it says something else"
    with pytest.raises(GateError, match="something else"):
        live.run(2, "rolling")
    assert shares == [0]
    assert not any(shifted[GREEN] for shifted in live.router.history)
    assert_old_serves(live)


def test_the_only_host_that_serves_is_left_alone(live):
    live.router.dead = {("gpu-1", BLUE), ("gpu-2", BLUE)}
    stopped = live.hosts["gpu-0"].calls.count(("stop", BLUE))
    with pytest.raises(UnavailableError, match="gpu-0 is the only one that serves"):
        live.run(2, "rolling")
    assert live.hosts["gpu-0"].calls.count(("stop", BLUE)) == stopped
    assert live.deploy.history()[-1]["outcome"] == "rolled back"
    live.router.dead.clear()
    assert_old_serves(live)


def test_who_may_have_lost_the_lease_stops_no_engine(live):
    def lost():
        raise LostLeaseError("it could not be renewed")

    keeper = SimpleNamespace(check=lost, fence=99)
    rollout = live.journal.rollout("to-1")
    hold = Hold(tools=live.tools(), rollout=rollout, settings=None, keeper=keeper)
    with pytest.raises(LostLeaseError):
        exchange(hold, "gpu-0", GREEN, live.models.folder("m", 2))
    assert_old_serves(live)


def test_going_back_begins_with_the_last_host(live):
    steps = begun(live)
    for host in ("gpu-0", "gpu-1"):
        steps.move("to-2", host)
    back = []
    for name, host in list(live.hosts.items()):
        live.hosts[name] = Around(
            host, "stop", before=lambda colour, name=name: back.append((name, colour))
        )
    live.deploy.go_back(reason="ana: looks odd")
    assert back[:2] == [("gpu-1", GREEN), ("gpu-0", GREEN)]
    assert_old_serves(live)


def test_a_host_whose_old_engine_does_not_come_back_keeps_no_other_from_it(live):
    steps = begun(live)
    for host in ("gpu-0", "gpu-1"):
        steps.move("to-2", host)
    live.hosts["gpu-1"].fault = EngineFault.DIES
    with pytest.raises(GateError, match="gpu-1 did not start"):
        live.deploy.go_back(reason="ana: looks odd")
    serving = {s.host for s in live.router.state().of(BLUE) if s.mode is ServerMode.READY}
    assert serving == {"gpu-0", "gpu-2"}
    assert live.share(BLUE) == 1
    live.hosts["gpu-1"].fault = None
    assert live.deploy.go_back(reason="again")["outcome"] == "rolled back"
    assert_old_serves(live)


CALLS = ("stop", "put_model", "start", "status", "set_modes", "shift")


@pytest.mark.parametrize("ends_well", [True, False], ids=["a retry goes on", "somebody goes back"])
@pytest.mark.parametrize("after", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("call", CALLS)
def test_a_controller_killed_while_it_exchanges_a_host_leaves_nothing_half_done(
    live, call, after, ends_well
):
    steps = begun(live)
    steps.move("to-2", "gpu-0")
    around = {"after" if after else "before": killed}
    host, router = live.hosts["gpu-1"], live.deploy.tools.router
    live.hosts["gpu-1"] = Around(host, call, **around)
    tools = replace(live.tools(), router=Around(router, call, **around))
    with pytest.raises(Killed):
        Steps(tools).move("to-2", "gpu-1")
    live.hosts["gpu-1"] = host
    if ends_well:
        assert live.run(2, "rolling")["outcome"] == "live"
        assert live.served(GREEN) == {live.digest(2)}
        assert live.share(GREEN) == 1
        assert {s.weight for s in live.router.state().of(GREEN)} == {100}
    else:
        assert live.deploy.go_back(reason="ana: gone")["outcome"] == "rolled back"
        assert_old_serves(live)
