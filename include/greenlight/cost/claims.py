"""Who claimed a host in an hour, as shares that add up to 1.

A GPU that two engines share is shared by what each takes away from others: the larger of its share
of the GPU's time and the share of its memory that it holds. Claims beyond the whole are scaled down
to it. What nobody claimed is idle; what nobody measured is unmeasured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from greenlight.cost.usage import (
    Counter,
    Gauge,
    HostUsage,
    Level,
    SlotUsage,
    Unmeasured,
    coverage_of,
    whole,
)


class Part(StrEnum):
    """What a line is. The first two are workload, the next two idle, the last is overhead."""

    SERVING = "serving"
    WARM = "warm"
    """An engine that serves nobody and is kept to go back to."""
    IDLE = "idle"
    UNMEASURED = "unmeasured"
    """Paid for, and nobody knows what it did."""
    OVERHEAD = "overhead"

    @property
    def group(self) -> Group:
        """Which of the three it counts with."""
        return _GROUPS[self]


class Group(StrEnum):
    """The three that make the bill."""

    WORKLOAD = "workload"
    IDLE = "idle"
    OVERHEAD = "overhead"


_GROUPS = {
    Part.SERVING: Group.WORKLOAD,
    Part.WARM: Group.WORKLOAD,
    Part.IDLE: Group.IDLE,
    Part.UNMEASURED: Group.IDLE,
    Part.OVERHEAD: Group.OVERHEAD,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A part of a host. `claim`: on reservation; `used`: on usage. `tokens`: input and output."""

    part: Part
    claim: float
    used: float
    slot: SlotUsage | None = None
    tenant: str | None = None
    tokens: tuple[int | None, int | None] = (None, None)


DUST = 1e-12
"""What rounding leaves of a share that is nothing."""
UNMEASURED = Share(part=Part.UNMEASURED, claim=1.0, used=1.0)


def host_shares(usage: HostUsage | None, *, output_weight: float) -> tuple[Share, ...]:
    """Return who claimed a host, as shares that add up to 1.

    The part of the hour that isn't measured for every slot is unmeasured as a whole: a slot's claim
    is known beside the others' only.
    """
    if usage is None:
        return (UNMEASURED,)
    covered = covered_by(usage)
    if not covered:
        return (UNMEASURED,)
    claims = _within_one([max(_mean(slot.time), _mean(slot.memory)) for slot in usage.slots])
    used = _within_one([_mean(slot.time) for slot in usage.slots])
    shares: list[Share] = []
    for slot, claim, time in zip(usage.slots, claims, used, strict=True):
        shares += _slot_shares(slot, covered * claim, covered * time, output_weight)
    shares.append(
        Share(
            part=Part.IDLE,
            claim=covered * max(0.0, 1 - sum(claims)),
            used=covered * max(0.0, 1 - sum(used)),
        )
    )
    shares.append(Share(part=Part.UNMEASURED, claim=1 - covered, used=1 - covered))
    return tuple(share for share in shares if max(share.claim, share.used) > DUST)


def covered_by(usage: HostUsage) -> float:
    """Return the share of the hour in which the host and all of its engines were measured."""
    return min(coverage_of(usage.computation), *map(_covered, usage.slots), 1.0)


def _slot_shares(
    slot: SlotUsage, claim: float, used: float, output_weight: float
) -> Iterator[Share]:
    """Share a slot among its tenants by tokens; what no tenant is known for has none.

    What the engine counted beyond the gateway came another way: probes, benchmarks, a client that
    goes around it.
    """
    part = Part.WARM if slot.is_warm else Part.SERVING
    everything = (whole(slot.input_tokens), whole(slot.output_tokens))
    weights = [_weight(t.input_tokens, t.output_tokens, output_weight) for t in slot.tenants]
    by_engine = _weight(slot.input_tokens, slot.output_tokens, output_weight)
    total = max(sum(weights), by_engine)
    if not total:
        yield Share(part=part, claim=claim, used=used, slot=slot, tokens=everything)
        return
    left: list[int | None] = list(everything)
    for tenant, weight in zip(slot.tenants, weights, strict=True):
        share = weight / total
        tokens = (whole(tenant.input_tokens), whole(tenant.output_tokens))
        left = [_less(all_of_it, one) for all_of_it, one in zip(left, tokens, strict=True)]
        if share:
            yield Share(
                part=part, claim=claim * share, used=used * share, slot=slot,
                tenant=tenant.tenant, tokens=tokens,
            )  # fmt: skip
    rest = max(0.0, 1 - sum(weights) / total)
    if rest > DUST:
        yield Share(
            part=part, claim=claim * rest, used=used * rest, slot=slot, tokens=(left[0], left[1])
        )


def _covered(slot: SlotUsage) -> float:
    return min(coverage_of(slot.time), coverage_of(slot.memory))


def _mean(level: Gauge) -> float:
    return level.mean if isinstance(level, Level) else 0.0


def _within_one(shares: list[float]) -> list[float]:
    """Scale shares that add up to more than the host has."""
    total = sum(shares)
    return [share / total for share in shares] if total > 1 else shares


def _weight(inputs: Counter, outputs: Counter, output_weight: float) -> float:
    if isinstance(inputs, Unmeasured) or isinstance(outputs, Unmeasured):
        return 0.0
    return inputs.total + output_weight * outputs.total


def _less(everything: int | None, part: int | None) -> int | None:
    return None if everything is None else max(0, everything - (part or 0))
