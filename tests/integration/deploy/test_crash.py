"""Controllers and the router are killed or frozen in the middle of rollouts, under traffic.

Everything is real but the engines' model: processes, HAProxy, Postgres, SIGKILL. `make test-crash`.
"""

import json
import multiprocessing
import os
import re
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import count
from math import ceil

import httpx
import psutil
import pytest

from greenlight.adapters import database
from greenlight.adapters.load_plan import GoldenPrompt, LoadPlan
from greenlight.adapters.rollout_store import DatabaseJournal, DatabaseLeases
from greenlight.adapters.traffic import Traffic
from greenlight.deploy.colours import Colour
from greenlight.deploy.journal import Phase, Step
from greenlight.deploy.ports import EngineState, ServerMode
from greenlight.registry.tags import Alias
from greenlight.testing import crashing_rollout
from greenlight.testing.crashing_rollout import AFTER, BEFORE, Point
from greenlight.testing.haproxy_worlds import haproxy_program
from greenlight.testing.local_fleet import FLEET, MODEL, local_fleet
from greenlight.testing.servers import postgres_binaries, postgres_server
from greenlight.testing.simulation import Simulation
from greenlight.testing.waiting import wait_for

pytestmark = [
    pytest.mark.crash,
    pytest.mark.timeout(900),
    pytest.mark.skipif(haproxy_program() is None, reason="HAProxy is not installed"),
    pytest.mark.skipif(postgres_binaries() is None, reason="PostgreSQL is not installed"),
]

KILLED = -signal.SIGKILL
PATIENCE_S = 60
wait_until = partial(wait_for, seconds=PATIENCE_S)
LEASE_S = crashing_rollout.SETTINGS["lease_s"]
SLOW = Simulation(first_token_s=0.01, token_s=0.001, tokens=8, slow_first_token=100.0)
"""Found out by the comparison, although every request is answered: none may be dropped.

A second: on a busy machine the others take some tenths of one."""
PROMPTS = tuple(GoldenPrompt(id=n, text=f"prompt {n}", max_tokens=8) for n in range(5))
BACK = (Step.ROLL_BACK, Step.CLEAN_UP, Step.FINISH)

# Each controller is a process of its own, forked from one that has imported everything: imports
# would take most of the time of a hundred controllers.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["__main__", crashing_rollout.__name__])


class World:
    def __init__(self, fleet, database_url):
        self.fleet, self.database_url = fleet, database_url
        engine = database.open_engine(database_url)
        self.leases, self.journal = DatabaseLeases(engine), DatabaseJournal(engine)
        settings = crashing_rollout.SETTINGS
        self.deploy = fleet.deploy(leases=self.leases, journal=self.journal, rollout=settings)
        self._versions = count(1)

    def new_version(self, behaviour=None):
        version = next(self._versions)
        self.fleet.add_version(version, behaviour)
        return version

    def controller(self, version, *, kill_at=None, stop_at=None):
        """Start the process of a controller, the first or the next of this rollout."""
        arguments = [str(self.fleet.root), self.database_url, f"to-{version}", str(version)]
        arguments += ["--kill-at", str(kill_at)] if kill_at else []
        arguments += ["--stop-at", str(stop_at)] if stop_at else []
        process = PROCESSES.Process(target=crashing_rollout.main, args=(arguments,), daemon=True)
        process.start()
        return process

    def run(self, version, **how):
        """Run a controller to its end; return its exit code."""
        return exit_code(self.controller(version, **how))

    def ended(self, version):
        """What the last controller that was not killed said."""
        return crashing_rollout.ended(self.fleet.root, f"to-{version}")

    def events(self, version):
        return self.journal.events(f"to-{version}")

    def entries(self, version, steps=tuple(Step)):
        """Where a rollout that nobody disturbed can be killed."""
        return [
            Point(phase=e.phase, step=e.step, subject=e.subject)
            for e in self.events(version)
            if e.step in steps
        ]

    def live(self):
        return self.deploy.status()["live"]

    def traffic(self, rate=25):
        plan = LoadPlan(rate=rate, prompts=PROMPTS, stream_share=0.5, timeout_s=30)
        return Traffic(self.fleet.url, model=MODEL, plan=plan)

    def servers(self):
        """What the router does, without its counters."""
        found = self.fleet.router.state().servers
        return [replace(s, requests=0, errors=0, sessions=0) for s in found]

    def aliases(self):
        return json.loads((self.fleet.root / "versions" / "aliases.json").read_text())

    def processes(self):
        """How many engines run, by port; and how many routers."""
        lines = [" ".join(p.info["cmdline"] or ()) + " " for p in psutil.process_iter(["cmdline"])]
        ports = [h.slots.of(c).port for h in self.fleet.fleet.hosts for c in Colour]
        return Counter(
            port for port in ports for line in lines
            if "engine_simulator" in line and f"--port {port} " in line
        ) | Counter(router=len(self._routers()))  # fmt: skip

    def _routers(self):
        return [
            p for p in psutil.process_iter(["name", "cwd"])
            if (p.info["name"], p.info["cwd"]) == ("haproxy", str(self.fleet.root / "router"))
        ]  # fmt: skip

    def picture(self):
        """Everything that a controller can change."""
        rows = [(r, self.journal.events(r.id)) for r in self.journal.rollouts(FLEET)]
        fence = self.fleet.router.state().fence
        return fence, self.servers(), self.aliases(), self.processes(), rows

    def assert_serves(self, version):
        """One version is active, and nothing is left of any other."""
        live = self.live()
        assert live["version"] == version
        colour = Colour(live["colour"])
        state = self.fleet.router.state()
        assert state.share(colour) == 1
        assert {s.mode for s in state.of(colour.other)} == {ServerMode.MAINT}
        for host in self.fleet.hosts.values():
            found = host.status(colour)
            assert (found.state, found.served_digest) == (EngineState.READY, live["digest"])
        serving = [host.slots.of(colour).port for host in self.fleet.fleet.hosts]
        assert self.processes() == Counter([*serving, "router"])
        assert self.aliases() == {str(Alias.CHAMPION): version}
        # Who was killed after its very last entry leaves a lease, which ends by itself.
        wait_until(lambda: self.leases.current(FLEET) is None, seconds=LEASE_S + 1)

    def assert_done_once(self, version):
        """No step was done twice, and the rollout ended once."""
        done = Counter((e.step, e.subject) for e in self.events(version) if e.phase is Phase.DONE)
        assert set(done.values()) == {1}
        assert done[Step.FINISH, ""] == 1


