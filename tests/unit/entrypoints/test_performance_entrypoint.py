"""Benchmarks of what is live: a simulated engine, and journal, router and registry in memory."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from greenlight.core.digest import manifest_of
from greenlight.core.errors import GateError, RefusedError, UnavailableError
from greenlight.deploy.colours import Colour
from greenlight.deploy.fleet import Fleet
from greenlight.deploy.journal import Event, Phase, Rollout, Step
from greenlight.deploy.performance import Benchmark, Level, PerformanceSettings
from greenlight.deploy.ports import ServerMode
from greenlight.entrypoints.performance import Performance, due_fleets
from greenlight.entrypoints.performance_load import send_load
from greenlight.registry.ports import Registration, RunLog
from greenlight.testing.engine_simulator import EngineSimulator
from greenlight.testing.memory_registry import MemoryRegistry
from greenlight.testing.memory_rollouts import MemoryJournal, MemoryLeases
from greenlight.testing.memory_router import MemoryRouter
from greenlight.testing.simulation import Simulation

pytestmark = pytest.mark.timeout(120)
SETTINGS = PerformanceSettings(
    levels=(Level(concurrency=8, requests=40),), new_tokens=8, rate=100, seconds=1.2,
    warm_up=2, timeout_s=10, slower=0.5, fewer=0.2, gap_s=0.5,
)  # fmt: skip
BEGAN = datetime(2026, 11, 24, tzinfo=UTC)


class World:
    """A fleet of one host whose router is the engine itself."""

    def __init__(self, tmp_path, engine):
        self.engine = engine
        port = int(engine.url.rpartition(":")[2])
        self.fleet = Fleet.model_validate(
            {
                "name": "f", "model": "simulated",
                "engine": {"kind": "simulator", "drain_s": 1, "shutdown_s": 1},
                "router": {"port": port},
                "hosts": [{"name": "h", "root": "h",
                           "slots": {"blue": {"port": 1}, "green": {"port": 2}}}],
            }
        )  # fmt: skip
        self.router = MemoryRouter(["h"])
        self.journal = MemoryJournal(MemoryLeases(lambda: datetime.now(UTC)))
        self.registry = MemoryRegistry()
        self.digests = {}
        for version in (1, 2, 3):
            folder = tmp_path / str(version)
            folder.mkdir()
            (folder / "model.safetensors").write_text(f"{version}")
            registration = Registration(
                model="simulated", folder=folder, manifest=manifest_of(folder),
                run=RunLog(key="", name="import"), tags={},
            )  # fmt: skip
            self.digests[version] = self.registry.register(registration).digest
        self.rollouts = 0
        self.others = 0
        self.during = lambda: None

    def begin(self, version, previous=None):
        self.rollouts += 1
        rollout = Rollout(
            id=f"r{self.rollouts}", fleet="f", model="simulated", version=version,
            digest=self.digests[version], flags_digest="flags", strategy="canary",
            colour=Colour.BLUE, started_at=BEGAN + timedelta(hours=self.rollouts), started_by="t",
            previous_version=previous, previous_digest=previous and self.digests[previous],
        )  # fmt: skip
        return self.journal.open_rollout(rollout).id

    def write(self, rollout_id, step, **detail):
        self.journal.append(
            Event(rollout_id=rollout_id, at=BEGAN, step=step, phase=Phase.DONE, detail=detail)
        )

    def end(self, rollout_id):
        self.write(rollout_id, Step.FINISH, outcome="live", reason="")
        self.router.set_modes({("h", Colour.BLUE): ServerMode.READY}, fence=1)
        self.router.shift({Colour.BLUE: 100}, fence=1)

    def go_live(self, version, previous=None):
        self.end(self.begin(version, previous))

    def performance(self, **changes):
        def send(target, settings, *, key):
            sent, slot = send_load(target, settings, key=key), ("h", Colour.BLUE)
            counted = self.router.requests.get(slot, 0)
            self.router.requests[slot] = counted + sent.requests + self.others
            self.during()
            return sent

        values = {"settings": SETTINGS, "send": send, "sleep": lambda s: None}
        return Performance(
            fleet=self.fleet, router=self.router, journal=self.journal, registry=self.registry,
            **(values | changes),
        )  # fmt: skip

    def measure(self, *, again=True):
        return self.performance().measure(again=again)

    def tags(self, version):
        return self.registry.get("simulated", version).tags


@pytest.fixture
def world(tmp_path):
    with EngineSimulator(Simulation(first_token_s=0.05, token_s=0.01, tokens=8)) as engine:
        yield World(tmp_path, engine)


def test_what_is_live_is_measured_and_kept_with_its_version(world):
    world.go_live(1)
    found = world.measure()
    assert found["result"] == "no earlier benchmark"
    numbers = {n["name"]: n for n in found["numbers"]}
    assert 0.05 <= numbers["ttft_p50.8"]["value"] < 0.5
    assert numbers["ttft_p50.8"]["n"] == 40
    assert numbers["goodput"]["n"] > 60
    kept = Benchmark.model_validate_json(world.tags(1)["greenlight.performance.f"])
    assert (kept.version, kept.digest, kept.other_requests) == (1, world.digests[1], 0)
    run = next(r for r in world.registry.runs.values() if r.log.key.startswith("performance/"))
    assert run.ref.run_id == world.tags(1)["greenlight.performance_run"]
    assert run.log.tags["digest"] == world.digests[1]
    assert {"ttft_p50.8", "ttft_p50.8_low", "goodput"} < set(run.log.metrics)
    assert len(run.log.tables["performance/requests.json"]["ok"]) > 100


def test_a_slower_version_fails_with_the_numbers_and_is_recorded_first(world):
    world.go_live(1)
    world.measure()
    world.engine.change(slow_first_token=6.0, slow_tokens=6.0)
    world.go_live(2, previous=1)
    with pytest.raises(GateError, match=r"version 2 is slower .* than version 1: ttft_p50\.8 0"):
        world.measure()
    assert world.tags(2)["greenlight.performance_result"].startswith("regression: ttft_p50.8")
    assert len([r for r in world.registry.runs if r.startswith("performance/")]) == 2


def test_an_equal_version_is_never_called_slower(world):
    world.go_live(1)
    world.measure()
    world.go_live(2, previous=1)
    found = world.measure()
    assert found["result"] in ("no regression", "not enough data")
    assert found["comparison"]["before"] == 1


def test_a_version_that_was_never_measured_is_no_baseline(world):
    world.go_live(1)
    world.go_live(2, previous=1)
    assert world.measure()["result"] == "no earlier benchmark"


def test_the_same_version_with_a_new_rollout_is_not_its_own_baseline(world):
    world.go_live(1)
    world.go_live(1, previous=1)
    world.measure()
    assert world.measure()["result"] == "no earlier benchmark"


def test_clients_that_send_most_requests_make_the_comparison_void(world):
    world.go_live(1)
    world.measure()
    world.go_live(2, previous=1)
    world.others = 5000
    found = world.measure()
    assert found["result"] == "not enough data"
    assert "clients sent" in found["reason"]


def test_it_is_due_once_a_rollout(world):
    assert not world.performance().is_due()
    world.go_live(1)
    assert world.performance().is_due()
    world.measure()
    assert not world.performance().is_due()
    assert world.measure(again=False)["result"] == "measured already"
    world.go_live(2, previous=1)
    assert world.performance().is_due()


def test_a_promoted_rollout_is_waited_for(world):
    world.go_live(1)
    rollout = world.begin(2, previous=1)
    world.write(rollout, Step.PROMOTE)
    performance = world.performance(sleep=lambda s: world.end(rollout))
    assert performance.is_due()
    assert performance.measure(again=False)["version"] == 2


def test_a_rollout_on_its_way_is_not_measured(world):
    world.go_live(1)
    world.begin(2, previous=1)
    with pytest.raises(UnavailableError, match="rollout r2 is on its way"):
        world.measure()


def test_what_was_measured_while_a_rollout_began_is_thrown_away(world):
    world.go_live(1)
    world.during = lambda: world.begin(2, previous=1)
    with pytest.raises(UnavailableError, match="thrown away"):
        world.measure()
    assert "greenlight.performance.f" not in world.tags(1)


def test_a_fleet_that_serves_nothing_is_refused(world):
    with pytest.raises(RefusedError, match="serves nothing"):
        world.measure()


def test_a_router_that_sends_elsewhere_is_not_measured(world):
    world.go_live(1)
    world.router.set_modes({("h", Colour.GREEN): ServerMode.READY}, fence=1)
    world.router.shift({Colour.BLUE: 50, Colour.GREEN: 50}, fence=1)
    with pytest.raises(UnavailableError, match="sends 50% to blue"):
        world.measure()


def test_other_files_in_the_registry_are_refused(world):
    world.digests[1] = "0" * 64
    world.go_live(1)
    with pytest.raises(RefusedError, match="serves digest 000000000000"):
        world.measure()


def test_an_engine_that_answers_nothing_gives_no_benchmark(world):
    world.go_live(1)
    world.engine.change(error_rate=1.0)
    with pytest.raises(UnavailableError, match=r"answered none of .* HTTP 500"):
        world.measure()


def test_a_damaged_tag_counts_as_no_benchmark(world):
    world.go_live(1)
    tags = {"greenlight.performance.f": json.dumps({"version": 1})}
    world.registry.set_tags("simulated", version=1, tags=tags)
    assert world.performance().is_due()


def test_a_fleet_that_was_asked_for_is_the_only_one():
    assert due_fleets({"fleet": "f"}) == ["f"]


def test_simulators_are_measured_only_when_asked_for(tmp_path, monkeypatch, world):
    (tmp_path / "config").mkdir()
    fleets = {"fleets": [world.fleet.model_dump(mode="json")]}
    (tmp_path / "config/fleet.yaml").write_text(json.dumps(fleets))
    monkeypatch.setenv("GREENLIGHT_HOME", str(tmp_path))
    assert due_fleets({}) == []
