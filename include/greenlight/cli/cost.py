"""`greenlight cost`: compute hours, show what was spent, export it, look at advice."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from greenlight.cli.console import console, say
from greenlight.cli.cost_tables import pair, print_pair, print_sums, print_units, shown
from greenlight.core.errors import GateError, InputError
from greenlight.cost.hours import HourState
from greenlight.cost.money import from_nanos
from greenlight.cost.totals import Dimension

if TYPE_CHECKING:
    from greenlight.cost.hours import CostHour
    from greenlight.cost.unit_costs import Beside, UnitCost
    from greenlight.entrypoints.cost import Costs
    from greenlight.entrypoints.cost_advice import Advising

app = typer.Typer(
    help="Costs: run, show, export, budgets, anomalies, spot, report, analyze, advice, reconcile.",
    no_args_is_help=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
From = Annotated[
    str | None, typer.Option("--from", help="First hour, in UTC, such as 2026-11-24T10.")
]
To = Annotated[str | None, typer.Option("--to", help="The hour after the last one; now.")]
Id = Annotated[str, typer.Argument(metavar="ADVICE", help="Its id, from `advice`.")]


@app.command()
def run(
    *,
    first: From = None,
    last: To = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compute the hours that are due, or all between two; exit code 1 when one is kept aside."""
    from greenlight.entrypoints.cost import hours_between, summary

    costs = _open()
    hours = hours_between(*_span(first, last, days=1)) if first else costs.due()
    if dry_run:
        for line in costs.plan(hours):
            say(line)
        return
    found = costs.run(hours)
    if as_json:
        typer.echo(json.dumps([summary(hour) for hour in found]))
    else:
        for hour in found:
            _describe(hour)
    if aside := [hour for hour in found if hour.state is HourState.ASIDE]:
        raise GateError(f"{len(aside)} of {len(found)} hours are kept aside")


@app.command()
def show(
    *,
    by: Annotated[
        list[Dimension] | None, typer.Option("--by", help="Sum by this; may be given twice.")
    ] = None,
    first: From = None,
    last: To = None,
    as_json: AsJson = False,
) -> None:
    """Show what was spent, by model and tenant or by what is named, and per million tokens."""
    costs = _open()
    start, end = _span(first, last, days=30)
    dimensions = by or [Dimension.MODEL, Dimension.TENANT]
    sums, units = costs.sums(start, end, *dimensions), costs.unit_costs(start, end)
    pairs = _beside(units)
    aside, missing = costs.aside(start, end), costs.missing(start, end)
    if as_json:
        plain = shown(dimensions, sums, units, aside, len(missing))
        typer.echo(json.dumps(plain | {"beside_parents": [pair(one) for one in pairs]}))
        return
    if sums:
        print_sums(dimensions, sums)
    else:
        say(f"no hour from {start:%Y-%m-%d %H}:00 to {end:%Y-%m-%d %H}:00 was computed; "
            f"`greenlight cost run` computes what is due")  # fmt: skip
    print_units(units)
    for one in pairs:
        print_pair(one)
    for hour in aside:
        say(f"kept aside: {hour.hour:%Y-%m-%d %H}:00, {'; '.join(hour.reasons)}")
    if missing:
        say(f"{len(missing)} hours were not computed, the first is {missing[0]:%Y-%m-%d %H}:00")


@app.command()
def export(
    path: Annotated[Path, typer.Argument(help="The CSV file; it is replaced.")],
    *,
    first: From = None,
    last: To = None,
) -> None:
    """Write FOCUS 1.2 rows as CSV. The Parquet files are in the home's costs/focus."""
    start, end = _span(first, last, days=30)
    count = _open().export(path, start=start, end=end)
    say(f"{count:,} rows of {start:%Y-%m-%d %H}:00 to {end:%Y-%m-%d %H}:00 are in {path}")


@app.command()
def analyze(*, as_json: AsJson = False) -> None:
    """Size every host from its history, with the backtest of the advice."""
    from greenlight.entrypoints.cost_advice import as_json as plain

    found = _advising().make()
    if as_json:
        typer.echo(json.dumps([plain(one) for one in found]))
        return
    for one in found:
        host = plain(one)
        target = host["target"] or "no advice"
        saving = f", saves {Decimal(host['monthly_saving']):,.2f} a month" if one.choice else ""
        say(f"{one.host}: {one.why or target}{'' if one.why else saving}")
        for name, answer in host["resources"].items():
            line = f"{name}: {answer['why']}"
            if line not in (one.why or ""):
                say(f"  {line}{_tested(answer)}")


