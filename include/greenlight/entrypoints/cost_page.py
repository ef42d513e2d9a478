"""The cost report: gathered from what was kept, written, and logged to MLflow once a day."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from greenlight.core.files import write_json
from greenlight.core.types import JsonDict
from greenlight.cost.anomalies import Anomaly, NotJudged
from greenlight.cost.bill import HOUR
from greenlight.cost.budgets import Basis, Status, Verdict
from greenlight.cost.budgets import Outlook as BudgetOutlook
from greenlight.cost.money import from_nanos
from greenlight.cost.report import (
    AdviceRow,
    AnomalyCause,
    AnomalyRow,
    BudgetRow,
    CostReport,
    DayPrice,
    ExpectedDay,
    LookBackRow,
    ModelRow,
    NamedCost,
    Outlook,
    Range,
    SavingRow,
    Standing,
)
from greenlight.cost.rightsizing.series import Resource
from greenlight.cost.savings import Recorded, State, count_once
from greenlight.cost.spend import DAY, HourlySpend
from greenlight.cost.totals import Dimension
from greenlight.cost.unit_costs import Beside, UnitCost, unit_costs
from greenlight.entrypoints.cost_outlook import CostOutlook, month_of, open_outlook
from greenlight.forecast.choose import Forecast
from greenlight.registry.ports import RunLog
from greenlight.scaling.look_back import LookBack

if TYPE_CHECKING:
    from greenlight.core.settings import Settings
    from greenlight.cost.allocation import CostLine
    from greenlight.entrypoints.cost_tools import CostTools
    from greenlight.registry.ports import ModelRegistry

log = logging.getLogger(__name__)

HEAT_DAYS = 28
HEAT_STEP = timedelta(hours=1)
SURE = 0.8
EVERYTHING = "everything"
WHERE = "where.json"
"""The file beside the page that says where both reports are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What was found about the month so far."""

    outlook: CostOutlook
    statuses: Sequence[Status]
    found: Sequence[Anomaly | NotJudged]
    beside: Callable[[tuple[UnitCost, ...]], Sequence[Beside]] = lambda _: ()
    """Finds each quantized version's parent among what was billed."""
    schedule: tuple[LookBackRow, ...] | None = None
    """Days of the fleets' schedules; `None`: no fleet has one."""


def build(tools: CostTools, looked: Looked) -> CostReport:
    """Return the report of the month so far. What isn't known is told, never left out."""
    outlook = looked.outlook
    until = outlook.until
    span = month_of(until)
    spend = outlook.spend(span.start, until)
    lines = tools.store.lines(spend.start, until)
    units = unit_costs(lines, output_weight=tools.config.output_weight)
    whole = _whole_budget(looked.statuses)
    advice = tools.store.advice()
    counted = count_once(advice)
    standing = _standing(looked.statuses)
    end = max((until - HOUR).date(), span.start.date())
    return CostReport(
        environment=tools.config.environment,
        currency=tools.prices.currency,
        start=spend.start.date(),
        end=end,
        made_at=tools.clock.now(),
        standing=standing,
        headline=_headline(standing, span.start.date(), bool(looked.statuses)),
        days=spend.days(),
        outlook=_outlook(outlook, spend),
        budget=whole.budget.amount if whole else None,
        budgets=tuple(_budget(status) for status in looked.statuses),
        prices=tuple(_prices(lines, spend, tools.config.output_weight)),
        models=_models(units, looked.beside(units)),
        tenants=_tenants(tools, spend),
        heat=_heat(tools, until),
        heat_of="GPU" if any(plan.gpus for plan in tools.plans(until - HOUR)) else "CPU",
        advice=tuple(advice_row(one, counts=one.id not in counted.overlapping) for one in advice),
        advised_monthly=counted.monthly_saving if advice else None,
        savings=_savings(advice),
        anomalies=tuple(_anomaly(one) for one in looked.found if isinstance(one, Anomaly)),
        anomalies_why_not=_why_not_judged(looked.found),
        look_back=looked.schedule,
        unknown=tuple(_unknown(tools, spend)),
        sources=tuple(sorted({price.source for price in tools.prices.prices})),
    )


