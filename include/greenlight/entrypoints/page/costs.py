"""Two panels about money: what today cost and the month will, and what could be saved."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from greenlight.adapters.page.panels import AdvicePanel, CostPanel, OfferedAdvice
from greenlight.core.files import read_json
from greenlight.core.settings import Settings
from greenlight.core.types import JsonDict
from greenlight.cost.savings import State, count_once
from greenlight.entrypoints.cost_outlook import open_outlook
from greenlight.entrypoints.cost_page import SURE, WHERE, advice_row
from greenlight.entrypoints.cost_tools import CostTools, open_tools
from greenlight.entrypoints.page.sources import Sources

SHOWN = frozenset({State.OPEN, State.ACCEPTED, State.DISMISSED, State.REALISED})
REPORT = "cost-report"
"""The name of the files that `cost_report.write_costs` writes."""


def cost(sources: Sources) -> CostPanel:
    """Return today from the database, and the forecast from the last hourly report.

    A forecast takes seconds of a core for each budget: the DAG makes it, nobody's look at a page.
    """
    tools = open_tools(sources.settings, engine=sources.database)
    folder = report_folder(sources.settings)
    return cost_of(
        tools, report=_read(folder / f"{REPORT}.json"), where=_read(folder / WHERE) or {}
    )


def cost_of(tools: CostTools, *, report: JsonDict | None, where: JsonDict) -> CostPanel:
    """Return the panel. `report`: as `cost_report.as_json` wrote it; `None`: there is none yet.

    `where`: as `cost_page.keep` returned it.
    """
    outlook = open_outlook(tools)
    until = outlook.until
    midnight = until.replace(hour=0)
    today = outlook.spend(midnight, until).spent(midnight, until)
    known: dict[str, Any] = {} if report is None else _from_report(report)
    return CostPanel(
        currency=tools.prices.currency,
        today=today.amount if today.hours else None,
        today_hours=today.hours,
        today_missing=today.missing,
        report_url=where.get("url"),
        **known,
    )


def advice(sources: Sources) -> AdvicePanel:
    """Return what is advised, what is open first."""
    return advice_of(open_tools(sources.settings, engine=sources.database))


def advice_of(tools: CostTools) -> AdvicePanel:
    """Return the panel."""
    kept = tools.store.advice()
    counted = count_once(kept)
    order = [State.OPEN, State.ACCEPTED, State.REALISED, State.DISMISSED]
    shown = sorted(
        (one for one in kept if one.state in SHOWN),
        key=lambda one: (order.index(one.state), -one.monthly_saving),
    )
    return AdvicePanel(
        currency=tools.prices.currency,
        advice=tuple(
            OfferedAdvice(
                id=one.id,
                row=advice_row(one, counts=one.id not in counted.overlapping),
                changed_by=one.changed_by,
                reason=one.reason,
            )
            for one in shown
        ),
        monthly_saving=counted.monthly_saving,
    )


def report_folder(settings: Settings) -> Path:
    """Return where the last cost report is, which may not be there yet."""
    return settings.home / "costs" / "report"


def _read(path: Path) -> JsonDict | None:
    return read_json(path, who_writes="`greenlight cost report`")


def _from_report(report: JsonDict) -> dict[str, Any]:
    days, ahead = report["days"], report["outlook"]["days"]
    parts = ("serving", "warm", "idle", "unmeasured", "overhead")
    spent = [Decimal(day[part]) for day in days for part in parts if day[part] is not None]
    end = ahead[-1] if ahead else None
    sure = next((r for r in end["ranges"] if abs(r["level"] - SURE) < 1e-9), None) if end else None
    return {
        "report_at": datetime.fromisoformat(report["made_at"]).astimezone(UTC),
        "headline": report["headline"],
        "standing": report["standing"],
        "month": sum(spent, Decimal(0)) if spent else None,
        "expected": Decimal(end["amount"]) if end else None,
        "expected_by": date.fromisoformat(end["day"]) if end else None,
        "expected_low": Decimal(sure["low"]) if sure else None,
        "expected_high": Decimal(sure["high"]) if sure else None,
        "why_no_forecast": None if end else report["outlook"]["why_not"],
    }
