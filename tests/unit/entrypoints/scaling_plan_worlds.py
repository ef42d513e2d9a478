"""A fleet whose demand, benchmark and starts were measured, and a scaler in memory."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
from rollout_worlds import a_fleet

from greenlight.deploy.colours import Colour
from greenlight.deploy.journal import Event, Outcome, Phase, Rollout, Step
from greenlight.deploy.performance import Benchmark, Number, PerformanceSettings
from greenlight.entrypoints.scaling import Scaling
from greenlight.entrypoints.scaling_apply import ToScaler
from greenlight.entrypoints.scaling_days import Days
from greenlight.entrypoints.scaling_tools import ScalingTools
from greenlight.scaling.demand_series import DemandSeries
from greenlight.scaling.replay.comparison import CompareSettings
from greenlight.scaling.scaling_file import FleetScaling
from greenlight.testing.manual_clock import ManualClock
from greenlight.testing.memory_rollouts import MemoryJournal, MemoryLeases
from greenlight.testing.memory_schedule_target import MemoryScheduleTarget
from greenlight.testing.memory_schedules import MemorySchedules

NIGHT = datetime(2026, 11, 24, 3, 20, tzinfo=UTC)
STEP = timedelta(minutes=15)
DIGEST, FLAGS = "d" * 64, "f" * 64
MEASURED = PerformanceSettings()


def demand_of(days, *, until, factor=1.0):
    """Return a rush from 9 to 17 on workdays; a host takes 100 tokens a second."""
    end = np.datetime64(until.replace(tzinfo=None, minute=0, second=0), "us")
    times = end - np.arange(round(days * 96), 0, -1) * np.timedelta64(STEP)
    day = times.astype("datetime64[D]")
    hour = (times - day) / np.timedelta64(1, "h")
    weekday = (day.astype(np.int64) + 3) % 7
    busy = (hour >= 9) & (hour < 17) & (weekday < 5)
    noise = 1 + np.random.default_rng(1).normal(0, 0.01, times.size)
    values = np.where(busy, 950.0, 150.0) * factor * noise
    return DemandSeries(start=times[0], step=STEP, values=values)


class Source:
    """`days` of demand up to a moment; none: nothing was measured."""

    def __init__(self):
        self.days, self.factor, self.hosts_there = 28, 1.0, 11.0

    def demand(self, start, end):
        return demand_of(self.days, until=end, factor=self.factor) if self.days else None

    def hosts(self, start, end):
        if self.hosts_there is None:
            return None
        found = demand_of((end - start) / timedelta(days=1), until=end)
        return replace(found, values=np.full(found.values.size, self.hosts_there))


def number(name, value, n=60):
    return Number(name=name, value=value, low=None, high=None, n=n)


def a_benchmark(**changes):
    values = {
        "fleet": "f", "model": "m", "version": 7, "digest": DIGEST, "flags_digest": FLAGS,
        "load_digest": MEASURED.load_digest, "hosts": 2, "rollout_id": "r0",
        "measured_at": NIGHT, "requests": 200, "other_requests": 0, "confidence": 0.99,
        "numbers": (
            number("tokens_per_second.1", 40.0), number("goodput.1", 1.0),
            number("tokens_per_second.4", 200.0), number("goodput.4", 1.0),
            number("tokens_per_second.8", 300.0), number("goodput.8", 0.7),
            number("goodput", 1.0), number("failed", 0.0),
        ),
    }  # fmt: skip
    return Benchmark(**(values | changes))


def a_journal(*ready_s, live=True):
    """Return a journal of one rollout whose starts took so long."""
    leases = MemoryLeases(lambda: NIGHT)
    journal = MemoryJournal(leases)
    journal.open_rollout(
        Rollout(
            id="r0", fleet="f", model="m", version=7, digest=DIGEST, flags_digest=FLAGS,
            strategy="blue_green", colour=Colour.BLUE, started_at=NIGHT - timedelta(days=9),
            started_by="ana", previous_version=None, previous_digest=None,
        )
    )  # fmt: skip
    steps = [(Step.PREPARE, {"ready_s": seconds, "digest": DIGEST}) for seconds in ready_s]
    if live:
        steps.append((Step.FINISH, {"outcome": str(Outcome.LIVE), "reason": "done"}))
    for n, (step, detail) in enumerate(steps):
        for phase in (Phase.BEGAN, Phase.DONE):
            journal.append(
                Event(
                    rollout_id="r0", at=NIGHT, step=step, phase=phase, subject=f"gpu-{n}",
                    detail=detail if phase is Phase.DONE else {},
                )
            )  # fmt: skip
    return journal


class Benchmarks:
    def __init__(self, found):
        self.found = found

    def benchmark(self, version):
        return self.found if version == 7 else None


class PlanWorld:
    """Everything is measured; a test takes away what it is about."""

    def __init__(self, **scaling):
        self.clock, self.source, self.store = ManualClock(NIGHT), Source(), MemorySchedules()
        self.target = MemoryScheduleTarget()
        self.journal = a_journal(200, 240, 250, 260, 300)
        self.benchmarks = Benchmarks(a_benchmark())
        settings = {"ceiling": 20, "replay": CompareSettings(days=2)} | scaling
        self.settings = FleetScaling.model_validate(settings)

    def tools(self, **changes):
        applier = ToScaler(target=self.target, utilisation=0.85, drain_s=600, has_loop=True)
        values = {
            "fleet": a_fleet(), "scaling": self.settings, "source": self.source,
            "store": self.store, "journal": self.journal, "benchmarks": self.benchmarks,
            "measured_with": MEASURED, "applier": applier, "clock": self.clock,
        }  # fmt: skip
        return ScalingTools(**(values | changes))

    def scaling(self, **changes):
        return Scaling(self.tools(**changes))

    def days(self):
        return Days(self.tools())

    def applied(self):
        """Plan, approve and apply; return the digest."""
        scaling = self.scaling()
        kept = scaling.propose(scaling.plan(), by="t")
        if kept.waits_for:
            scaling.decide(kept.digest, approved=True, by="ana", reason="")
        scaling.apply(kept.digest, by="t")
        return kept.digest
