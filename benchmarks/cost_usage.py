"""From a made host's samples to its hours of usage and its series, for `cost.py`."""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from cost_world import (
    HELD,
    HOURS,
    MINUTES,
    START,
    STEP_S,
    TENANTS,
    TOKENS_A_SECOND,
    MadeHost,
)
from greenlight.cost.rightsizing.series import Resource, UsageSeries
from greenlight.cost.samples import HOUR_S, Samples, gauges
from greenlight.cost.usage import (
    Count,
    Counter,
    Gauge,
    HostUsage,
    Level,
    SlotUsage,
    TenantUsage,
    Unmeasured,
)

TIMES = np.datetime64(START.replace(tzinfo=None), "us") + np.arange(MINUTES) * np.timedelta64(
    60, "s"
)
NOT_COUNTED = Unmeasured(why="nobody counted")
NONE = Count(total=0.0, coverage=1.0)


def series_of(host: MadeHost) -> list[UsageSeries]:
    """Return the four series that are sized; what is no share isn't trusted."""
    return [
        UsageSeries.of(TIMES, values, resource=Resource(name), unit="share", trusted=values <= 1)
        for name, values in host.samples.items()
    ]


def levels_of(host: MadeHost) -> dict[str, list[Gauge]]:
    """Return the hours of each metric."""
    return {
        name: gauges(
            Samples(seconds=host.seconds, values=values, step_s=STEP_S),
            start_s=START.timestamp(),
            hours=HOURS,
            high=1.0,
            what=f"{host.plan.name} {name}",
        )
        for name, values in host.samples.items()
    }


def engines_of(host: MadeHost, gpu: list[Gauge]) -> list[tuple[SlotUsage, ...]]:
    """Return what the engines did in each hour: made up, from the GPU's use."""
    return [slots_of(host, n, gpu[n]) for n in range(HOURS)]


def hours_of(
    host: MadeHost, levels: dict[str, list[Gauge]], engines: list[tuple[SlotUsage, ...]]
) -> list[HostUsage]:
    """Return the usage of every hour of the month."""
    return [
        HostUsage(
            host=host.plan.name,
            hour=START + timedelta(hours=n),
            cpu=levels["cpu"][n],
            memory=levels["memory"][n],
            gpu=levels["gpu"][n],
            gpu_memory=levels["gpu_memory"][n],
            slots=engines[n],
        )
        for n in range(HOURS)
    ]


def slots_of(host: MadeHost, hour: int, gpu: Gauge) -> tuple[SlotUsage, ...]:
    """Return what the host's engines did in an hour; tokens follow the GPU's use."""
    held = Level(mean=HELD, peak=HELD, coverage=1.0)
    slots = []
    for plan in host.plan.slots:
        outputs: Counter = NOT_COUNTED
        tenants: tuple[TenantUsage, ...] = ()
        if plan.is_warm:
            outputs = NONE
        elif isinstance(gpu, Level):
            made = gpu.mean * gpu.coverage * HOUR_S * TOKENS_A_SECOND
            outputs = Count(total=made, coverage=gpu.coverage)
            tenants = tuple(
                TenantUsage(
                    tenant=tenant,
                    requests=NOT_COUNTED,
                    input_tokens=Count(total=3 * made * share, coverage=gpu.coverage),
                    output_tokens=Count(total=made * share, coverage=gpu.coverage),
                )
                for tenant, share in zip(TENANTS, host.tenants[hour], strict=True)
            )
        inputs = (
            Count(total=3 * outputs.total, coverage=1.0) if isinstance(outputs, Count) else outputs
        )
        time = Level(mean=0.0, peak=0.0, coverage=1.0) if plan.is_warm else gpu
        slots.append(
            SlotUsage(
                slot=plan.slot,
                model=plan.model,
                version=plan.version,
                is_warm=plan.is_warm,
                time=time,
                memory=held,
                input_tokens=inputs,
                output_tokens=outputs,
                tenants=tenants,
            )
        )
    return tuple(slots)
