"""What benchmarks and rollouts measured of a fleet, as a schedule needs it: or what is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from greenlight.core.digest import short
from greenlight.deploy.journal import Event, Live, Phase, live, since_live
from greenlight.deploy.performance import GOODPUT, SPEED, Benchmark, PerformanceSettings
from greenlight.deploy.ports import JournalStore
from greenlight.scaling.capacity import (
    CapacitySettings,
    HostCapacity,
    LeadTime,
    SpeedLevel,
    SpeedRecord,
    Unknown,
    host_capacity,
    lead_time,
)
from greenlight.scaling.scaling_file import FleetScaling

NEWEST = 50
"""Starts that are looked at: hosts and engines of long ago say nothing about now."""
AGAIN = "`greenlight deploy benchmark FLEET`, at a quiet time"


def capacity_now(
    journal: JournalStore,
    fleet: str,
    *,
    benchmark_of: Callable[[int], Benchmark | None],
    measured_with: PerformanceSettings,
    settings: CapacitySettings,
) -> HostCapacity | Unknown:
    """Return what one host takes of what is live on a fleet, as it is served now."""
    now_live = live(since_live(journal, fleet))
    if now_live is None:
        return Unknown(why=f"nothing is live on {fleet}", measure="deploy a version")
    benchmark = benchmark_of(now_live.version)
    if benchmark is None:
        return host_capacity(None, digest=now_live.digest, settings=settings)
    if why := _not_comparable(benchmark, now_live, measured_with):
        return Unknown(why=why, measure=AGAIN)
    return host_capacity(speed_record(benchmark), digest=now_live.digest, settings=settings)


def speed_record(benchmark: Benchmark) -> SpeedRecord:
    """Return the closed loop's levels: tokens a second, and who kept the objective at that.

    The open loop is left out: its rate is a choice, and what a host takes is more than that. A
    benchmark without the share of each level has levels of which nothing is known.
    """
    shares = {number.name: number.value for number in benchmark.numbers}
    levels = [
        SpeedLevel(
            concurrency=int(number.name.rpartition(".")[2]),
            tokens_per_second=number.value,
            within_objective=shares.get(f"{GOODPUT}.{number.name.rpartition('.')[2]}"),
        )
        for number in benchmark.numbers
        if number.name.startswith(f"{SPEED}.")
    ]
    return SpeedRecord(
        model=benchmark.model,
        version=benchmark.version,
        digest=benchmark.digest,
        source=f"benchmark of version {benchmark.version} on {benchmark.fleet}, "
        f"{benchmark.measured_at:%Y-%m-%d}",
        hosts=benchmark.hosts,
        levels=tuple(levels),
    )


def lead_of(journal: JournalStore, fleet: str, scaling: FleetScaling) -> LeadTime | Unknown:
    """Return how long a host takes until it serves, with the machine's part where there is one."""
    found = lead_time(
        cold_starts(journal, fleet), source=f"rollouts of {fleet}", settings=scaling.capacity
    )
    if isinstance(found, Unknown) or scaling.machine_start_s is None:
        return found
    return replace(
        found,
        seconds=found.seconds + scaling.machine_start_s,
        source=f"{scaling.machine_start_s:g} s for the machine, as set; then {found.source}",
    )


def cold_starts(journal: JournalStore, fleet: str) -> tuple[float, ...]:
    """Return the seconds of a fleet's newest engine starts, as rollouts wrote them down."""
    found: list[float] = []
    for rollout in reversed(journal.rollouts(fleet)):
        found += _starts(journal.events(rollout.id))
        if len(found) >= NEWEST:
            break
    return tuple(found[:NEWEST])


def _starts(events: Sequence[Event]) -> list[float]:
    done = [event.detail for event in reversed(events) if event.phase is Phase.DONE]
    return [float(detail["ready_s"]) for detail in done if "ready_s" in detail]


def _not_comparable(
    benchmark: Benchmark, now_live: Live, measured_with: PerformanceSettings
) -> str | None:
    named = f"the benchmark of version {benchmark.version}"
    if benchmark.digest == now_live.digest and benchmark.flags_digest != now_live.flags_digest:
        return f"{named} was made with flags {short(benchmark.flags_digest)}, others are live"
    if benchmark.load_digest != measured_with.load_digest:
        return f"{named} was made with another load or objective than performance.yaml has now"
    share = benchmark.other_share
    if share is None or share > measured_with.other_traffic:
        told = "an unknown part" if share is None else f"{share:.0%}"
        return f"{named}: {told} of the requests meanwhile was clients'"
    return None
