"""From what was scraped to what a host and its engines used in an hour.

Two engines on one GPU can't be told apart by the GPU's metrics. Its time is parted by how many
requests each was answering; its memory by what each was started with, for as long as it was up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from greenlight.cost.inventory import HostPlan, SlotPlan
from greenlight.cost.samples import HOUR_S, at_rest, count, gauge, gpu_use, mean_of
from greenlight.cost.scrapes import Metric, Scrape, Series, by_label
from greenlight.cost.usage import (
    Count,
    Counter,
    Gauge,
    HostUsage,
    Level,
    Mark,
    SlotUsage,
    TenantUsage,
    Unmeasured,
    marks_of,
)

PERCENT = 100.0
GPU_MEMORY_LABEL = "gpu_memory_utilization"


def hour_of(plans: Iterable[HostPlan], scrape: Scrape, hour: datetime) -> Mapping[str, HostUsage]:
    """Return every planned host's usage, by its name; what wasn't scraped is unmeasured."""
    hosts = {plan.name: _host(plan, scrape, hour) for plan in plans}
    return _with_tenants(hosts, scrape, hour.timestamp())


def _host(plan: HostPlan, scrape: Scrape, hour: datetime) -> HostUsage:
    start_s = hour.timestamp()
    cpu = _cpu(scrape.of_host(Metric.CPU_SECONDS, plan.exporter), start_s, plan.name)
    gpu = _gpu(scrape, plan.name, start_s) if plan.gpus else None
    host = HostUsage(
        host=plan.name,
        hour=hour,
        cpu=cpu,
        memory=_memory(scrape, plan.exporter, start_s),
        gpu=gpu,
        gpu_memory=_gpu_memory(scrape, plan.name, start_s) if plan.gpus else None,
    )
    return replace(host, slots=_slots(plan, scrape, start_s, host.computation))


def _cpu(series: Sequence[Series], start_s: float, host: str) -> Gauge:
    """Return the busy share of all processors, from how long each was idle."""
    idle = [one for one in series if one.labels.get("mode") == "idle"]
    levels = [_busy(count(one.samples, start_s=start_s, what=f"{host} cpu")) for one in idle]
    return mean_of(levels, what=f"{host} cpu")


def _busy(idle: Counter) -> Gauge:
    if isinstance(idle, Unmeasured):
        return idle
    busy = min(1.0, max(0.0, 1 - idle.total / (idle.coverage * HOUR_S)))
    return Level(mean=busy, peak=busy, coverage=idle.coverage, marks=idle.marks)


def _memory(scrape: Scrape, host: str, start_s: float) -> Gauge:
    what = f"{host} memory"
    free = _one(scrape.of_host(Metric.MEMORY_AVAILABLE, host), start_s, what)
    total = _one(scrape.of_host(Metric.MEMORY_TOTAL, host), start_s, what)
    if isinstance(free, Unmeasured) or isinstance(total, Unmeasured):
        return free if isinstance(free, Unmeasured) else total
    used = min(1.0, max(0.0, 1 - free.mean / total.mean)) if total.mean else 0.0
    return replace(free, mean=used, peak=used)


def _gpu(scrape: Scrape, host: str, start_s: float) -> Gauge:
    what = f"{host} GPU"
    active = by_label(scrape.of_host(Metric.ENGINE_ACTIVE, host), "gpu")
    shown = by_label(scrape.of_host(Metric.GPU_UTILISATION, host), "gpu")
    uses = [
        gpu_use(
            _one(active.get(gpu, ()), start_s, f"{what} {gpu[0]} engine-active", high=1.0),
            _percent(_one(shown.get(gpu, ()), start_s, f"{what} {gpu[0]}", high=PERCENT)),
        )
        for gpu in sorted({*active, *shown})
    ]
    return mean_of(uses, what=what)


def _gpu_memory(scrape: Scrape, host: str, start_s: float) -> Gauge:
    what = f"{host} GPU memory"
    used = by_label(scrape.of_host(Metric.GPU_MEMORY_USED, host), "gpu")
    free = by_label(scrape.of_host(Metric.GPU_MEMORY_FREE, host), "gpu")
    levels: list[Gauge] = []
    for gpu in sorted({*used, *free}):
        taken, left = (_one(part.get(gpu, ()), start_s, what) for part in (used, free))
        if isinstance(taken, Unmeasured) or isinstance(left, Unmeasured):
            levels.append(taken if isinstance(taken, Unmeasured) else left)
            continue
        total = taken.mean + left.mean
        share = taken.mean / total if total else 0.0
        peak = min(1.0, taken.peak / total) if total else 0.0
        levels.append(replace(taken, mean=share, peak=peak))
    return mean_of(levels, what=what)


def _slots(
    plan: HostPlan, scrape: Scrape, start_s: float, computation: Gauge
) -> tuple[SlotUsage, ...]:
    """Return the engines that ran, or may have; one that was down all along is left out."""
    ups = {slot.slot: _up(slot, plan.name, scrape, start_s) for slot in plan.slots}
    there = [slot for slot in plan.slots if not _was_down(ups[slot.slot])]
    running = {
        slot.slot: _one(
            scrape.of_slot(Metric.RUNNING, plan.name, slot.slot), start_s,
            f"{plan.name} {slot.slot} running requests",
        )
        for slot in there
    }  # fmt: skip
    everything = sum(level.mean for level in running.values() if isinstance(level, Level))
    return tuple(
        _slot(
            slot, plan.name, scrape, start_s, up=ups[slot.slot],
            time=_part(computation, running[slot.slot], everything),
        )
        for slot in there
    )  # fmt: skip


def _slot(
    plan: SlotPlan, host: str, scrape: Scrape, start_s: float, *, up: Gauge, time: Gauge
) -> SlotUsage:
    def level(metric: Metric, high: float = float("inf")) -> Gauge:
        found = scrape.of_slot(metric, host, plan.slot)
        return _one(found, start_s, f"{host} {plan.slot} {metric}", high=high)

    def total(metric: Metric) -> Counter:
        found = scrape.of_slot(metric, host, plan.slot)
        return _sum(found, start_s, f"{host} {plan.slot} {metric}")

    reserved = _reserved(scrape.of_slot(Metric.CACHE_CONFIG, host, plan.slot), plan.reserved)
    return SlotUsage(
        slot=plan.slot,
        model=plan.model,
        version=plan.version,
        is_warm=plan.is_warm,
        time=time,
        memory=_held(up, reserved, f"{host} {plan.slot}"),
        requests=total(Metric.REQUESTS),
        input_tokens=total(Metric.INPUT_TOKENS),
        output_tokens=total(Metric.OUTPUT_TOKENS),
        queue=level(Metric.WAITING),
        kv_cache=level(Metric.KV_CACHE, high=1.0),
    )


def _up(plan: SlotPlan, host: str, scrape: Scrape, start_s: float) -> Gauge:
    """Return when an engine answered; while nothing was to run there it was down, unasked."""
    series = scrape.of_slot(Metric.UP, host, plan.slot)
    if not series and plan.rests == ((start_s, start_s + HOUR_S),):
        return Level(mean=0.0, peak=0.0, coverage=1.0)
    filled = [
        Series(labels=one.labels, samples=at_rest(one.samples, plan.rests)) for one in series[:1]
    ]
    return _one([*filled, *series[1:]], start_s, f"{host} {plan.slot}", high=1.0)


def _was_down(up: Gauge) -> bool:
    return isinstance(up, Level) and up.peak == 0


def _part(computation: Gauge, running: Gauge, everything: float) -> Gauge:
    """Return an engine's part of the host's computation, by the requests it was answering."""
    if isinstance(computation, Unmeasured):
        return computation
    if isinstance(running, Unmeasured):
        return running
    part = running.mean / everything if everything else 0.0
    return Level(
        mean=computation.mean * part,
        peak=computation.peak * part,
        coverage=min(computation.coverage, running.coverage),
        marks=marks_of([computation, running]),
    )


def _reserved(series: Sequence[Series], planned: float | None) -> float | None:
    """Return the share of memory an engine was started with, by its own word or the plan's."""
    for one in series:
        try:
            return min(1.0, max(0.0, float(one.labels[GPU_MEMORY_LABEL])))
        except (KeyError, ValueError):
            continue
    return planned