def keep(tools: CostTools, made: CostReport, *, registry: ModelRegistry | None = None) -> JsonDict:
    """Write the report into the home, and log it to MLflow once a day; return where it is.

    The home's is replaced every hour. MLflow keeps one a day, by its date: a retry logs nothing
    twice. Where both are is kept beside the page, for whoever links to them.
    """
    from greenlight.adapters.cost_report import write_costs
    from greenlight.entrypoints.models import open_registry

    files = write_costs(made, tools.settings.home / "costs" / "report")
    registry = registry or open_registry(tools.settings)
    logged = registry.log_run(_run_log(made, files))
    where = {"page": str(files["page"]), "url": f"{logged.url}/artifacts/{files['page'].name}"}
    write_json(files["page"].with_name(WHERE), where)
    return where


def _run_log(made: CostReport, files: Mapping[str, Path]) -> RunLog:
    day = made.made_at.astimezone(UTC).date()
    numbers = {
        "spent": made.spent,
        "expected": made.outlook.days[-1].amount if made.outlook.days else None,
        "idle_share": made.idle_share,
        "advised_monthly": made.advised_monthly,
        "hours_missing": made.hours_missing,
    }
    return RunLog(
        key=f"cost-report-{day}",
        name=f"cost report {day}: {made.standing}",
        params={"currency": made.currency, "environment": made.environment},
        metrics={name: float(value) for name, value in numbers.items() if value is not None},
        artifacts={path.name: path for path in files.values()},
        tags={"greenlight.kind": "cost-report", "greenlight.standing": str(made.standing)},
    )


def _standing(statuses: Sequence[Status]) -> Standing:
    checked = [one for status in statuses for one in status.checked]
    if any(status.verdict is Verdict.CROSSED for status in statuses):
        return Standing.OVER
    if any(one.verdict is Verdict.CROSSED and one.basis is Basis.FORECAST for one in checked):
        return Standing.AT_RISK
    if not checked or any(one.verdict is Verdict.UNKNOWN for one in checked):
        return Standing.UNKNOWN
    return Standing.WITHIN


def _headline(standing: Standing, month: date, has_budgets: bool) -> str:
    name = f"{month:%B}"
    if not has_budgets:
        return f"{name} has no budget"
    return {
        Standing.OVER: f"A budget of {name} is spent",
        Standing.AT_RISK: f"{name} may end above its budget",
        Standing.WITHIN: f"{name} is within its budget",
        Standing.UNKNOWN: f"Whether {name} is within its budget isn't known",
    }[standing]


def _whole_budget(statuses: Sequence[Status]) -> Status | None:
    """Return the month's budget of everything, to be drawn as a line."""
    return next(
        (s for s in statuses if not s.budget.scope.named() and s.budget.period == "month"), None
    )


def _outlook(outlook: CostOutlook, spend: HourlySpend) -> Outlook:
    span = month_of(outlook.until)
    begin, ahead = outlook.ahead(span)
    if not isinstance(ahead, Forecast):
        return Outlook(why_not=ahead.why)
    so_far = spend.spent(span.start, begin)
    if so_far.amount is None or so_far.missing:
        return Outlook(why_not=f"{so_far.missing} of {so_far.hours} h so far have no bill")
    days = []
    for number, total in enumerate(ahead.by_day):
        days.append(
            ExpectedDay(
                day=(begin + number * DAY).date(),
                amount=so_far.amount + _cents(total.point),
                ranges=tuple(
                    Range(
                        level=one.level,
                        low=so_far.amount + _cents(one.low),
                        high=so_far.amount + _cents(one.high),
                    )
                    for one in total.intervals
                ),
            )
        )
    return Outlook(
        days=tuple(days),
        model=ahead.model,
        wape=ahead.accuracy.wape,
        naive_wape=ahead.accuracy.naive,
        coverage80=ahead.accuracy.coverage.get(SURE),
    )


def _budget(status: Status) -> BudgetRow:
    ahead = status.outlook if isinstance(status.outlook, BudgetOutlook) else None
    scope = status.budget.scope.named()
    crossed = [one for one in status.checked if one.verdict is Verdict.CROSSED]
    said = crossed or [one for one in status.checked if one.verdict is Verdict.UNKNOWN]
    return BudgetRow(
        name=status.budget.name,
        scope=", ".join(f"{name} {value}" for name, value in scope.items()) or EVERYTHING,
        period=status.span.name,
        amount=status.budget.amount,
        spent=status.spent.amount,
        expected=ahead.amount if ahead else None,
        low=ahead.low if ahead else None,
        high=ahead.high if ahead else None,
        standing=_standing([status]),
        says="; ".join(one.why for one in said) or "no threshold is crossed",
    )


