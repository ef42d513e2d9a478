"""A fleet in memory with a live version, a schedule, and a load that a test decides."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
from rollout_worlds import RolloutWorld

from greenlight.core.digest import digest_bytes
from greenlight.core.errors import UnavailableError
from greenlight.entrypoints.scaling_slots import SlotLoop
from greenlight.scaling.capacity import HostCapacity
from greenlight.scaling.demand_series import MINUTE, DemandSeries
from greenlight.scaling.kept import KeptSchedule, ScheduleState
from greenlight.scaling.scaling_file import FleetScaling
from greenlight.scaling.schedule import Limits, Schedule, Size, WeeklyEntry
from greenlight.scaling.schedule_file import write_schedule
from greenlight.testing.manual_clock import ManualClock
from greenlight.testing.memory_schedules import MemorySchedules

HOST = 100.0
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


class Load:
    """Tokens a second now; `None`: nobody measured it. `age`: of the newest sample."""

    def __init__(self):
        self.now, self.age, self.away = None, timedelta(minutes=1), False

    def demand(self, start, end):
        if self.away:
            raise UnavailableError("Prometheus does not answer")
        if self.now is None:
            return None
        at = np.datetime64((end - self.age).replace(tzinfo=None), "us")
        return DemandSeries(start=at, step=MINUTE, values=np.array([self.now]))

    def hosts(self, start, end):
        return None


def schedule(low, desired, high, *, overrides=()):
    size = Size(minimum=low, desired=desired, maximum=high)
    return Schedule(
        fleet="f", zone="UTC", made_at=NOW - timedelta(hours=1), lead_s=60.0, gpus_per_host=1,
        basis="b", limits=Limits(floor=1, ceiling=9), overrides=overrides,
        weekly=(WeeklyEntry(start=0, end=0, size=size, reason="always"),),
    )  # fmt: skip


def kept(made, state=ScheduleState.APPLIED):
    text = write_schedule(made)
    at = NOW if state is ScheduleState.APPLIED else None
    return KeptSchedule(
        digest=digest_bytes(text.encode()), fleet="f", text=text, state=state,
        made_at=made.made_at, made_by="t", applied_at=at,
    )  # fmt: skip


class SlotWorld:
    """Version 1 is live on every host; nothing is measured yet."""

    def __init__(self, tmp_path, hosts=3, size=(1, 2, 3)):
        self.rollouts = RolloutWorld(tmp_path, hosts=hosts)
        self.rollouts.run(1)
        self.clock, self.load, self.store = ManualClock(NOW), Load(), MemorySchedules()
        self.capacity = HostCapacity(tokens_per_second=HOST, source="benchmark")
        self.store.add(kept(schedule(*size)))
        self.loop = self.new_loop()

    def new_loop(self):
        return SlotLoop(
            tools=replace(self.rollouts.tools(), clock=self.clock),
            scaling=FleetScaling(ceiling=9, drain_s=60),
            store=self.store,
            source=self.load,
            capacity=lambda: self.capacity,
        )

    def cycle(self, *, load=None, later=30.0, **asked):
        """Look again after a while."""
        self.load.now = load
        self.clock.advance(later)
        return self.loop.cycle(**asked)

    @property
    def live(self):
        return next(iter(self.rollouts.hosts["gpu-0"].engines))

    def serving(self):
        return [s.host for s in self.rollouts.router.state().of(self.live)
                if s.mode == "ready" and s.up and s.weight]  # fmt: skip

    def running(self):
        return [name for name, host in self.rollouts.hosts.items() if self.live in host.engines]