def _held(up: Gauge, reserved: float | None, what: str) -> Gauge:
    if isinstance(up, Unmeasured):
        return up
    if reserved is None:
        return Unmeasured(why=f"{what}: nobody says how much memory it was given")
    return replace(up, mean=up.mean * reserved, peak=up.peak * reserved)


def _with_tenants(
    hosts: Mapping[str, HostUsage], scrape: Scrape, start_s: float
) -> Mapping[str, HostUsage]:
    """Give each engine its part of the tenants' tokens, which the gateway counts per colour."""
    counted = by_label(scrape.everywhere(Metric.GATEWAY_TOKENS), "model", "colour")
    tokens = {key: _by_tenant(series, start_s) for key, series in counted.items()}
    made: dict[tuple[str, str], list[float]] = {}
    for host in hosts.values():
        for slot in host.slots:
            all_of_it = made.setdefault((slot.model, slot.slot), [0.0, 0.0])
            for i, one in enumerate((slot.input_tokens, slot.output_tokens)):
                all_of_it[i] += one.total if isinstance(one, Count) else 0.0
    return {
        name: replace(
            host,
            slots=tuple(
                replace(
                    slot,
                    tenants=_tenants_of(
                        slot,
                        tokens.get((slot.model, slot.slot), {}),
                        made[slot.model, slot.slot],
                    ),
                )
                for slot in host.slots
            ),
        )
        for name, host in hosts.items()
    }


