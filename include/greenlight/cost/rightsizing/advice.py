"""What right-sizing can answer: advice, advice withdrawn, or too little data to say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

import numpy as np

from greenlight.cost.rightsizing.series import Resource, as_datetime
from greenlight.cost.rightsizing.shifts import LevelShift


class Finding(StrEnum):
    """The names of AWS Compute Optimizer (`InstanceRecommendation.finding`)."""

    OVERPROVISIONED = "Overprovisioned"
    UNDERPROVISIONED = "Underprovisioned"
    OPTIMIZED = "Optimized"


class Reason(StrEnum):
    """The names of AWS Compute Optimizer (`InstanceRecommendationFindingReasonCode`)."""

    CPU_OVER = "CPUOverprovisioned"
    CPU_UNDER = "CPUUnderprovisioned"
    MEMORY_OVER = "MemoryOverprovisioned"
    MEMORY_UNDER = "MemoryUnderprovisioned"
    GPU_OVER = "GPUOverprovisioned"
    GPU_UNDER = "GPUUnderprovisioned"
    GPU_MEMORY_OVER = "GPUMemoryOverprovisioned"
    GPU_MEMORY_UNDER = "GPUMemoryUnderprovisioned"


_REASONS = {
    (Resource.CPU, Finding.OVERPROVISIONED): Reason.CPU_OVER,
    (Resource.CPU, Finding.UNDERPROVISIONED): Reason.CPU_UNDER,
    (Resource.MEMORY, Finding.OVERPROVISIONED): Reason.MEMORY_OVER,
    (Resource.MEMORY, Finding.UNDERPROVISIONED): Reason.MEMORY_UNDER,
    (Resource.GPU, Finding.OVERPROVISIONED): Reason.GPU_OVER,
    (Resource.GPU, Finding.UNDERPROVISIONED): Reason.GPU_UNDER,
    (Resource.GPU_MEMORY, Finding.OVERPROVISIONED): Reason.GPU_MEMORY_OVER,
    (Resource.GPU_MEMORY, Finding.UNDERPROVISIONED): Reason.GPU_MEMORY_UNDER,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """What a size may not go below, and what that is made of."""

    amount: float
    made_of: str


def gpu_memory_floor(*, weights: float, kv_cache: float) -> Floor:
    """Return the memory that an engine needs before the first request, in the series' unit.

    Usage says little here: an engine takes its KV cache at start, whether it is used or not.
    """
    return Floor(amount=weights + kv_cache, made_of=f"weights {weights:g} + KV cache {kv_cache:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The time that an answer rests on. `measured`: what samples stand for; the rest is gaps."""

    start: np.datetime64
    end: np.datetime64
    measured: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """What a strategy makes of a history. `low`, `high`: bounds, for strategies that give them."""

    capacity: float
    why: str
    history: History
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """No advice: usage moved to another level, and the new one hasn't shown a whole week yet."""

    shift: LevelShift
    history: History

    @property
    def why(self) -> str:
        """The reason, in one sentence."""
        when = as_datetime(self.shift.at)
        return (
            f"the {self.shift.of} went from {self.shift.before:.4g} to {self.shift.after:.4g} "
            f"about {when:%Y-%m-%d %H:00} UTC and stayed there"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NotEnoughData:
    """Too little was measured to say anything."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    """How a strategy would have done: sizes made from the past only, each held for `hold`.

    `over`: share of measured time with usage above the size; `slack`: share of the size that was
    unused. Both are `None` where no size could be tried. `held`: origins with a size; `withdrawn`
    and `not_enough`: origins without one.
    """

    over: float | None
    slack: float | None
    held: int
    withdrawn: int
    not_enough: int
    hold: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """How much is needed, in the series' unit.

    `risk`: 0 (has always been enough) to 4, after Compute Optimizer's `performanceRisk`. `finding`
    compares with what is there now; `None`: that wasn't told.
    """

    strategy: str
    resource: Resource
    unit: str
    capacity: float
    low: float | None
    high: float | None
    finding: Finding | None
    reasons: tuple[Reason, ...]
    risk: int
    why: str
    history: History
    backtest: Backtest


def find(
    resource: Resource, *, capacity: float, current: float | None, tolerance: float
) -> tuple[Finding | None, tuple[Reason, ...]]:
    """Compare what is needed with what is there; savings within `tolerance` aren't worth a move."""
    if current is None:
        return None, ()
    if capacity > current:
        finding = Finding.UNDERPROVISIONED
    elif capacity < current * (1 - tolerance):
        finding = Finding.OVERPROVISIONED
    else:
        return Finding.OPTIMIZED, ()
    return finding, (_REASONS[resource, finding],)


def risk_of(backtest: Backtest, *, target: float) -> int:
    """Return the risk that a size is not enough, from its own backtest.

    0: usage was never above; 1: for at most half the target; 2: for at most the target; 3: up to
    five times the target, or nothing could be tried; 4: more.
    """
    if backtest.over is None:
        return 3
    limits = (0.0, target / 2, target, 5 * target)
    return next((risk for risk, limit in enumerate(limits) if backtest.over <= limit), 4)
