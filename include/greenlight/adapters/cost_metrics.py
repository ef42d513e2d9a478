"""Costs and budgets as a Prometheus text file, in the book's currency, from the hourly run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from greenlight.adapters.text_metrics import Sample, write_samples
from greenlight.core.metrics import LabelName as Label
from greenlight.core.metrics import MetricName as Name
from greenlight.cost.budgets import Outlook, Status
from greenlight.cost.money import from_nanos
from greenlight.cost.totals import Total
from greenlight.cost.unit_costs import UnitCost

FILE = "costs.prom"
HELP = {
    Name.COST_NEWEST_HOUR: "Begin of the newest hour that has a bill.",
    Name.COST_HOURLY: "The newest hour's bill, in parts that add up to it.",
    Name.COST_MODEL_HOURLY: "What the newest hour cost for a model: its workload.",
    Name.COST_PER_MILLION: "A million tokens over the last day, on reservation.",
    Name.COST_HOURS_ASIDE: "Hours of the last three days that are kept aside.",
    Name.COST_ADVISED_SAVING: "What open and accepted advice saves a month, each host once.",
    Name.COST_ANOMALIES: "Tenants, models and hosts that stood out yesterday.",
    Name.COST_LOOKED_AT: "When budgets and anomalies were last looked at.",
    Name.BUDGET_AMOUNT: "What may be spent in the present period.",
    Name.BUDGET_SPENT: "What is spent of it at least.",
    Name.BUDGET_EXPECTED: "What is expected by the period's end.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CostNumbers:
    """What the hourly run found. `None`: it isn't known, and is left out."""

    looked_at: datetime
    newest_hour: datetime | None
    hour: Total | None
    by_model: Mapping[str, Total]
    units: Sequence[UnitCost]
    aside: int
    advised: Decimal | None
    anomalies: int | None
    budgets: Sequence[Status]


def write_costs(folder: Path, found: CostNumbers) -> None:
    """Replace the file."""
    write_samples(folder / FILE, _samples(found), about=HELP)


def _samples(found: CostNumbers) -> Iterator[Sample]:
    yield _of(Name.COST_LOOKED_AT, found.looked_at.timestamp())
    newest = found.newest_hour
    yield _of(Name.COST_NEWEST_HOUR, newest.timestamp() if newest else None)
    if (hour := found.hour) is not None:
        parts = {
            "serving": hour.workload - hour.warm,
            "warm": hour.warm,
            "idle": hour.idle - hour.unmeasured,
            "unmeasured": hour.unmeasured,
            "overhead": hour.overhead,
        }
        for part, nanos in parts.items():
            yield _of(Name.COST_HOURLY, float(from_nanos(nanos)), {Label.PART: part})
    for model, total in found.by_model.items():
        cost = float(from_nanos(total.workload))
        yield _of(Name.COST_MODEL_HOURLY, cost, {Label.MODEL: model})
    for unit in found.units:
        yield from _per_million(unit)
    yield _of(Name.COST_HOURS_ASIDE, found.aside)
    yield _of(Name.COST_ADVISED_SAVING, None if found.advised is None else float(found.advised))
    yield _of(Name.COST_ANOMALIES, found.anomalies)
    for status in found.budgets:
        yield from _budget(status)


def _per_million(unit: UnitCost) -> Iterator[Sample]:
    price = unit.on_reservation
    for direction in ("input", "output"):
        value = None if price is None else float(getattr(price, direction))
        labels = {
            Label.MODEL: unit.model,
            Label.VERSION: unit.version or "unknown",
            Label.DIRECTION: direction,
        }
        yield _of(Name.COST_PER_MILLION, value, labels)


def _budget(status: Status) -> Iterator[Sample]:
    labels = {Label.BUDGET: status.budget.name}
    spent, ahead = status.spent.amount, status.outlook
    yield _of(Name.BUDGET_AMOUNT, float(status.budget.amount), labels)
    yield _of(Name.BUDGET_SPENT, None if spent is None else float(spent), labels)
    expected = float(ahead.amount) if isinstance(ahead, Outlook) else None
    yield _of(Name.BUDGET_EXPECTED, expected, labels)


def _of(name: Name, value: float | None, labels: Mapping[Label, str] | None = None) -> Sample:
    return Sample(name=name, value=value, labels=labels or {})
