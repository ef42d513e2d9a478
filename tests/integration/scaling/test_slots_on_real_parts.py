"""The loop on a real HAProxy and real engine processes, while clients stream: none is cut."""

import shutil
import time
from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
import pytest

from greenlight.adapters.load_plan import GoldenPrompt, LoadPlan
from greenlight.adapters.traffic import Traffic
from greenlight.core.digest import digest_bytes
from greenlight.deploy.journal import history_of, live
from greenlight.deploy.ports import EngineState
from greenlight.deploy.request import DeployRequest
from greenlight.entrypoints.scaling_slots import SlotLoop
from greenlight.scaling.capacity import HostCapacity
from greenlight.scaling.demand_series import MINUTE, DemandSeries
from greenlight.scaling.kept import KeptSchedule, ScheduleState
from greenlight.scaling.scaling_file import FleetScaling
from greenlight.scaling.schedule import Limits, Schedule, Size, WeeklyEntry
from greenlight.scaling.schedule_file import write_schedule
from greenlight.testing.local_fleet import FLEET, MODEL, local_fleet
from greenlight.testing.memory_rollouts import MemoryJournal, MemoryLeases
from greenlight.testing.memory_schedules import MemorySchedules
from greenlight.testing.simulation import Simulation

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="HAProxy is not installed"),
]
LONG = Simulation(first_token_s=0.05, token_s=0.05, tokens=30)
"""Answers of a second and a half, so that some are on a host when it is drained."""
PROMPTS = tuple(GoldenPrompt(id=n, text=f"prompt {n}", max_tokens=30) for n in range(5))


class Load:
    """Tokens a second that the loop is told."""

    now = 1000.0

    def demand(self, start, end):
        at = np.datetime64((end - MINUTE).replace(tzinfo=None), "us")
        return DemandSeries(start=at, step=MINUTE, values=np.array([self.now]))

    def hosts(self, start, end):
        return None


class World:
    def __init__(self, fleet):
        leases = MemoryLeases(lambda: datetime.now(UTC))
        self.fleet, self.load, self.store = fleet, Load(), MemorySchedules()
        self.deploy = fleet.deploy(leases=leases, journal=MemoryJournal(leases))
        fleet.add_version(1, LONG)
        request = DeployRequest(fleet=FLEET, version=1)
        self.deploy.run(request, rollout_id="to-1", by="test")
        self.live = live(history_of(self.deploy.tools.journal, FLEET))
        self.store.add(applied())
        self.loop = SlotLoop(
            tools=self.deploy.tools,
            scaling=FleetScaling(ceiling=2, drain_s=30, down_window_s=1.0),
            store=self.store,
            source=self.load,
            capacity=lambda: HostCapacity(tokens_per_second=1000.0, source="a test"),
        )

    def until(self, condition, *, load, seconds=60.0):
        """Look until it is so; return what was done on the way."""
        self.load.now, done, deadline = load, [], time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, done
            done += [step.line for step in self.loop.cycle().steps]
            time.sleep(0.3)
        return done

    def engines(self):
        hosts = self.fleet.hosts.items()
        return [n for n, h in hosts if h.status(self.live.colour).state is EngineState.READY]

    def router_metrics(self):
        """What the alert EngineDown knows a resting host by."""
        router = self.fleet.fleet.router
        url = f"http://{router.metrics_address}:{router.metrics_port}/metrics"
        return httpx.get(url, trust_env=False).text

    def serving(self):
        servers = self.fleet.router.state().of(self.live.colour)
        return [s.host for s in servers if s.mode == "ready" and s.up and s.weight]


def applied():
    now = datetime.now(UTC)
    week = WeeklyEntry(start=0, end=0, size=Size(minimum=1, desired=1, maximum=2), reason="always")
    text = write_schedule(
        Schedule(
            fleet=FLEET, zone="UTC", made_at=now - timedelta(hours=1), lead_s=1.0, gpus_per_host=0,
            basis="a test", limits=Limits(floor=1, ceiling=2), weekly=(week,),
        )
    )  # fmt: skip
    return KeptSchedule(
        digest=digest_bytes(text.encode()), fleet=FLEET, text=text, state=ScheduleState.APPLIED,
        made_at=now, made_by="test", applied_at=now, applied_by="test",
    )  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with local_fleet(tmp_path_factory.mktemp("slots") / "a home with spaces") as fleet:
        yield World(fleet)


def test_hosts_come_and_go_while_clients_stream_and_none_is_cut(world):
    assert world.serving() == ["host-0", "host-1"]
    plan = LoadPlan(rate=15, prompts=PROMPTS, stream_share=0.8, timeout_s=20)
    with Traffic(world.fleet.url, model=MODEL, plan=plan) as traffic:
        fewer = world.until(lambda: world.engines() == ["host-0"], load=300.0)
        assert f'server="host-1-{world.live.colour}",state="MAINT"}} 1' in world.router_metrics()
        assert f'server="host-0-{world.live.colour}",state="MAINT"}} 0' in world.router_metrics()
        more = world.until(lambda: len(world.serving()) == 2, load=1900.0)
        time.sleep(2)
    assert fewer[0].startswith("drain host-1")
    assert fewer[-1].startswith("stop host-1: nothing runs on it")
    assert more[0].startswith("start host-1")
    counts = traffic.counts
    assert counts.requests > 60
    assert counts.failed == 0, counts.reasons