def _prices(
    lines: Sequence[CostLine], spend: HourlySpend, output_weight: float
) -> Iterator[DayPrice]:
    """Yield a million tokens' price of each day, over all models."""
    of: dict[date, list[CostLine]] = defaultdict(list)
    for line in lines:
        of[line.hour.date()].append(line)
    for day in spend.days():
        found = unit_costs(of[day.day], output_weight=output_weight)
        inputs, outputs = (
            sum(getattr(one, name) for one in found) for name in ("input_tokens", "output_tokens")
        )
        cost = sum(one.cost - one.unknown_cost for one in found)
        work = inputs + Decimal(str(output_weight)) * outputs
        per_input = from_nanos(cost) * 1_000_000 / work if work else None
        total, idle = day.total, day.idle
        yield DayPrice(
            day=day.day,
            per_input=per_input,
            per_output=None if per_input is None else per_input * Decimal(str(output_weight)),
            idle_share=float(idle / total) if total and idle is not None else None,
        )


def _models(units: Sequence[UnitCost], pairs: Sequence[Beside]) -> tuple[ModelRow, ...]:
    of = {(pair.child.model, pair.child.version): pair for pair in pairs}
    return tuple(
        ModelRow(
            model=one.model,
            version=one.version or "unknown",
            cost=from_nanos(one.cost + one.warm_cost),
            input_tokens=one.input_tokens,
            output_tokens=one.output_tokens,
            per_input=one.on_reservation.input if one.on_reservation else None,
            per_output=one.on_reservation.output if one.on_reservation else None,
            used_per_output=one.on_usage.output if one.on_usage else None,
            **_beside(of.get((one.model, one.version))),
        )
        for one in units
    )


def _beside(pair: Beside | None) -> dict[str, Any]:
    if pair is None or pair.parent is None:
        return {}
    lost = (f"{one.metric} {one.value:.4g}" for one in pair.quality)
    return {
        "parent": pair.parent.version,
        "saving": pair.saving,
        "quality": ", ".join(lost) or None,
    }


def _tenants(tools: CostTools, spend: HourlySpend) -> tuple[NamedCost, ...]:
    sums = tools.store.sums(spend.start, spend.end, [Dimension.TENANT])
    found = [(name, total) for (name,), total in sums.items() if name is not None]
    ordered = sorted(found, key=lambda pair: -pair[1].workload)
    return tuple(NamedCost(name=name, cost=from_nanos(total.workload)) for name, total in ordered)