@app.command()
def advice(*, as_json: AsJson = False) -> None:
    """List advice and what became of it; overlapping savings count once."""
    from greenlight.entrypoints.cost_tools import open_tools

    kept, counted = open_tools().store.advice(), _advising().counted()
    if as_json:
        rows = [
            {"id": one.id, "state": str(one.state), "monthly_saving": str(one.monthly_saving),
             "realised": None if one.realised is None else str(one.realised),
             "reason": one.reason, "detail": one.detail}
            for one in kept
        ]  # fmt: skip
        total = str(counted.monthly_saving)
        typer.echo(json.dumps({"advice": rows, "monthly_saving": total}))
        return
    table = Table()
    for column in ("advice", "state", "to", "a month", "realised", "by", "reason"):
        table.add_column(column)
    for one in kept:
        realised = "-" if one.realised is None else f"{one.realised:,.2f}"
        table.add_row(
            one.id, str(one.state), str(one.detail.get("target") or "-"),
            f"{one.monthly_saving:,.2f}", realised, one.changed_by, one.reason,
        )  # fmt: skip
    console.print(table)
    say(f"all that is open or accepted saves {counted.monthly_saving:,.2f} a month")


@app.command()
def budgets(
    *,
    sync: Annotated[bool, typer.Option("--sync", help="Make AWS Budgets keep them too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show how every budget stands: spent, expected, which thresholds; exit code 1 when spent."""
    from greenlight.cost.budgets import Verdict
    from greenlight.entrypoints.cost_outlook import open_outlook, summary_of, sync_budgets
    from greenlight.entrypoints.cost_tools import open_tools

    outlook = open_outlook(open_tools())
    if sync:
        say(json.dumps(sync_budgets(outlook.file), indent=2))
        return
    statuses = outlook.statuses()
    rows = [summary_of(status) for status in statuses]
    if as_json:
        typer.echo(json.dumps(rows))
    else:
        table = Table("budget", "period", "amount", "spent", "expected", "why")
        for row in rows:
            whys = [one["why"] for one in row["checked"] if one["verdict"] != "not crossed"]
            table.add_row(
                row["budget"], row["period"], row["amount"], row["spent"] or "unknown",
                row["expected"] or "unknown", "; ".join(whys),
            )  # fmt: skip
        console.print(table)
    if spent := [one.budget.name for one in statuses if one.verdict is Verdict.CROSSED]:
        raise GateError(f"spent: {', '.join(spent)}")


@app.command()
def anomalies(
    *,
    day: Annotated[str | None, typer.Option(help="Such as 2026-11-24; yesterday.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what stands out on a day, with the rows that explain it."""
    from greenlight.cost.anomalies import Anomaly
    from greenlight.entrypoints.cost_outlook import open_outlook
    from greenlight.entrypoints.cost_tools import open_tools

    outlook = open_outlook(open_tools())
    asked = _time(day).date() if day else (outlook.until - timedelta(days=1)).date()
    found = outlook.stands_out(asked)
    odd = [one for one in found if isinstance(one, Anomaly)]
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], default=str))
        return
    for one in odd:
        say(f"{one.dimension} {one.value}: {one.cost:,.2f}, usually {one.expected:,.2f}")
        for cause in one.causes:
            labels = " ".join(cause.labels.values())
            say(f"  {labels}: {cause.cost:,.2f}, usually {cause.expected:,.2f}")
    whys = sorted({one.why for one in found if not isinstance(one, Anomaly)})
    say(f"{len(odd)} stand out on {asked}{''.join(f'; not judged: {why}' for why in whys)}")


@app.command()
def spot(
    trace: Annotated[Path, typer.Argument(help="CSV: timestamp, pool, price, taken (0 or 1).")],
    *,
    hosts: Annotated[int, typer.Option(min=1, help="How many must serve.")],
    on_demand: Annotated[float, typer.Option(min=0, help="Price of an hour on demand.")],
    floor: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the hosts that stays on demand.")
    ] = 0.3,
    step_minutes: Annotated[float, typer.Option(min=1)] = 5,
) -> None:
    """Plan a mixed fleet from the first half of a trace, and try it on the second half."""
    from greenlight.cost.spot.fleet import SpotSettings
    from greenlight.entrypoints.cost_spot import plan_and_try

    tried = plan_and_try(
        trace,
        hosts=hosts,
        on_demand=Decimal(str(on_demand)),
        step=timedelta(minutes=step_minutes),
        settings=SpotSettings(floor_share=floor),
    )
    plan, went = tried.plan, tried.replayed
    bought = ", ".join(f"{count} in {pool}" for pool, count in plan.spot) or "none on spot"
    say(f"{plan.on_demand} on demand, {bought}: saves {plan.monthly_saving:,.2f} a month by plan")
    for one in plan.left_out:
        say(f"  not {one.pool}: {one.why}")
    saving = "unknown" if went.saving is None else f"{went.saving:.1%}"
    say(
        f"tried on {went.hours:,.0f} h: saving {saving} net of {went.interruptions} interruptions, "
        f"{went.short:.3%} of the host-hours short, {went.unknown_hours:,.0f} h without prices"
    )


@app.command()
def report() -> None:
    """Write the page about the month so far, with its numbers as JSON and CSV beside it."""
    from greenlight.entrypoints import cost_page
    from greenlight.entrypoints.cost_tools import open_tools

    tools = open_tools()
    made = cost_page.make(tools)
    kept = cost_page.keep(tools, made)
    say(f"{made.headline}: {kept['page']}, and {kept['url']}")


@app.command()
def accept(name: Id) -> None:
    """Say that advice will be followed; its hosts' bill is compared from now on."""
    say(f"{_advising().accept(name, by=_me()).id} is accepted")


@app.command()
def dismiss(
    name: Id, *, reason: Annotated[str, typer.Option(help="Why; the next reader wants to know.")]
) -> None:
    """Say that advice won't be followed."""
    say(f"{_advising().dismiss(name, by=_me(), reason=reason).id} is dismissed")


@app.command()
def realise(name: Id) -> None:
    """Measure what accepted advice saves, by the bill since then."""
    found = _advising().realise(name, by=_me())
    say(f"{found.id} saves {found.realised:,.2f} a month; {found.monthly_saving:,.2f} was advised")


@app.command()
def reconcile(*, first: From = None, last: To = None, as_json: AsJson = False) -> None:
    """Compare days with AWS Cost Explorer; exit code 1 when they differ beyond the tolerance."""
    start, end = _span(first, last, days=7)
    found = _open().reconcile(start.date(), end.date())
    rows = [
        {"day": one.key, "ours": _text(one.ours), "theirs": _text(one.theirs),
         "difference": str(one.amount), "agreement": str(one.agreement)}
        for one in found.differences
    ]  # fmt: skip
    if as_json:
        typer.echo(json.dumps({"days": rows, "estimated": found.estimated}))
    else:
        for row in rows:
            say(
                f"{row['day']}: ours {row['ours'] or 'none'}, theirs {row['theirs'] or 'none'} "
                f"({row['agreement']})"
            )
        note = ", theirs may still change" if found.estimated else ""
        say(f"all together {found.amount:+,.2f} {found.currency}{note}")
    if not found.agrees:
        raise GateError("our costs and AWS' bill differ beyond the tolerance")


def _beside(units: tuple[UnitCost, ...]) -> tuple[Beside, ...]:
    from greenlight.entrypoints.cost_versions import beside_parents

    return beside_parents(units)


def _tested(answer: Mapping[str, object]) -> str:
    test = answer.get("backtest")
    if not isinstance(test, dict) or test["over"] is None:
        return ""
    return (
        f"; backtest: above for {test['over']:.2%} of the time, {test['slack']:.0%} unused, "
        f"risk {answer['risk']}"
    )


def _describe(hour: CostHour) -> None:
    bill = "no bill" if hour.bill is None else f"{from_nanos(hour.bill):,.4f} {hour.currency}"
    say(f"{hour.hour:%Y-%m-%d %H}:00 UTC: {hour.state}, {bill}, {len(hour.lines)} lines")
    for reason in hour.reasons:
        say(f"  kept aside: {reason}")
    for warning in hour.warnings:
        say(f"  warning: {warning}")


def _span(first: str | None, last: str | None, *, days: int) -> tuple[datetime, datetime]:
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    end = _time(last) if last else now
    return (_time(first) if first else end - timedelta(days=days)), end


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{text!r} is no time: write it as 2026-11-24T10:00") from error
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:.2f}"


def _open() -> Costs:
    from greenlight.entrypoints.cost import Costs
    from greenlight.entrypoints.cost_tools import open_tools

    return Costs(open_tools())


def _advising() -> Advising:
    from greenlight.entrypoints.cost_advice import Advising
    from greenlight.entrypoints.cost_tools import open_tools

    return Advising(open_tools())


def _me() -> str:
    return f"{getpass.getuser()} (greenlight cost, process {os.getpid()})"