def exit_code(process):
    process.join(PATIENCE_S)
    assert process.exitcode is not None, "the controller hangs"
    return process.exitcode


def wait_until_frozen(process):
    wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)


def assert_nothing_dropped(traffic):
    counts = traffic.counts
    dropped = (counts.failed, counts.non_2xx, counts.truncated)
    assert dropped == (0, 0, 0), counts.reasons


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("crash") / "fleet"
    with postgres_server(postgres_binaries()) as url, local_fleet(root) as fleet:
        database.migrate(url)
        world = World(fleet, url)
        assert world.run(world.new_version()) == 0
        yield world


def test_what_a_crash_may_leave_would_be_noticed(world):
    version, colour = world.live()["version"], Colour(world.live()["colour"])
    router, host = world.fleet.router, next(iter(world.fleet.hosts.values()))
    fence, key = router.state().fence, (host.name, colour.other)
    models = world.deploy.tools.models
    world.assert_serves(version)

    models.registry.set_alias(MODEL, alias=Alias.CHAMPION, version=version + 1)
    with pytest.raises(AssertionError):
        world.assert_serves(version)
    models.registry.set_alias(MODEL, alias=Alias.CHAMPION, version=version)

    host.start(colour.other, model=models.folder(MODEL, version))
    with pytest.raises(AssertionError):
        world.assert_serves(version)
    host.stop(colour.other)

    router.set_modes({key: ServerMode.READY}, fence=fence)
    with pytest.raises(AssertionError):
        world.assert_serves(version)
    router.set_modes({key: ServerMode.MAINT}, fence=fence)
    world.assert_serves(version)


def kill_everywhere(world, entries, *, new_version, converges):
    """Run rollouts until a controller was killed on both sides of every entry.

    A rollout is killed up to four times, far apart: its first controller, and three retries.
    """
    left = [replace(entry, side=side) for entry in entries for side in (BEFORE, AFTER)]
    while left:
        version, chosen = new_version(), left[:: ceil(len(left) / 4)]
        hit = [point for point in chosen if world.run(version, kill_at=point) == KILLED]
        assert hit, f"{left[0]} never came"
        left = [point for point in left if point not in hit]
        converges(version)


def test_a_killed_controller_is_carried_on_by_its_retry(world):
    undisturbed = world.new_version()
    assert world.run(undisturbed) == 0
    entries = world.entries(undisturbed)
    assert {entry.step for entry in entries} == set(Step) - set(BACK) | {Step.FINISH}

    def converges(version):
        assert world.run(version) == 0, world.ended(version)
        assert world.ended(version)["outcome"] == "live"
        world.assert_serves(version)
        world.assert_done_once(version)
        assert_nothing_dropped(traffic)

    with world.traffic() as traffic:
        kill_everywhere(world, entries, new_version=world.new_version, converges=converges)
    assert_nothing_dropped(traffic)


