"""The fast loop: hosts from what is measured now, by the rule of Kubernetes' autoscaler.

`desired = ceil(hosts × measured / target)`, nothing within 10 % of the target, the largest of
several metrics, and on the way down the highest answer of the last five minutes (Kubernetes:
*Horizontal Pod Autoscaling*, "Algorithm details"; `replica_calculator.go`). Hosts that are still
starting count as idle on the way up, so that one burst isn't answered twice.

What isn't measured never scales down: a metric that is missing leaves hosts alone, unless another
one asks for more. A queue's length says that there is too little, not how much; alone it swings
from nothing to everything, so the settings refuse it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from greenlight.core.types import Value

_ROUNDING = 1e-9


class Signal(StrEnum):
    """What is measured on each host."""

    TOKENS = "tokens_per_second"
    RUNNING = "running_requests"
    KV_CACHE = "kv_cache_usage"
    QUEUE = "waiting_requests"


class ReactiveSettings(Value):
    """Targets a host, and how calmly they are followed."""

    targets: Annotated[dict[Signal, Annotated[float, Field(gt=0)]], Field(min_length=1)]
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.1
    down_window_s: Annotated[float, Field(ge=0)] = 300.0

    @model_validator(mode="after")
    def _never_the_queue_alone(self) -> Self:
        if set(self.targets) == {Signal.QUEUE}:
            raise ValueError(
                f"targets: {Signal.QUEUE} alone makes a fleet swing: "
                f"add {Signal.TOKENS}, {Signal.RUNNING} or {Signal.KV_CACHE}"
            )
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What the schedule allows now. `unseen`: what it wants at least while nothing is measured."""

    minimum: int
    maximum: int
    unseen: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """What was asked for at a moment, in seconds of a clock that only goes on."""

    at: float
    hosts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """How many hosts there should be. `window`: to be passed in again next time."""

    desired: int
    why: str
    held: bool
    window: tuple[Recommendation, ...]


def decide(
    averages: Mapping[Signal, float | None],
    *,
    ready: int,
    starting: int,
    bounds: Bounds,
    window: Sequence[Recommendation],
    now: float,
    settings: ReactiveSettings,
) -> Decision:
    """Return the next size of a fleet from each metric's average over its ready hosts.

    A metric that is absent, `None` or not a number is missing. Then hosts that are there stay, even
    above the schedule's maximum, and the schedule raises them to what it planned for this time.
    """
    hosts = ready + starting
    asked = {
        signal: _recommend(averages.get(signal), target, ready, starting, settings.tolerance)
        for signal, target in settings.targets.items()
    }
    known = [answer for answer in asked.values() if answer is not None]
    missing = [str(signal) for signal, answer in asked.items() if answer is None]
    wanted = max(known, default=hosts)
    held = bool(missing) and wanted <= hosts
    if held:
        wanted = hosts
    recent = tuple(
        [past for past in window if now - past.at < settings.down_window_s]
        + [Recommendation(at=now, hosts=wanted)]
    )
    calm = wanted if wanted >= hosts else min(hosts, max(past.hosts for past in recent))
    if held:
        desired = max(hosts, bounds.minimum, min(bounds.unseen, bounds.maximum))
    else:
        desired = max(min(calm, bounds.maximum), bounds.minimum)
    why = _why(wanted, calm, desired, hosts, missing if held else [])
    return Decision(desired=desired, why=why, held=held, window=recent)


def _recommend(
    average: float | None, target: float, ready: int, starting: int, tolerance: float
) -> int | None:
    """Return what one metric asks for; `None`: it is missing."""
    if average is None or not math.isfinite(average) or average < 0 or not ready:
        return None
    hosts = ready + starting
    ratio = average / target
    if abs(ratio - 1) <= tolerance + _ROUNDING:
        return hosts
    if ratio < 1 or not starting:
        return max(0, math.ceil(ratio * ready - _ROUNDING))
    spread = ratio * ready / hosts
    if spread <= 1 + tolerance + _ROUNDING:
        return hosts
    return math.ceil(spread * hosts - _ROUNDING)


def _why(wanted: int, calm: int, desired: int, hosts: int, missing: Sequence[str]) -> str:
    if missing:
        held = f"{', '.join(missing)} missing: {hosts} hosts stay"
        return held if desired == hosts else f"{held}, raised to the schedule's {desired}"
    if desired != calm:
        return f"{calm} asked for, the schedule bounds it to {desired}"
    if calm != wanted:
        return f"{wanted} asked for, {calm} within the last minutes"
    return f"{desired} asked for" if desired != hosts else f"{hosts} are right"
