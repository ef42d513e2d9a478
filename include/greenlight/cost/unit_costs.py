"""What a million tokens cost, and what a quantized version costs beside its parent.

An engine makes input and output tokens at the same time, and has one cost. It is parted by how much
work a token is: `output_weight` input tokens make one output token. That is an assumption, or
better a measurement (prefill and decode tokens a second), and it is told with the prices.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from greenlight.cost.allocation import CostLine
from greenlight.cost.bill import ItemKind
from greenlight.cost.claims import Part
from greenlight.cost.money import NANO

MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PerMillion:
    """The price of a million tokens each way."""

    input: Decimal
    output: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitCost:
    """What one version cost. Costs are in billionths of the currency.

    `cost`: on reservation, without `warm_cost`, which kept the version to go back to.
    `unknown_cost`: the part of it that was paid while nobody counted tokens; prices leave it out.
    Prices are `None` where there were no tokens: they are unknown, not free.
    """

    model: str
    version: str | None
    cost: int
    used_cost: int
    warm_cost: int
    unknown_cost: int
    input_tokens: int
    output_tokens: int
    on_reservation: PerMillion | None
    on_usage: PerMillion | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityLoss:
    """One metric of the evidence that compares a version with its parent.

    A ratio or a difference, with its bounds; `None`: it has none.
    """

    metric: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A quantized version beside its parent. `saving`: of the output price, 0.4 is 40 % less.

    `None`, and `why` says so, where one of them has no price. `quality`: empty where no evidence
    tells it; that isn't "nothing lost".
    """

    child: UnitCost
    parent: UnitCost | None
    saving: float | None
    quality: tuple[QualityLoss, ...]
    why: str | None = None


def unit_costs(lines: Iterable[CostLine], *, output_weight: float) -> tuple[UnitCost, ...]:
    """Return what every version cost, by model and version."""
    served: dict[tuple[str, str | None], list[CostLine]] = defaultdict(list)
    for line in lines:
        if line.model is not None and line.part in (Part.SERVING, Part.WARM):
            served[line.model, line.version].append(line)
    order = sorted(served, key=lambda key: (key[0], key[1] or ""))
    return tuple(
        _of(model, version, served[model, version], output_weight) for model, version in order
    )


def beside(child: UnitCost, parent: UnitCost | None, quality: Sequence[QualityLoss]) -> Beside:
    """Return both prices and what the smaller one lost."""
    why = None
    if parent is None:
        why = f"the parent of {child.model} version {child.version} served nothing in this time"
    elif child.on_reservation is None or parent.on_reservation is None:
        which = child if child.on_reservation is None else parent
        why = f"{which.model} version {which.version} has no counted tokens in this time"
    saving = None
    if child.on_reservation and parent and parent.on_reservation and parent.on_reservation.output:
        saving = float(1 - child.on_reservation.output / parent.on_reservation.output)
    return Beside(child=child, parent=parent, saving=saving, quality=tuple(quality), why=why)


def _of(
    model: str, version: str | None, lines: Sequence[CostLine], output_weight: float
) -> UnitCost:
    serving = [line for line in lines if line.part is Part.SERVING]
    unknown = [line for line in serving if line.item is ItemKind.HOST and not _counted(line)]
    inputs = sum(line.input_tokens or 0 for line in serving if _counted(line))
    outputs = sum(line.output_tokens or 0 for line in serving if _counted(line))
    cost, used = sum(line.cost for line in serving), sum(line.used_cost for line in serving)
    known = cost - sum(line.cost for line in unknown)
    known_used = used - sum(line.used_cost for line in unknown)
    return UnitCost(
        model=model,
        version=version,
        cost=cost,
        used_cost=used,
        warm_cost=sum(line.cost for line in lines if line.part is Part.WARM),
        unknown_cost=cost - known,
        input_tokens=inputs,
        output_tokens=outputs,
        on_reservation=_price(known, inputs, outputs, output_weight),
        on_usage=_price(known_used, inputs, outputs, output_weight),
    )


def _counted(line: CostLine) -> bool:
    return line.input_tokens is not None and line.output_tokens is not None


def _price(cost: int, inputs: int, outputs: int, output_weight: float) -> PerMillion | None:
    work = inputs + Decimal(str(output_weight)) * outputs
    if not work:
        return None
    one = (Decimal(cost) * MILLION / work).to_integral_value() * NANO
    return PerMillion(input=one, output=one * Decimal(str(output_weight)))