def test_a_controller_killed_while_it_goes_back_is_carried_on_by_its_retry(world):
    before = world.live()["version"]
    undisturbed = world.new_version(SLOW)
    assert world.run(undisturbed) == 1
    entries = world.entries(undisturbed, BACK)
    assert {entry.step for entry in entries} == set(BACK)
    entries += [e for e in world.entries(undisturbed) if e.phase is Phase.FAILED]

    def converges(version):
        assert world.run(version) == 1
        assert world.deploy.history()[-1]["outcome"] == "rolled back"
        world.assert_serves(before)
        world.assert_done_once(version)
        assert_nothing_dropped(traffic)

    with world.traffic() as traffic:
        kill_everywhere(
            world, entries, new_version=lambda: world.new_version(SLOW), converges=converges
        )
    assert_nothing_dropped(traffic)


def test_a_router_killed_at_half_the_traffic_comes_back_as_it_was_and_the_rollout_goes_on(world):
    version = world.new_version()
    judged = Point(phase=Phase.DONE, step=Step.ANALYSE, subject="50")
    began = replace(judged, phase=Phase.BEGAN)
    pid = world.fleet.router.process.pid()
    with world.traffic(rate=60) as traffic, ThreadPoolExecutor(1) as pool:
        controller = world.controller(version, stop_at=judged)
        wait_until(lambda: began in world.entries(version))
        stream = pool.submit(long_stream, world)
        before = world.servers()
        assert {s.weight for s in before} == {50}
        wait_until(lambda: sum(s.sessions for s in world.fleet.router.state().servers) > 0)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(httpx.TransportError):
            stream.result(PATIENCE_S)
        wait_until_frozen(controller)
    assert world.fleet.router.process.pid() not in (pid, None)
    assert traffic.counts.failed > 0  # nobody listened for a moment
    assert traffic.counts.non_2xx == 0, traffic.counts.reasons
    with world.traffic() as afterwards:
        assert world.servers() == before
        os.kill(controller.pid, signal.SIGCONT)
        assert exit_code(controller) == 0, world.ended(version)
    assert_nothing_dropped(afterwards)
    world.assert_serves(version)
    world.assert_done_once(version)


def long_stream(world):
    """Ask for more than comes before the router's end; to end early without an error is a lie."""
    body = {
        "model": MODEL, "messages": [{"role": "user", "content": "go on"}],
        "stream": True, "max_tokens": 20_000, "ignore_eos": True,
    }  # fmt: skip
    url = f"{world.fleet.url}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, timeout=PATIENCE_S) as response:
        for _ in response.iter_bytes():
            pass


def test_of_two_controllers_at_once_one_is_refused_with_who_and_since_when(world):
    versions = world.new_version(), world.new_version()
    both = [world.controller(version) for version in versions]
    codes = [exit_code(process) for process in both]
    assert sorted(codes) == [0, 1]
    winner, loser = versions[codes.index(0)], versions[codes.index(1)]
    refused = world.ended(loser)
    assert refused["error"] == "RefusedError"
    who = rf"is being changed by to-{winner} since \d{{4}}-\d\d-\d\dT\d\d:\d\d"
    assert re.search(who, refused["message"])
    assert f"to-{loser}" not in [entry["rollout_id"] for entry in world.deploy.history()]
    world.assert_serves(winner)
    world.assert_done_once(winner)


@pytest.mark.parametrize(
    ("point", "refused_by"),
    [
        (Point(phase=Phase.BEGAN, step=Step.SHIFT, subject="50", side=AFTER), "the router has"),
        (Point(phase=Phase.DONE, step=Step.SHIFT, subject="50"), "the fleet's lease has"),
    ],
    ids=["by the router", "by the journal"],
)
def test_a_controller_frozen_beyond_its_lease_is_refused_and_changes_nothing(
    world, point, refused_by
):
    frozen, version = world.new_version(), world.new_version()
    with world.traffic() as traffic:
        controller = world.controller(frozen, stop_at=point)
        wait_until_frozen(controller)
        wait_until(lambda: world.leases.current(FLEET) is None)
        assert world.run(version) == 0, world.ended(version)
        before = world.picture()
        os.kill(controller.pid, signal.SIGCONT)
        assert exit_code(controller) == 1
        assert world.ended(frozen)["error"] == "LostLeaseError"
        assert refused_by in world.ended(frozen)["message"]
        assert world.picture() == before
    assert_nothing_dropped(traffic)
    world.assert_serves(version)
    assert world.deploy.steps.outcome(f"to-{frozen}")["outcome"] == "rolled back"
