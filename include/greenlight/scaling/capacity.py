"""What a host can take, and how long it takes to come: measured, or not known.

Both are read from records that name where they are from. There is no default: a guessed capacity
plans a guessed fleet. What isn't known says what has to be measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from greenlight.core.types import Value

Share = Annotated[float, Field(gt=0, le=1)]


class CapacitySettings(Value):
    """How measured values are read.

    `goodput`: the share of requests that must have kept the objective at the speed that counts.
    `fill`: how much of that speed is planned with. `cold_start_quantile` of the starts measured, of
    which there must be `min_starts`.
    """

    goodput: Share = 0.99
    fill: Share = 1.0
    cold_start_quantile: Share = 0.9
    min_starts: Annotated[int, Field(ge=1)] = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedLevel:
    """One level of a benchmark of one host: tokens a second, and the share within the objective.

    `None`: it could not be measured.
    """

    concurrency: int
    tokens_per_second: float | None
    within_objective: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedRecord:
    """A benchmark of a version. `hosts`: that served it together. `source`: where it is kept."""

    model: str
    version: int
    digest: str
    source: str
    hosts: int
    levels: tuple[SpeedLevel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCapacity:
    """Tokens a second that one host serves within the objective."""

    tokens_per_second: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadTime:
    """Seconds from the order of a host until it serves."""

    seconds: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """It wasn't measured. `measure`: what to do about that."""

    why: str
    measure: str


def host_capacity(
    record: SpeedRecord | None, *, digest: str, settings: CapacitySettings
) -> HostCapacity | Unknown:
    """Return the highest speed at which the objective was kept, of one host.

    `digest`: of the model that is to be served. A record of another one says nothing about it.
    """
    benchmark = "run the serving benchmark of this version, with its objective"
    if record is None:
        return Unknown(why=f"no benchmark of {digest[:19]}", measure=benchmark)
    if record.digest != digest:
        why = f"{record.source} is of {record.digest[:19]}, not of {digest[:19]}"
        return Unknown(why=why, measure=benchmark)
    kept = [
        level.tokens_per_second
        for level in record.levels
        if level.within_objective is not None
        and level.within_objective >= settings.goodput
        and level.tokens_per_second is not None
        and level.tokens_per_second > 0
        and math.isfinite(level.tokens_per_second)
    ]
    if not kept or record.hosts < 1:
        why = f"{record.source} has no level with {settings.goodput:.0%} within the objective"
        return Unknown(
            why=why, measure="run it with fewer requests at once, or change the objective"
        )
    return HostCapacity(
        tokens_per_second=settings.fill * max(kept) / record.hosts, source=record.source
    )


def lead_time(
    starts: Sequence[float], *, source: str, settings: CapacitySettings
) -> LeadTime | Unknown:
    """Return a high quantile of measured cold starts, in seconds: order to first token served.

    The smallest measured value that a share of them doesn't exceed, so with few starts the longest.
    """
    usable = sorted(second for second in starts if math.isfinite(second) and second > 0)
    if len(usable) < settings.min_starts:
        return Unknown(
            why=f"{len(usable)} cold starts in {source}, at least {settings.min_starts} are needed",
            measure="start hosts from nothing: rollouts and drills record how long each takes",
        )
    rank = max(1, math.ceil(settings.cold_start_quantile * len(usable) - 1e-9))
    return LeadTime(
        seconds=usable[rank - 1],
        source=f"P{100 * settings.cold_start_quantile:g} of {len(usable)} starts in {source}",
    )