def _heat(tools: CostTools, until: datetime) -> tuple[tuple[float | None, ...], ...]:
    """Return how much of the hosts was used, by hour of the week; nothing: nobody measured."""
    has_gpus = any(plan.gpus for plan in tools.plans(until - HOUR))
    resource = Resource.GPU if has_gpus else Resource.CPU
    series = tools.usage.history(resource, end=until, days=HEAT_DAYS, step=HEAT_STEP)
    sums, counts = np.zeros((7, 24)), np.zeros((7, 24))
    for one in series.values():
        known = np.isfinite(one.values)
        hours = one.times[known].astype("datetime64[h]").astype(np.int64)
        places = ((hours // 24 + 3) % 7, hours % 24)  # 1 January 1970 was a Thursday
        np.add.at(sums, places, one.values[known])
        np.add.at(counts, places, 1)
    if not counts.any():
        return ()
    return tuple(
        tuple(float(s / c) if c else None for s, c in zip(row, number, strict=True))
        for row, number in zip(sums, counts, strict=True)
    )


def advice_row(one: Recorded, *, counts: bool) -> AdviceRow:
    """Return kept advice as it is shown. `counts`: no other advice is about the same hosts."""
    detail = one.detail
    sizes = {
        name: answer
        for name, answer in detail.get("resources", {}).items()
        if answer.get("answer") == "size"
    }
    tests = [answer["backtest"] for answer in sizes.values()]
    return AdviceRow(
        host=detail.get("host", ", ".join(sorted(one.resources))),
        resource=", ".join(sizes) or "unknown",
        finding=", ".join(sorted({a["finding"] for a in sizes.values() if a["finding"]})) or "none",
        reasons=tuple(reason for answer in sizes.values() for reason in answer["reasons"]),
        now=detail.get("now") or "unknown",
        target=detail.get("target"),
        monthly_saving=one.monthly_saving,
        risk=max((answer["risk"] for answer in sizes.values()), default=None),
        effort=detail.get("effort"),
        over=max((t["over"] for t in tests if t["over"] is not None), default=None),
        slack=min((t["slack"] for t in tests if t["slack"] is not None), default=None),
        tried_days=min((t["held"] for t in tests), default=0),
        why="; ".join(f"{name}: {answer['why']}" for name, answer in sizes.items()),
        state=str(one.state),
        counts=counts and one.state in (State.OPEN, State.ACCEPTED),
    )


def _savings(advice: Sequence[Recorded]) -> tuple[SavingRow, ...]:
    """Return each month's accepted advice and what was measured of it afterwards."""
    of: dict[str, list[Recorded]] = defaultdict(list)
    for one in advice:
        if one.state in (State.ACCEPTED, State.REALISED):
            of[f"{one.changed_at:%Y-%m}"].append(one)
    rows = []
    for month, found in sorted(of.items()):
        measured = [one.realised for one in found if one.realised is not None]
        rows.append(
            SavingRow(
                month=month,
                advised=sum((one.monthly_saving for one in found), Decimal(0)),
                realised=sum(measured, Decimal(0)) if measured else None,
            )
        )
    return tuple(rows)


def _anomaly(one: Anomaly) -> AnomalyRow:
    return AnomalyRow(
        day=one.day,
        since=one.since,
        what=f"{one.dimension} {one.value}",
        cost=one.cost,
        expected=one.expected,
        causes=tuple(
            AnomalyCause(
                what=" ".join(cause.labels.values()), cost=cause.cost, expected=cause.expected
            )
            for cause in one.causes
        ),
    )


def _why_not_judged(found: Sequence[Anomaly | NotJudged]) -> str | None:
    if any(isinstance(one, Anomaly) for one in found):
        return None
    whys = {one.why for one in found if isinstance(one, NotJudged)}
    return "; ".join(sorted(whys)) or None


def _unknown(tools: CostTools, spend: HourlySpend) -> Iterator[str]:
    """Yield a sentence for each day with hours that have no bill, and why."""
    reasons: dict[date, set[str]] = defaultdict(set)
    for hour in tools.store.hours(spend.start, spend.end):
        if hour.reasons:
            reasons[hour.hour.date()].update(hour.reasons)
    for day in spend.days():
        if day.hours_missing:
            why = "; ".join(sorted(reasons[day.day])) or "they were not computed yet"
            hours = "hour has" if day.hours_missing == 1 else "hours have"
            yield f"{day.hours_missing} {hours} no bill on {day.day:%-d %B}: {why}."


def _cents(amount: float) -> Decimal:
    return Decimal(f"{amount:.2f}")


def make(tools: CostTools) -> CostReport:
    """Return the report of this home's month so far, evidence of MLflow included.

    Raises:
        ConfigError: budgets.yaml is wrong.
        UnavailableError: Prometheus, MLflow or the database doesn't answer.
    """
    from greenlight.entrypoints.cost_versions import beside_parents

    outlook = open_outlook(tools)
    until = outlook.until
    days = schedule_days(tools.settings, month_of(until).start.date(), until.date())
    return build(tools, replace(look(tools, outlook), beside=beside_parents, schedule=days))


def schedule_days(settings: Settings, first: date, last: date) -> tuple[LookBackRow, ...] | None:
    """Return what was planned and what happened, by day and fleet; `None`: nothing is planned.

    Raises:
        ConfigError: scaling.yaml is wrong.
    """
    from greenlight.adapters.schedule_store import DatabaseSchedules
    from greenlight.entrypoints.scaling_tools import scheduled_fleets
    from greenlight.entrypoints.stack import open_database

    fleets = scheduled_fleets(settings)
    if not fleets:
        return None
    store = DatabaseSchedules(open_database(settings))
    found = [(fleet, one) for fleet in fleets for one in store.look_backs(fleet, first, last)]
    return tuple(day_row(fleet, one) for fleet, one in sorted(found, key=lambda p: p[1].day))


def day_row(fleet: str, one: LookBack) -> LookBackRow:
    """Return a day of a fleet's schedule as the report has it."""
    worst = "" if one.worst_hour is None else f", the most was missed at {one.worst_hour:02d}:00"
    return LookBackRow(
        day=one.day,
        planned_hours=one.planned_hours,
        used_hours=one.hours,
        planned_slo=one.planned_slo_pct / 100,
        slo=one.slo_pct / 100,
        says=f"{fleet}: demand was {one.error:.0%} off what was expected, "
        f"{one.spare_hours:.1f} GPU-hours were spare{worst}; {one.share:.0%} of it was measured",
    )


def look(tools: CostTools, outlook: CostOutlook) -> Looked:
    """Look at budgets and at yesterday."""
    return Looked(
        outlook=outlook,
        statuses=outlook.statuses(),
        found=outlook.stands_out((outlook.until - DAY).date()),
    )
