"""Controllers and the router are killed or frozen in the middle of rollouts, under traffic.

Everything is real but the engines' model: processes, HAProxy, Postgres, SIGKILL. `make test-crash`.
"""

import json
import multiprocessing
import os
import signal
import time
from collections import Counter
from dataclasses import replace
from itertools import count

import psutil
import pytest

from greenlight.adapters import database
from greenlight.adapters.load_plan import GoldenPrompt, LoadPlan
from greenlight.adapters.rollout_store import DatabaseJournal, DatabaseLeases
from greenlight.adapters.traffic import Traffic
from greenlight.core.errors import LostLeaseError
from greenlight.deploy.colours import Colour
from greenlight.deploy.journal import Event, Phase, Step
from greenlight.deploy.ports import EngineState, ServerMode
from greenlight.registry.tags import Alias
from greenlight.testing import crashing_rollout
from greenlight.testing.crashing_rollout import AFTER, BEFORE, Point
from greenlight.testing.haproxy_worlds import haproxy_program
from greenlight.testing.local_fleet import FLEET, MODEL, local_fleet
from greenlight.testing.servers import postgres_binaries, postgres_server
from greenlight.testing.simulation import Simulation

pytestmark = [
    pytest.mark.crash,
    pytest.mark.timeout(600),
    pytest.mark.skipif(haproxy_program() is None, reason="HAProxy is not installed"),
    pytest.mark.skipif(postgres_binaries() is None, reason="PostgreSQL is not installed"),
]

KILLED = -signal.SIGKILL
PATIENCE_S = 60
SLOW = Simulation(first_token_s=0.01, token_s=0.001, tokens=8, slow_first_token=20.0)
"""Found out by the comparison, although every request is answered: none may be dropped."""
PROMPTS = tuple(GoldenPrompt(id=n, text=f"prompt {n}", max_tokens=8) for n in range(5))
BACK = (Step.ROLL_BACK, Step.CLEAN_UP, Step.FINISH)

# Each controller is a process of its own, forked from one that has imported everything: imports
# would take most of the time of a hundred rollouts.
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

    def controller(self, version, *, rollout_id=None, kill_at=None, stop_at=None):
        """Start a controller's process."""
        arguments = [str(self.fleet.root), self.database_url, rollout_id or f"to-{version}"]
        arguments += [str(version)]
        arguments += ["--kill-at", str(kill_at)] if kill_at else []
        arguments += ["--stop-at", str(stop_at)] if stop_at else []
        process = PROCESSES.Process(target=crashing_rollout.main, args=(arguments,), daemon=True)
        process.start()
        return process

    def run(self, version, **how):
        """Run a controller to its end; return its exit code, 0 or -SIGKILL."""
        return exit_code(self.controller(version, **how))

    def ended(self, version):
        return crashing_rollout.ended(self.fleet.root, f"to-{version}")

    def events(self, version):
        return self.journal.events(f"to-{version}")

    def live(self):
        return self.deploy.status()["live"]

    def traffic(self, rate=25):
        plan = LoadPlan(rate=rate, prompts=PROMPTS, stream_share=0.5, timeout_s=30)
        return Traffic(self.fleet.url, model=MODEL, plan=plan)

    def wait_for(self, version, phase, step, subject=""):
        wanted = (phase, step, subject)
        wait_until(lambda: wanted in [(e.phase, e.step, e.subject) for e in self.events(version)])

    def picture(self):
        """Everything that a controller can change."""
        state = self.fleet.router.state()
        aliases = (self.fleet.root / "versions" / "aliases.json").read_text()
        engines = {
            (name, colour): host.status(colour)
            for name, host in self.fleet.hosts.items()
            for colour in Colour
        }
        servers = tuple(replace(s, requests=0, errors=0, sessions=0) for s in state.servers)
        rows = [(r, self.journal.events(r.id)) for r in self.journal.rollouts(FLEET)]
        return state.fence, servers, aliases, engines, rows, self.engine_processes()

    def engine_processes(self):
        """How many engines there are, by port."""
        command_lines = [
            " ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])
        ]
        return {
            slot.port: sum(
                "engine_simulator" in line and f"--port {slot.port} " in f"{line} "
                for line in command_lines
            )
            for host in self.fleet.fleet.hosts
            for slot in (host.slots.blue, host.slots.green)
        }

    def assert_serves(self, version):
        """One version is active, and nothing is left of any other."""
        live = self.live()
        assert live["version"] == version
        colour = Colour(live["colour"])
        state = self.fleet.router.state()
        assert state.share(colour) == 1
        assert {s.mode for s in state.of(colour.other)} == {ServerMode.MAINT}
        for host in self.fleet.hosts.values():
            serving, idle = host.status(colour), host.status(colour.other)
            assert (serving.state, serving.served_digest) == (EngineState.READY, live["digest"])
            assert idle.state is EngineState.STOPPED
        assert self.engine_processes() == {
            host.slots.of(c).port: int(c is colour)
            for host in self.fleet.fleet.hosts
            for c in Colour
        }
        aliases = json.loads((self.fleet.root / "versions" / "aliases.json").read_text())
        assert aliases == {str(Alias.CHAMPION): version}
        assert self.leases.current(FLEET) is None

    def assert_done_once(self, version):
        """No step was done twice, and the rollout ended once."""
        done = Counter((e.step, e.subject) for e in self.events(version) if e.phase is Phase.DONE)
        assert set(done.values()) == {1}
        assert done[Step.FINISH, ""] == 1