def _by_tenant(series: Sequence[Series], start_s: float) -> Mapping[str, tuple[Counter, Counter]]:
    groups = by_label(series, "tenant", "direction")
    return {
        tenant: (
            _sum(groups.get((tenant, "input"), ()), start_s, f"tokens of {tenant}"),
            _sum(groups.get((tenant, "output"), ()), start_s, f"tokens of {tenant}"),
        )
        for tenant in sorted({tenant for tenant, _ in groups})
    }


def _tenants_of(
    slot: SlotUsage, tokens: Mapping[str, tuple[Counter, Counter]], made: Sequence[float]
) -> tuple[TenantUsage, ...]:
    engine = (slot.input_tokens, slot.output_tokens)
    not_counted = Unmeasured(why="the gateway counts tokens per tenant, not requests")
    return tuple(
        TenantUsage(
            tenant=tenant,
            requests=not_counted,
            input_tokens=_portion(both[0], engine[0], made[0]),
            output_tokens=_portion(both[1], engine[1], made[1]),
        )
        for tenant, both in tokens.items()
    )


def _portion(tenant: Counter, engine: Counter, made: float) -> Counter:
    """Return a tenant's tokens on one engine: its tokens times that engine's part of them all."""
    if isinstance(tenant, Unmeasured) or isinstance(engine, Unmeasured):
        return tenant if isinstance(tenant, Unmeasured) else engine
    part = engine.total / made if made else 0.0
    return replace(tenant, total=tenant.total * part)


def _one(
    series: Sequence[Series], start_s: float, what: str, *, high: float = float("inf")
) -> Gauge:
    """Return the level of a metric that should have one series; of several, their mean.

    A restart under another label leaves two series that follow each other.
    """
    if not series:
        return Unmeasured(why=f"{what}: no sample", marks=(Mark.GAP,))
    levels = [gauge(one.samples, start_s=start_s, high=high, what=what) for one in series]
    known = [level for level in levels if isinstance(level, Level)]
    if len(known) < 2:
        return known[0] if known else levels[0]
    covered = sum(level.coverage for level in known)
    return Level(
        mean=sum(level.mean * level.coverage for level in known) / covered,
        peak=max(level.peak for level in known),
        coverage=min(1.0, covered),
        marks=marks_of(known),
    )


def _sum(series: Sequence[Series], start_s: float, what: str) -> Counter:
    """Return what several counters grew by together; those without two samples are left out."""
    if not series:
        return Unmeasured(why=f"{what}: no sample", marks=(Mark.GAP,))
    counts = [count(one.samples, start_s=start_s, what=what) for one in series]
    known = [one for one in counts if isinstance(one, Count)]
    if not known:
        return counts[0]
    return Count(
        total=sum(one.total for one in known),
        coverage=max(one.coverage for one in known),
        marks=marks_of(known),
    )


def _percent(level: Gauge) -> Gauge:
    if isinstance(level, Unmeasured):
        return level
    return replace(level, mean=level.mean / PERCENT, peak=level.peak / PERCENT)
