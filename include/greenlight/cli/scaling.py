"""`greenlight scaling`: plan, show, diff, apply, override, replay, look back, run a loop."""

from __future__ import annotations

import getpass
import json
import logging
import os
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from greenlight.cli import scaling_tables as tables
from greenlight.cli.console import say
from greenlight.cli.durations import read_duration
from greenlight.core.errors import GateError, InputError, RefusedError
from greenlight.core.stopping import until_told

if TYPE_CHECKING:
    from greenlight.entrypoints.aws_loop import AwsLoop
    from greenlight.entrypoints.scaling import Applied, Scaling
    from greenlight.entrypoints.scaling_days import Days
    from greenlight.entrypoints.scaling_slots import SlotLoop
    from greenlight.scaling.kept import KeptSchedule

app = typer.Typer(
    help="Schedules: plan, show, diff, apply, override, replay, look-back, loop, aws-loop, run.",
    no_args_is_help=True,
)

FleetName = Annotated[str, typer.Argument(metavar="FLEET", help="Name from scaling.yaml.")]
Digest = Annotated[
    str | None, typer.Option("--digest", help="The schedule's digest, or its beginning; newest.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
NEWEST = 50


@app.command()
def plan(fleet: FleetName, *, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Plan the coming week, replay it, and keep it as a proposal; exit code 1: not enough data."""
    from greenlight.entrypoints.scaling import require_planned
    from greenlight.scaling.description import describe_plan
    from greenlight.scaling.schedule_file import write_schedule

    scaling = _open(fleet)
    found = require_planned(scaling.plan())
    text = write_schedule(found.schedule)
    kept = None if dry_run else scaling.propose(found, by=_me())
    if as_json:
        digest = kept.digest if kept else None
        typer.echo(json.dumps({"digest": digest, "waits_for": found.waits_for, "text": text}))
        return
    say(text)
    say(describe_plan(found.schedule, found.changes, found.replayed, found.waits_for))
    if kept is not None:
        waits = "waits for approval" if kept.waits_for else "may be applied"
        say(f"kept as {kept.digest[:12]}; it {waits}")


@app.command()
def show(fleet: FleetName, *, digest: Digest = None, as_json: AsJson = False) -> None:
    """Show the schedule that is applied, or another one; what waits; and how days went."""
    scaling = _open(fleet)
    newest = scaling.newest(count=NEWEST)
    kept = _chosen(newest, digest) if digest else scaling.applied()
    days = _open_days(fleet).newest(7)
    if as_json:
        typer.echo(tables.shown(kept, newest, days))
        return
    say(kept.text if kept else f"nothing is applied to {fleet}")
    tables.print_schedules(newest[:10])
    tables.print_days(days)


@app.command()
def diff(fleet: FleetName, *, digest: Digest = None) -> None:
    """Show what the newest proposal, or another one, changes in the schedule and at the target."""
    from greenlight.entrypoints.scaling import read_kept

    scaling = _open(fleet)
    kept = _chosen(scaling.newest(count=NEWEST), digest)
    before = scaling.applied_schedule()
    if before is None:
        say("nothing is applied yet")
    else:
        tables.print_diff(scaling.diff(before, read_kept(kept)))
    for reason in kept.waits_for:
        say(f"waits: {reason}")
    say("at the target:")
    for line in scaling.preview(kept):
        say(f"  {line}")


@app.command()
def apply(
    fleet: FleetName,
    *,
    digest: Digest = None,
    approve: Annotated[bool, typer.Option("--approve", help="Say yes to it first.")] = False,
    reason: Annotated[str, typer.Option(help="Why it is approved.")] = "",
    dry_run: DryRun = False,
) -> None:
    """Bring a schedule to the fleet's target; exit code 1 when it may not be applied now."""
    scaling = _open(fleet)
    kept = _chosen(scaling.newest(count=NEWEST), digest)
    if dry_run:
        for line in scaling.preview(kept):
            say(line)
        return
    if approve:
        kept = scaling.decide(kept.digest, approved=True, by=_me(), reason=reason)
    _tell(scaling.apply(kept.digest, by=_me()))


@app.command()
def reject(
    fleet: FleetName,
    *,
    digest: Digest = None,
    reason: Annotated[str, typer.Option(help="Why; the next reader wants to know.")],
) -> None:
    """Say no to a schedule; it is never applied."""
    scaling = _open(fleet)
    kept = _chosen(scaling.newest(count=NEWEST), digest)
    scaling.decide(kept.digest, approved=False, by=_me(), reason=reason)
    say(f"{kept.digest[:12]} is rejected")


@app.command()
def override(
    fleet: FleetName,
    *,
    minimum: Annotated[int | None, typer.Option("--min", min=0, help="Hosts at least.")] = None,
    maximum: Annotated[int | None, typer.Option("--max", min=0, help="Hosts at most.")] = None,
    lasts: Annotated[str, typer.Option("--for", help="Until it lapses, such as 3h or 90m.")],
    reason: Annotated[str, typer.Option(help="Why; the next reader wants to know.")],
    dry_run: DryRun = False,
) -> None:
    """Have more or fewer hosts for a time, at once, blackouts or not. Floor and ceiling bind."""
    from greenlight.scaling.schedule import Override

    now = datetime.now(UTC)
    wanted = Override(
        start=now,
        expires=now + read_duration(lasts),
        minimum=minimum,
        maximum=maximum,
        reason=reason,
        by=_me(),
    )
    _tell(_open(fleet).override(wanted, dry_run=dry_run))


@app.command()
def replay(fleet: FleetName, *, as_json: AsJson = False) -> None:
    """Try schedules on the newest days beside static, HPA, what runs now, and an oracle."""
    from greenlight.entrypoints.scaling_measured import NotPlanned
    from greenlight.scaling.demand_profile import NotEnoughData
    from greenlight.scaling.description import replay_lines

    found = _open(fleet).replay()
    if isinstance(found, NotPlanned):
        raise GateError("; ".join(found.why))
    if isinstance(found, NotEnoughData):
        raise GateError(found.why)
    if as_json:
        rows = [asdict(row) for row in found.rows]
        typer.echo(json.dumps({"first": f"{found.first}", "last": f"{found.last}", "rows": rows}))
        return
    for line in replay_lines(found):
        say(line)


@app.command("look-back")
def look_back(
    fleet: FleetName,
    *,
    day: Annotated[str | None, typer.Option(help="A local day, 2026-11-25; yesterday.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare a day with its plan and keep that; exit code 1: too little was measured."""
    from greenlight.entrypoints.scaling_measured import NotPlanned

    found = _open_days(fleet).look_back(_day(day) if day else None)
    if isinstance(found, NotPlanned):
        raise GateError("; ".join(found.why))
    if as_json:
        typer.echo(json.dumps(asdict(found) | {"day": f"{found.day}"}))
        return
    tables.print_days([found])


@app.command()
def loop(
    fleet: FleetName,
    *,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two looks.")] = 15.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, act, and end.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Start and drain the fleet's own slots between the schedule's bounds, until SIGTERM."""
    slots = _open_loop(fleet)
    if once or dry_run:
        found = slots.cycle(dry_run=dry_run)
        say(found.why)
        for step in found.steps:
            say(f"{'would ' if dry_run else ''}{step.line}")
        return
    _show_log()
    with until_told() as stop:
        slots.run(every_s=every, stop=stop)


@app.command("aws-loop")
def aws_loop(
    fleet: FleetName,
    *,
    every: Annotated[
        float, typer.Option(min=1, max=15, help="Seconds between two looks; a notice is 2 minutes.")
    ] = 5.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, act, and end.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Tell an Auto Scaling group the load, and drain hosts before AWS takes them, until SIGTERM."""
    found = _open_aws_loop(fleet)
    if once or dry_run:
        for line in found.cycle(dry_run=dry_run) or ("nothing to do",):
            say(line)
        return
    _show_log()
    with until_told() as stop:
        found.run(every_s=every, stop=stop)


@app.command()
def run(
    *,
    every: Annotated[float, typer.Option(min=1, max=15, help="Seconds between two looks.")] = 5.0,
) -> None:
    """Run the loops of all fleets with slots or an AWS group, as a service, until SIGTERM."""
    from greenlight.entrypoints.scaling_service import serve

    _show_log()
    serve(every_s=every)


def _tell(found: Applied) -> None:
    if found.why_not is not None:
        raise GateError(f"{found.schedule.digest[:12]} is not applied: {found.why_not}")
    for line in found.lines:
        say(line)


def _chosen(newest: tuple[KeptSchedule, ...], digest: str | None) -> KeptSchedule:
    found = [kept for kept in newest if kept.digest.startswith(digest or "")]
    if not found:
        raise InputError(
            f"there is no schedule {digest}: see `greenlight scaling show`"
            if digest
            else "no schedule was planned yet: `greenlight scaling plan`"
        )
    if digest and len(found) > 1:
        raise InputError(f"{digest} begins {len(found)} digests: give more of it")
    return found[0]


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{text!r} is no day: write it as 2026-11-25") from error


def _open(fleet: str) -> Scaling:
    from greenlight.entrypoints.scaling_tasks import open_scaling

    return open_scaling(fleet)


def _open_days(fleet: str) -> Days:
    from greenlight.entrypoints.scaling_tasks import open_days

    return open_days(fleet)


def _open_loop(fleet: str) -> SlotLoop:
    from greenlight.entrypoints.scaling_tools import open_loop

    found = open_loop(fleet)
    if found is None:
        raise RefusedError(f"scaling.yaml has no `target: {{kind: slots}}` for {fleet}")
    return found


def _open_aws_loop(fleet: str) -> AwsLoop:
    from greenlight.entrypoints.aws_loop import open_aws_loop

    found = open_aws_loop(fleet)
    if found is None:
        raise RefusedError(f"scaling.yaml has no `target: {{kind: aws_autoscaling}}` for {fleet}")
    return found


def _show_log() -> None:
    """A loop's log is all that is seen of it."""
    logging.getLogger("greenlight").setLevel(logging.INFO)


def _me() -> str:
    return f"{getpass.getuser()} (greenlight scaling, process {os.getpid()})"