def exit_code(process):
    process.join(PATIENCE_S)
    assert process.exitcode is not None, "the controller hangs"
    return process.exitcode


def wait_until(holds, *, at_most_s=PATIENCE_S):
    deadline = time.monotonic() + at_most_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


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


def kill_everywhere(world, entries, new_version, converged):
    """Run a rollout for every entry: killed before it, the retry killed after it, retried."""
    left = [replace(entry, side=side) for entry in entries for side in (BEFORE, AFTER)]
    assert left
    while left:
        point, version = left.pop(0), new_version()
        began = time.monotonic()
        assert world.run(version, kill_at=point) == KILLED, f"never came to {point}"
        after = replace(point, side=AFTER)
        if point != after and world.run(version, kill_at=after) == KILLED:
            left.remove(after)
        converged(version, point)
        print(f"{point}: {time.monotonic() - began:.1f} s")


def entries_of(world, version, steps=tuple(Step)):
    """Return the journal's entries of a rollout that nobody disturbed."""
    events = [e for e in world.events(version) if e.step in steps]
    return list(dict.fromkeys(Point(phase=e.phase, step=e.step, subject=e.subject) for e in events))


def test_a_controller_killed_at_any_entry_of_a_rollout_is_carried_on_by_its_retry(world):
    undisturbed = world.new_version()
    assert world.run(undisturbed) == 0

    def converged(version, point):
        assert world.run(version) == 0, (point, world.ended(version))
        assert world.ended(version)["outcome"] == "live"
        world.assert_serves(version)
        world.assert_done_once(version)
        assert_nothing_dropped(traffic)

    with world.traffic() as traffic:
        kill_everywhere(world, entries_of(world, undisturbed), world.new_version, converged)
    assert_nothing_dropped(traffic)


def test_a_controller_killed_while_it_goes_back_is_carried_on_by_its_retry(world):
    before = world.live()["version"]
    undisturbed = world.new_version(SLOW)
    assert world.run(undisturbed) == 1
    failed = [Point(phase=Phase.FAILED, step=Step.ANALYSE, subject="50")]
    entries = entries_of(world, undisturbed, BACK)
    assert {entry.step for entry in entries} == set(BACK)

    def converged(version, point):
        assert world.run(version) == 1, point
        assert world.deploy.history()[-1]["outcome"] == "rolled back", point
        world.assert_serves(before)
        world.assert_done_once(version)
        assert_nothing_dropped(traffic)

    with world.traffic() as traffic:
        kill_everywhere(world, entries + failed, lambda: world.new_version(SLOW), converged)
    assert_nothing_dropped(traffic)
