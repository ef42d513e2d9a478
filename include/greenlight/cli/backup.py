"""`greenlight backup`: make sets, look at them, verify them, delete what retention lets go."""

from __future__ import annotations

import getpass
import json
import os
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from greenlight.backup.sets import BackupKind, Verdict
from greenlight.cli.console import console, say
from greenlight.core.errors import GateError, UnavailableError
from greenlight.core.types import JsonDict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenlight.backup.inventory import Inventory, StoredSet
    from greenlight.backup.sets import BackupSet, Verification
    from greenlight.entrypoints.backup import Backups, Shown

app = typer.Typer(
    help="Backup sets: run, list, show, verify, prune, heartbeat.", no_args_is_help=True
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RegionName = Annotated[str | None, typer.Option("--region", help="Only this one; all.")]


@app.command()
def run(
    *,
    kind: Annotated[
        BackupKind | None, typer.Option(help="Of the databases' copies; what is due.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Save everything at one instant in every region, and read it back there."""
    backups = _open()
    if dry_run:
        for number, line in enumerate(backups.plan(kind).lines(), start=1):
            say(f"{number:3}. {line}")
        return
    ended = backups.run(kind, by=_me(), say=_quiet if as_json else say)
    if as_json:
        typer.echo(ended.backup.model_dump_json())
    else:
        say(f"set {ended.backup.id} is verified in {', '.join(_passed(ended.verifications))}")


@app.command("list")
def list_sets(*, region: RegionName = None, as_json: AsJson = False) -> None:
    """List the sets of every region that answers, oldest first; exit code 2 when one does not."""
    found, failed = _look(_open(), region)
    if as_json:
        typer.echo(json.dumps([_to_json(s, i.region) for i in found for s in i.sets]))
    elif any(kept.sets or kept.unreadable for kept in found):
        _print_sets(found)
    elif not failed:
        say("there is no set yet; `greenlight backup run` makes one")
    if failed:
        raise failed[0]


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="SET", help="Its id, from `list`.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show what a set holds, and what was found when it was read back."""
    found = _open().show(name)
    if as_json:
        typer.echo(json.dumps([_shown_json(entry) for entry in found]))
        return
    _describe(found[0].backup)
    for entry in found:
        checked = entry.verification
        when = f", read back {checked.at:%Y-%m-%d %H:%M:%S} UTC" if checked else ""
        say(f"region {entry.region}: {entry.stored.state if entry.stored else 'not there'}{when}")
        for finding in checked.findings if checked else ():
            say(f"  {finding}")


@app.command()
def verify(
    name: Annotated[
        str | None, typer.Argument(metavar="SET", help="Its id; the newest.", show_default=False)
    ] = None,
    *,
    region: RegionName = None,
    as_json: AsJson = False,
) -> None:
    """Read a set back where it is, every byte; exit code 1 when it isn't what was saved."""
    checks = _open().verify(name, region=region, say=_quiet if as_json else say)
    if as_json:
        typer.echo(json.dumps([check.model_dump(mode="json") for check in checks]))
    if bad := [check for check in checks if check.verdict is not Verdict.PASS]:
        raise GateError(
            f"set {bad[0].set_id} is not proven in {', '.join(check.region for check in bad)}"
        )


@app.command()
def prune(
    *,
    region: RegionName = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the plan.")] = False,
) -> None:
    """Delete the sets that retention lets go; the plan is printed first."""
    backups = _open()
    for name in [region] if region else backups.regions:
        plan = backups.prune_plan(name)
        for line in plan.lines():
            say(line)
        if dry_run:
            continue
        if plan.is_empty or yes or typer.confirm(f"Delete this in region {name}?"):
            backups.prune(plan, by=_me(), say=say)


@app.command()
def heartbeat() -> None:
    """Write a row that proves time, and measure how far the log's archive is behind."""
    from greenlight.entrypoints import backup_tasks

    for name, value in backup_tasks.beat().items():
        say(f"{name}: {value}")


def _look(backups: Backups, region: str | None) -> tuple[list[Inventory], list[UnavailableError]]:
    found: list[Inventory] = []
    failed: list[UnavailableError] = []
    for name in [region] if region else backups.regions:
        try:
            found += backups.inventories(name)
        except UnavailableError as error:
            failed.append(error)
    return found, failed


def _print_sets(found: Sequence[Inventory]) -> None:
    table = Table()
    for column in ("set", "region", "state", "kind", "restore point (UTC)", "versions", "stored"):
        table.add_column(column)
    rows = [(stored.id, kept.region, stored) for kept in found for stored in kept.sets]
    for name, place, stored in sorted(rows, key=lambda row: row[:2]):
        table.add_row(name, place, *_row(stored))
    console.print(table)
    for inventory in found:
        for name in inventory.unreadable:
            say(f"region {inventory.region}: the manifest of set {name} can't be read")


def _open() -> Backups:
    from greenlight.entrypoints.backup import Backups
    from greenlight.entrypoints.backup_tools import open_tools

    return Backups(open_tools())


def _me() -> str:
    return f"{getpass.getuser()} (greenlight backup, process {os.getpid()})"


def _passed(checks: Sequence[Verification]) -> list[str]:
    return [check.region for check in checks if check.verdict is Verdict.PASS]


def _row(stored: StoredSet) -> list[str]:
    size = sum(part.stored_bytes for part in (stored.copy, stored.snapshot) if part)
    return [
        stored.state,
        stored.copy.kind if stored.copy else "-",
        f"{stored.point_at:%Y-%m-%d %H:%M:%S}",
        str(len(stored.versions)),
        f"{size / 1e6:,.1f} MB",
    ]


def _describe(backup: BackupSet) -> None:
    say(
        f"set {backup.id}: restore point {backup.point.at:%Y-%m-%d %H:%M:%S} UTC "
        f"({backup.point.lsn}), {sum(backup.rows.values()):,} rows in {len(backup.rows)} tables"
    )
    for version in backup.versions:
        aliases = f" ({', '.join(version.aliases)})" if version.aliases else ""
        size = sum(file.size for file in version.files) / 1e6
        say(
            f"  {version.model} version {version.version}{aliases}: {version.digest[:12]}, "
            f"{len(version.files)} files, {size:,.1f} MB"
        )
    for source in backup.sources:
        say(f"  {source.name}: {source.path}, {source.files:,} files, {source.bytes / 1e6:,.1f} MB")
    say(f"  left out: {', '.join(backup.excluded) or 'nothing'}")
    for problem in backup.problems:
        say(f"  problem: {problem}")


def _to_json(stored: StoredSet, region: str) -> JsonDict:
    return {
        "id": stored.id,
        "region": region,
        "state": stored.state,
        "point_at": stored.point_at.isoformat(),
        "lacks": list(stored.lacks),
        "locked_until": stored.locked_until.isoformat() if stored.locked_until else None,
    }


def _shown_json(entry: Shown) -> JsonDict:
    checked = entry.verification
    return {
        "region": entry.region,
        "state": entry.stored.state if entry.stored else None,
        "manifest": entry.backup.model_dump(mode="json"),
        "verification": checked.model_dump(mode="json") if checked else None,
    }


def _quiet(text: str) -> None:
    del text
