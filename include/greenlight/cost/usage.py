"""What was measured in one hour: per host, slot, model and tenant, with how much of it is known.

"Not measured" is a value of its own. A host without samples was not idle; a counter that nobody
read did not stand still.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias


class Mark(StrEnum):
    """What was odd about the samples behind a value."""

    GAP = "gap"
    """A part of the hour has no samples."""
    RESET = "reset"
    """The counter began anew, as after a restart; what it counted before that is kept."""
    LOST = "lost"
    """It began anew while nobody looked: what it counted last is not known."""
    UNTRUSTED = "untrusted"
    """Some samples were out of range or contradicted another metric, and were left out."""
    SECOND_CHOICE = "second_choice"
    """The preferred metric was missing; another one stood in."""


Marks: TypeAlias = tuple[Mark, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A gauge over the hour. `mean` is weighted by time; `coverage`: the share of it measured."""

    mean: float
    peak: float
    coverage: float
    marks: Marks = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What a counter grew by in the measured part of the hour; nothing is extrapolated."""

    total: float
    coverage: float
    marks: Marks = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmeasured:
    """No trusted sample, and why."""

    why: str
    marks: Marks = ()


Gauge: TypeAlias = Level | Unmeasured
Counter: TypeAlias = Count | Unmeasured
NOT_ASKED = Unmeasured(why="nothing was asked for it")


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantUsage:
    """One tenant's traffic to one slot. Tokens and requests by the gateway's count."""

    tenant: str
    requests: Counter
    input_tokens: Counter
    output_tokens: Counter


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotUsage:
    """One engine, in one of a host's places.

    `time`: the share of the host's computation that went into it. `memory`: the share of the host's
    engine memory that it holds, used or not. Of a host with GPUs, both are those of its GPUs.
    `is_warm`: it serves nobody, and is kept to go back to.
    """

    slot: str
    model: str
    version: str | None
    is_warm: bool
    time: Gauge
    memory: Gauge
    requests: Counter = NOT_ASKED
    input_tokens: Counter = NOT_ASKED
    output_tokens: Counter = NOT_ASKED
    queue: Gauge = NOT_ASKED
    kv_cache: Gauge = NOT_ASKED
    tenants: tuple[TenantUsage, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostUsage:
    """One host in one hour. Levels are shares of what it has, 0 to 1.

    `gpu`, `gpu_memory`: over all its GPUs; none: it has no GPU.
    """

    host: str
    hour: datetime
    cpu: Gauge
    memory: Gauge
    gpu: Gauge | None = None
    gpu_memory: Gauge | None = None
    slots: tuple[SlotUsage, ...] = ()

    @property
    def computation(self) -> Gauge:
        """What says that the host was there and working: its GPUs, or else its processors."""
        return self.cpu if self.gpu is None else self.gpu


def coverage_of(measured: Gauge | Counter) -> float:
    """Return the share of the hour that a value stands for; unmeasured: none of it."""
    return 0.0 if isinstance(measured, Unmeasured) else measured.coverage


def marks_of(measured: Iterable[Gauge | Counter]) -> Marks:
    """Return all marks, each once, in the order of `Mark`."""
    found = {mark for one in measured for mark in one.marks}
    return tuple(mark for mark in Mark if mark in found)


def whole(counter: Counter) -> int | None:
    """Return a counter's total as a whole number; unmeasured: `None`, not 0."""
    return None if isinstance(counter, Unmeasured) else round(counter.total)
