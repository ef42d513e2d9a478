"""Rolling rollouts over three real hosts behind a real HAProxy, under clients' requests."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count

import pytest

from greenlight.adapters.load_plan import GoldenPrompt, LoadPlan
from greenlight.adapters.traffic import Traffic
from greenlight.core.errors import GateError
from greenlight.deploy.colours import Colour
from greenlight.deploy.journal import Phase, Step
from greenlight.deploy.ports import EngineState, ServerMode
from greenlight.deploy.request import DeployRequest
from greenlight.entrypoints.deploy import Deploy
from greenlight.testing.local_fleet import MODEL, QUICK, local_fleet
from greenlight.testing.memory_rollouts import MemoryJournal, MemoryLeases
from greenlight.testing.simulation import Simulation

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="HAProxy is not installed"),
]
HOSTS = ["host-0", "host-1", "host-2"]
LIVE = [
    {"name": "live-errors", "strategy": "live_errors", "margin": 0.1, "alone": 0.1},
    {"name": "live-ttft", "strategy": "live_ttft", "ttft_s": 0.5, "margin": 0.3, "required": True},
]
ROLLING = {
    "strategy": "rolling",
    "load": QUICK["load"] | {"rate": 30},
    "analysis": QUICK["analysis"] | {"rules": [*QUICK["analysis"]["rules"], *LIVE]},
}
ENGINE = {"first_token_s": 0.01, "token_s": 0.001, "tokens": 8}
PROMPTS = tuple(GoldenPrompt(id=n, text=f"prompt {n}", max_tokens=8) for n in range(5))


class World:
    def __init__(self, fleet):
        self.fleet = fleet
        self._leases = MemoryLeases(lambda: datetime.now(UTC))
        self.journal = MemoryJournal(self._leases)
        self.deploy = self.controller()
        self._versions = count(1)

    def controller(self):
        """Return another controller of the same fleet, as after a crash of the first."""
        return self.fleet.deploy(leases=self._leases, journal=self.journal, rollout=ROLLING)

    def not_asking_first(self):
        """Return what deploys without a smoke test, which would find the fault alone."""
        tools = replace(self.deploy.tools, smoke_test=lambda *_, **__: {"engines": 0})
        return Deploy(tools, rollout_file=self.fleet.root / "rollout.yaml")

    def new_version(self, **fault):
        version = next(self._versions)
        self.fleet.add_version(version, Simulation.model_validate(ENGINE | fault))
        return version

    def request(self, version):
        return DeployRequest(fleet=self.fleet.fleet.name, version=version)

    def run(self, version, deploy=None):
        return (deploy or self.deploy).run(
            self.request(version), rollout_id=f"to-{version}", by="test"
        )

    def traffic(self):
        plan = LoadPlan(rate=40, prompts=PROMPTS, stream_share=0.5, timeout_s=20)
        return Traffic(self.fleet.url, model=MODEL, plan=plan)

    def analysed(self, version):
        """Return what the journal says of every host that was judged."""
        events = self.journal.events(f"to-{version}")
        return {
            event.subject: event.detail | {r["rule"]: r for r in event.detail["rules"]}
            for event in events
            if (event.step, event.phase) == (Step.ANALYSE, Phase.DONE)
        }

    def assert_serves(self, version):
        """It serves on every host, by engines and by the router, and nothing else runs."""
        live = self.deploy.status()["live"]
        colour = Colour(live["colour"])
        assert live["version"] == version
        state = self.fleet.router.state()
        assert {(s.mode, s.up, s.weight) for s in state.of(colour)} == {
            (ServerMode.READY, True, 100)
        }
        assert {s.mode for s in state.of(colour.other)} == {ServerMode.MAINT}
        for host in self.fleet.hosts.values():
            assert host.status(colour).served_digest == live["digest"]
            assert host.status(colour.other).state is EngineState.STOPPED


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("rolling") / "a home with spaces"
    with local_fleet(root, hosts=len(HOSTS)) as fleet:
        world = World(fleet)
        world.run(world.new_version())
        yield world


def assert_nothing_dropped(traffic):
    counts = traffic.counts
    assert counts.requests > 100
    assert counts.requests > counts.streams > 30
    assert (counts.failed, counts.non_2xx, counts.truncated) == (0, 0, 0), counts.reasons


def test_an_equal_version_goes_live_host_by_host_and_nobody_notices(world):
    version = world.new_version()
    with world.traffic() as traffic:
        assert world.run(version)["outcome"] == "live"
    assert_nothing_dropped(traffic)
    world.assert_serves(version)

    judged = world.analysed(version)
    assert list(judged) == HOSTS
    assert judged["host-0"]["n_blue"] > 1.5 * judged["host-0"]["n_green"]
    assert judged["host-1"]["n_green"] > 1.5 * judged["host-1"]["n_blue"]
    for host in ("host-0", "host-1"):
        assert (judged[host]["errors"]["blue"], judged[host]["errors"]["green"]) == (0, 0)
        assert judged[host]["ttft"]["verdict"] == judged[host]["live-ttft"]["verdict"] == "pass"
    alone = judged["host-2"]
    assert (alone["n_blue"], alone["errors"]["verdict"]) == (None, "pass")
    assert alone["ttft"]["verdict"] == "not applicable"


def test_a_version_that_fails_requests_is_gone_again_and_only_its_own_failed(world):
    before = world.deploy.status()["live"]["version"]
    version = world.new_version(error_rate=0.4)
    with world.traffic() as traffic, pytest.raises(GateError, match="on host-0, 1 of 3 hosts"):
        world.run(version, world.not_asking_first())
    counts = traffic.counts
    assert 0 < counts.failed == counts.non_2xx, counts.reasons
    assert counts.truncated == 0
    assert [reason for reason in counts.reasons if "500" not in reason] == []
    world.assert_serves(before)
    assert world.deploy.history()[-1]["outcome"] == "rolled back"


def test_a_version_that_lets_clients_wait_is_gone_again_and_nothing_is_dropped(world):
    before = world.deploy.status()["live"]["version"]
    version = world.new_version(slow_first_token=100.0)
    with world.traffic() as traffic, pytest.raises(GateError, match="on host-0, 1 of 3 hosts"):
        world.run(version)
    assert_nothing_dropped(traffic)
    world.assert_serves(before)


def test_going_back_after_two_hosts_brings_the_old_version_back_to_both(world):
    before = world.deploy.status()["live"]["version"]
    version = world.new_version()
    with world.traffic() as traffic:
        begun(world, version)
        world.deploy.steps.move(f"to-{version}", "host-0")
        world.deploy.steps.move(f"to-{version}", "host-1")
        ended = world.deploy.go_back(reason="test: looks odd")
    assert ended["outcome"] == "rolled back"
    assert_nothing_dropped(traffic)
    world.assert_serves(before)


def test_a_controller_that_is_gone_after_the_first_host_is_carried_on_by_the_next(world):
    version = world.new_version()
    with world.traffic() as traffic:
        begun(world, version)
        world.deploy.steps.move(f"to-{version}", "host-0")
        assert world.run(version, world.controller())["outcome"] == "live"
    assert_nothing_dropped(traffic)
    world.assert_serves(version)
    assert list(world.analysed(version)) == HOSTS


def begun(world, version):
    """Begin, and bring the model to every host."""
    world.deploy.begin(world.request(version), rollout_id=f"to-{version}", by="test")
    for host in HOSTS:
        world.deploy.steps.prepare(f"to-{version}", host)
