"""The page about costs: what was spent, on what, what will be, and what to do about it.

One HTML file that needs nothing else, with its numbers beside it as JSON and CSV: it is kept in
MLflow, mailed, printed, and read on a phone.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from greenlight.adapters import cost_chart_frame, cost_charts
from greenlight.core.files import write_atomically, write_json
from greenlight.core.types import JsonDict
from greenlight.cost.report import CostReport, ExpectedDay, Standing

TEMPLATE = Path(__file__).with_name("cost_report.html.j2")
MARKS = {
    Standing.WITHIN: "✔ within budget",
    Standing.AT_RISK: "! at risk",
    Standing.OVER: "✘ over budget",
    Standing.UNKNOWN: "? unknown",
}
"""Words beside the marks: neither colour nor a symbol alone should decide."""
CLASSES = {
    Standing.WITHIN: "good",
    Standing.AT_RISK: "warn",
    Standing.OVER: "bad",
    Standing.UNKNOWN: "unsure",
}
UNKNOWN = "unknown"
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a cell that begins so for a formula."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number at the head of the page."""

    name: str
    value: str
    note: str
    standing: Standing | None = None


def render_costs(report: CostReport) -> str:
    """Return the page. The same report gives the same page: no clock, no random ids."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"money": money, "percent": percent, "count": count, "utc": utc}
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    days = [price.day for price in report.prices]
    return template.render(
        report=report,
        figures=_figures(report),
        marks=MARKS,
        classes=CLASSES,
        frame=cost_chart_frame,
        daily=cost_charts.daily(report.days),
        outlook=cost_charts.outlook(
            report.days,
            report.outlook.days,
            budget=None if report.budget is None else float(report.budget),
        ),
        prices=cost_charts.lines(
            days,
            {
                "per-output": [_float(price.per_output) for price in report.prices],
                "per-input": [_float(price.per_input) for price in report.prices],
            },
        )
        if days
        else None,
        idle=cost_charts.lines(
            days, {"idle-share": [price.idle_share for price in report.prices]}, percent=True
        )
        if days
        else None,
        heat=cost_charts.heat(report.heat),
        savings=cost_charts.savings(report.savings),
        last=report.end - timedelta(days=1),
        most=max((row.cost for row in report.tenants if row.cost is not None), default=None),
    )


def write_costs(report: CostReport, folder: Path) -> Mapping[str, Path]:
    """Write the page and its numbers; return the files by name. Writing again replaces them."""
    files = {
        "page": folder / "cost-report.html",
        "json": folder / "cost-report.json",
        "days": folder / "cost-days.csv",
        "advice": folder / "cost-advice.csv",
    }
    write_atomically(files["page"], render_costs(report).encode())
    write_json(files["json"], as_json(report))
    write_atomically(files["days"], as_csv(report.days, report.currency).encode())
    write_atomically(files["advice"], as_csv(report.advice, report.currency).encode())
    return files


def as_json(report: CostReport) -> JsonDict:
    """Return the report as JSON has it: amounts as text, so that no cent is lost; unknown: null."""
    found: JsonDict = _plain(dataclasses.asdict(report))
    return found


def as_csv(rows: Iterable[Any], currency: str) -> str:
    """Return rows of one kind as CSV; unknown is an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for number, row in enumerate(rows):
        values = dataclasses.asdict(row)
        if not number:
            writer.writerow([*values, "currency"])
        writer.writerow([*(_cell(value) for value in values.values()), currency])
    return out.getvalue()


def money(value: Decimal | None) -> str:
    """Return an amount; small prices keep two figures that say something."""
    if value is None:
        return UNKNOWN
    if value and abs(value) < Decimal("0.1"):
        return f"{value:.4f}"
    return f"{value:,.2f}"


def percent(share: float | None, digits: int = 0) -> str:
    """Return a share."""
    return UNKNOWN if share is None else f"{share * 100:.{digits}f}\u00a0%"


def count(number: float | None) -> str:
    """Return a number of tokens or hours as people say it."""
    if number is None:
        return UNKNOWN
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:g}"


def utc(at: datetime) -> str:
    """Return an instant to the minute."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _figures(report: CostReport) -> list[Figure]:
    tokens = [row for row in report.models if row.per_output is not None]
    best = min(tokens, key=lambda row: row.per_output or 0, default=None)
    return [
        _spent(report),
        _expected(report),
        Figure(
            name="1M output tokens",
            value=money(best.per_output) if best else UNKNOWN,
            note=f"{best.model} {best.version}, the cheapest" if best else "no tokens counted",
            standing=None if best else Standing.UNKNOWN,
        ),
        Figure(
            name="Idle",
            value=percent(report.idle_share),
            note="of what was spent",
            standing=Standing.UNKNOWN if report.idle_share is None else None,
        ),
        Figure(
            name="Could be saved a month",
            value=money(report.advised_monthly),
            note="by the advice below, overlaps counted once",
            standing=Standing.UNKNOWN if report.advised_monthly is None else None,
        ),
    ]


def _spent(report: CostReport) -> Figure:
    missing, note = report.hours_missing, report.currency
    if report.spent is None:
        note = "no hour has a bill yet"
    elif missing:
        note = f"at least: {missing} h without a bill"
    unsure = report.spent is None or missing > 0
    return Figure(
        name="Spent so far",
        value=money(report.spent),
        note=note,
        standing=Standing.UNKNOWN if unsure else None,
    )


def _expected(report: CostReport) -> Figure:
    name = f"Expected by {_last(report):%-d %B}"
    if not report.outlook.days:
        why = report.outlook.why_not or "no forecast was made"
        return Figure(name=name, value=UNKNOWN, note=why, standing=Standing.UNKNOWN)
    end = report.outlook.days[-1]
    sure = next((found for found in end.ranges if abs(found.level - 0.8) < 1e-9), None)
    note = "how sure that is isn't known yet"
    if sure is not None:
        note = f"in 8 of 10 cases {sure.low:,.0f} to {sure.high:,.0f}"
    return Figure(
        name=name, value=money(end.amount), note=note, standing=_against(end, report.budget)
    )


def _against(end: ExpectedDay, budget: Decimal | None) -> Standing | None:
    if budget is None:
        return None
    if end.amount > budget:
        return Standing.OVER
    sure = next((found for found in end.ranges if abs(found.level - 0.8) < 1e-9), None)
    return Standing.AT_RISK if sure is not None and sure.high > budget else Standing.WITHIN


def _last(report: CostReport) -> date:
    return report.outlook.days[-1].day if report.outlook.days else report.days[-1].day


def _float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    return value


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = " ".join(str(one) for one in value)
    text = str(_plain(value))
    return f"'{text}" if isinstance(value, str) and text.startswith(FORMULA) else text
