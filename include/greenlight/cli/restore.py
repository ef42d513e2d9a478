"""`greenlight restore`: bring everything back as it was at a chosen second; drill it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from greenlight.cli.console import console, say
from greenlight.core.errors import InputError

if TYPE_CHECKING:
    from greenlight.backup.ladder import Drill
    from greenlight.backup.restore_plan import RestorePlan
    from greenlight.entrypoints.restore import Restores

app = typer.Typer(
    help="Point-in-time restores into a named target: plan, run, databases, model, drill, drills.",
    no_args_is_help=True,
)

To = Annotated[Path, typer.Option(help="A new folder; it becomes a home.", show_default=False)]
At = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="ISO 8601, UTC unless it says otherwise, or `latest`: as far as the log goes; the "
        "newest restore point.",
    ),
]
LATEST = "latest"
RegionName = Annotated[str, typer.Option("--region", help="Restore from this one; the first.")]
OverLive = Annotated[
    bool, typer.Option("--over-live", help="Replace the live home; what is there is moved aside.")
]
Name = Annotated[
    str | None, typer.Option("--name", help="With --over-live: the live home's name, typed.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def plan(
    to: To,
    at: At = None,
    region: RegionName = "",
    *,
    over_live: OverLive = False,
    name: Name = None,
) -> None:
    """Say what a restore would take from where, and whether it is refused."""
    found = _plan(_open(), to, at, region, over_live=over_live, name=name)
    _print_plan(found)
    raise typer.Exit(1 if found.refusals else 0)


@app.command()
def run(
    to: To,
    at: At = None,
    region: RegionName = "",
    *,
    over_live: OverLive = False,
    name: Name = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="The same as `plan`.")] = False,
) -> None:
    """Restore everything, and prove that the registry and the files agree."""
    restores = _open()
    found = _plan(restores, to, at, region, over_live=over_live, name=name)
    _print_plan(found)
    if dry_run:
        raise typer.Exit(1 if found.refusals else 0)
    home = restores.run(found, say=say)
    say(f"restored; start it with: GREENLIGHT_HOME='{home}' make up")
    if over_live:
        say("then at once: greenlight backup run, since copies of the past that was given up")
        say("can't be brought to what comes now")


@app.command()
def databases(
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="As in `run`; as far as the log goes.")
    ] = None,
    region: RegionName = "",
    *,
    over_live: OverLive = False,
    name: Name = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the plan.")] = False,
) -> None:
    """Replace the live home's databases alone, as far as the log goes; its files stay."""
    from greenlight.entrypoints.backup_tools import open_tools
    from greenlight.entrypoints.restored_databases import plan_databases, restore_databases

    tools = open_tools()
    found = plan_databases(
        tools,
        region or next(iter(tools.stores)),
        at=parse_time(at),
        over_live=over_live,
        typed_name=name,
    )
    _print_plan(found)
    if dry_run:
        raise typer.Exit(1 if found.refusals else 0)
    restore_databases(tools, found, say=say)
    say("start it with: make up; then at once: greenlight backup run")


@app.command()
def model(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="The registered model.")],
    version: Annotated[int, typer.Argument(min=1, help="The version.")],
    *,
    region: Annotated[str | None, typer.Option(help="From this one; any that has them.")] = None,
) -> None:
    """Bring the lost or damaged files of one registered version back to their place."""
    from greenlight.entrypoints.backup_tools import open_tools
    from greenlight.entrypoints.restored_model import restore_model

    folder = restore_model(open_tools(), name, version, region=region, say=say)
    say(f"the files of {name} version {version} are in {folder} again")


@app.command()
def drill(
    region: RegionName = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Restore a random second into a scratch home, up to the champion's own words."""
    from greenlight.entrypoints import restore_drill

    found, report = restore_drill.drill(region or None, say=_quiet if as_json else say)
    if as_json:
        typer.echo(found.model_dump_json())
    else:
        _print_ladder(found)
        say(f"report: {report}")
    restore_drill.require_passed(found)


@app.command()
def drills(*, as_json: AsJson = False) -> None:
    """List the drills of the past, newest first."""
    from greenlight.entrypoints.backup_tools import open_tools

    found = open_tools().history.drills(limit=30)
    if as_json:
        typer.echo(json.dumps([record.drill.model_dump(mode="json") for record in found]))
        return
    table = Table()
    for column in ("began (UTC)", "kind", "region", "outcome", "RTO", "RPO", "rows lost"):
        table.add_column(column)
    for record in found:
        one = record.drill
        table.add_row(
            f"{one.began_at:%Y-%m-%d %H:%M:%S}",
            record.kind,
            one.region,
            str(record.outcome),
            _seconds(one.rto_s),
            _seconds(one.rpo_s),
            "-" if one.rows_lost is None else str(one.rows_lost),
        )
    console.print(table)


def parse_time(text: str | None) -> datetime | None:
    """Return an aware time; one without a zone is UTC. None: no time was given, or the latest.

    Raises:
        InputError: it is no time.
    """
    if text is None or text == LATEST:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"--at {text!r} is no time; write it as 2026-11-25T02:14:07 (UTC) or with a zone, "
            "2026-11-25T03:14:07+01:00"
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _open() -> Restores:
    from greenlight.entrypoints.new_machine import open_tools_anywhere
    from greenlight.entrypoints.restore import Restores

    return Restores(open_tools_anywhere())


def _plan(
    restores: Restores, to: Path, at: str | None, region: str, *, over_live: bool, name: str | None
) -> RestorePlan:
    return restores.plan(
        region or restores.regions[0],
        to=to,
        at=parse_time(at),
        to_end=at == LATEST,
        over_live=over_live,
        typed_name=name,
    )


def _print_plan(found: RestorePlan) -> None:
    for line in found.lines():
        say(line)


def _print_ladder(found: Drill) -> None:
    table = Table()
    for column in ("rung", "outcome", "seconds", "says"):
        table.add_column(column, overflow="fold")
    for result in found.rungs:
        table.add_row(result.rung, result.outcome, f"{result.seconds:.1f}", result.says)
    console.print(table)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f} s"


def _quiet(text: str) -> None:
    del text
