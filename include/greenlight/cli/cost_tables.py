"""How `greenlight cost show` looks: sums, prices per million tokens, versions beside parents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.table import Table

from greenlight.cli.console import console, say
from greenlight.cost.money import from_nanos

if TYPE_CHECKING:
    from greenlight.cost.hours import CostHour
    from greenlight.cost.totals import Dimension, Key, Total
    from greenlight.cost.unit_costs import Beside, PerMillion, UnitCost


def print_sums(dimensions: list[Dimension], sums: Mapping[Key, Total]) -> None:
    """Print what was spent, the largest first."""
    table = Table()
    for name in (*map(str, dimensions), "workload", "of it warm", "idle", "of it unmeasured",
                 "overhead", "bill"):  # fmt: skip
        table.add_column(name)
    for key, total in sorted(sums.items(), key=lambda item: -item[1].bill):
        amounts = (total.workload, total.warm, total.idle, total.unmeasured, total.overhead,
                   total.bill)  # fmt: skip
        table.add_row(*(part or "-" for part in key), *(f"{from_nanos(a):,.4f}" for a in amounts))
    console.print(table)


def print_units(units: tuple[UnitCost, ...]) -> None:
    """Print what a million tokens cost."""
    table = Table()
    for name in ("model", "version", "tokens in", "tokens out", "1M in", "1M out",
                 "1M in, used", "1M out, used", "warm"):  # fmt: skip
        table.add_column(name)
    for unit in units:
        table.add_row(
            unit.model, unit.version or "-", f"{unit.input_tokens:,}", f"{unit.output_tokens:,}",
            *_both(unit.on_reservation), *_both(unit.on_usage),
            f"{from_nanos(unit.warm_cost):,.4f}",
        )  # fmt: skip
    if units:
        console.print(table)


def print_pair(found: Beside) -> None:
    """Print a version beside its parent."""
    child = f"{found.child.model} {found.child.version}"
    if found.saving is None:
        say(f"{child} beside its parent: {found.why}")
    else:
        less = f"{abs(found.saving):.1%} {'less' if found.saving >= 0 else 'more'}"
        say(f"{child} costs {less} a token than its parent, version {_version(found)}")
    for lost in found.quality:
        bounds = "" if lost.high is None else f" (to {lost.high:.4g})"
        say(f"  {lost.metric} {lost.value:.4g}{bounds}")


def pair(found: Beside) -> dict[str, object]:
    """Return a version beside its parent as plain JSON."""
    return {
        "model": found.child.model,
        "version": found.child.version,
        "parent": _version(found),
        "saving": found.saving,
        "why": found.why,
        "quality": [asdict(lost) for lost in found.quality],
    }


def _version(found: Beside) -> str | None:
    return None if found.parent is None else found.parent.version


def _both(price: PerMillion | None) -> tuple[str, str]:
    return (
        ("unknown", "unknown") if price is None else (f"{price.input:,.4f}", f"{price.output:,.4f}")
    )


def shown(
    dimensions: list[Dimension],
    sums: Mapping[Key, Total],
    units: tuple[UnitCost, ...],
    aside: tuple[CostHour, ...],
    missing: int,
) -> dict[str, object]:
    """Return all of it as plain JSON."""
    return {
        "sums": [
            dict(zip(map(str, dimensions), key, strict=True))
            | {
                name: str(from_nanos(getattr(total, name)))
                for name in ("workload", "warm", "idle", "unmeasured", "overhead", "used", "bill")
            }
            for key, total in sums.items()
        ],
        "per_million_tokens": [
            {
                "model": unit.model,
                "version": unit.version,
                "reservation": _price(unit.on_reservation),
                "usage": _price(unit.on_usage),
            }
            for unit in units
        ],
        "aside": [{"hour": hour.hour.isoformat(), "reasons": list(hour.reasons)} for hour in aside],
        "missing_hours": missing,
    }


def _price(price: PerMillion | None) -> dict[str, str] | None:
    return None if price is None else {"input": str(price.input), "output": str(price.output)}
