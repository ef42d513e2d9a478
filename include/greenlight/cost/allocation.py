"""Whose the bill of an hour is: workload + idle + overhead = the bill, to the last billionth.

The model is OpenCost's. Every line carries two costs, and both add up to the bill. `cost` is on
reservation, by what an engine claims of its host. `used_cost` is on usage, by time alone: the
memory that a warm engine holds then counts as idle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from greenlight.cost.bill import BillItem, ItemKind
from greenlight.cost.claims import Part, Share, host_shares
from greenlight.cost.money import from_nanos, share_out, split, to_nanos, whole_weights
from greenlight.cost.usage import HostUsage


@dataclass(frozen=True, slots=True, kw_only=True)
class CostLine:
    """One part of one item. Costs are in billionths of the currency.

    `quantity`: of the item's unit. `share`: of the item. Tokens that were not measured, or that a
    line can't have, are `None`.
    """

    hour: datetime
    part: Part
    item: ItemKind
    name: str
    sku: str
    term: str
    unit: str
    region: str
    environment: str
    currency: str
    cost: int
    list_cost: int
    used_cost: int
    quantity: Decimal
    share: float
    model: str | None = None
    version: str | None = None
    slot: str | None = None
    tenant: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


def allocate(
    items: Iterable[BillItem], usage: Mapping[str, HostUsage], *, output_weight: float
) -> tuple[CostLine, ...]:
    """Return the lines of an hour. `usage`: by the host's name; a host without any is unmeasured.

    `output_weight`: how many input tokens an output token counts as when a slot's cost is shared
    among tenants.
    """
    lines: list[CostLine] = []
    for item in items:
        if item.bought.kind is ItemKind.HOST:
            shares = host_shares(usage.get(item.bought.name), output_weight=output_weight)
        else:
            shares = (Share(part=_part_of(item), claim=1.0, used=1.0),)
        lines += _lines(item, shares)
    return tuple(lines)


def identity_error(items: Iterable[BillItem], lines: Sequence[CostLine]) -> int:
    """Return by how many billionths the lines miss the bill, on either basis; 0 is right."""
    bill = sum(item.cost for item in items)
    on_reservation = sum(line.cost for line in lines)
    on_usage = sum(line.used_cost for line in lines)
    return max(abs(bill - on_reservation), abs(bill - on_usage))


def _lines(item: BillItem, shares: Sequence[Share]) -> Iterator[CostLine]:
    bought, total = item.bought, sum(share.claim for share in shares)
    claims = whole_weights([share.claim for share in shares])
    costs = share_out(item.cost, claims)
    listed = costs if item.list_cost == item.cost else share_out(item.list_cost, claims)
    quantities = share_out(to_nanos(item.quantity), claims)
    used = split(item.cost, [share.used for share in shares])
    for i, share in enumerate(shares):
        slot = share.slot
        yield CostLine(
            hour=item.hour,
            part=share.part,
            item=bought.kind,
            name=bought.name,
            sku=bought.sku,
            term=bought.term,
            unit=item.unit,
            region=bought.region,
            environment=bought.environment,
            currency=item.currency,
            cost=costs[i],
            list_cost=listed[i],
            used_cost=used[i],
            quantity=from_nanos(quantities[i]),
            share=share.claim / total,
            model=bought.model if slot is None else slot.model,
            version=None if slot is None else slot.version,
            slot=None if slot is None else slot.slot,
            tenant=share.tenant,
            input_tokens=share.tokens[0],
            output_tokens=share.tokens[1],
        )


def _part_of(item: BillItem) -> Part:
    return Part.OVERHEAD if item.bought.model is None else Part.SERVING
