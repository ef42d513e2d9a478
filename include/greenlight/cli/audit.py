"""`greenlight audit`: prove the log, read it, forget somebody in it, shorten it, hand it over."""

from __future__ import annotations

import getpass
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from greenlight.cli.console import console, say
from greenlight.core.errors import GateError
from greenlight.core.settings import load_settings

if TYPE_CHECKING:
    from greenlight.entrypoints.gateway_audit import AuditLog, Checked

app = typer.Typer(help="The audit log: verify, list, erase, prune, export.", no_args_is_help=True)

DAY = ["%Y-%m-%d"]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def verify(*, as_json: AsJson = False) -> None:
    """Check every record and the end of the log; exit code 1 unless it is proven."""
    checked = _open().verify()
    if as_json:
        typer.echo(json.dumps(checked.to_json()))
    _require_proof(checked, quiet=as_json)


@app.command("list")
def list_(
    *,
    event: Annotated[str | None, typer.Option(help="Its name, or how it begins: `key`.")] = None,
    subject: Annotated[str | None, typer.Option(help="Who did it.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this one's.")] = None,
    since: Annotated[
        datetime | None, typer.Option(formats=DAY, help="From this day (UTC).")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List records, oldest first."""
    found = _open().find(
        limit=limit,
        event=event,
        subject=subject,
        tenant=tenant,
        since=since.replace(tzinfo=UTC) if since else None,
    )
    if as_json:
        typer.echo(json.dumps(found))
        return
    table = Table()
    for column in ("number", "when (UTC)", "event", "subject", "tenant", "detail"):
        table.add_column(column, overflow="fold")
    for one in found:
        table.add_row(
            str(one["number"]),
            one["at"][:19].replace("T", " "),
            one["event"],
            escape(one["identity"] or one["subject"] or "-"),
            one["tenant"] or "-",
            escape(json.dumps(one["detail"])),
        )
    console.print(table)


@app.command()
def erase(
    subject: Annotated[str, typer.Argument(help="A subject or an alias, from `list --json`.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Forget who somebody in the log is, for good; the records and their proof stay."""
    if yes or typer.confirm(f"Forget who {subject} is? This can't be undone."):
        say(f"the log knows them as {_open().erase(subject)}, and no more")


@app.command()
def prune(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete the oldest records that gateway.yaml's `audit.keep_days` lets go."""
    from greenlight.entrypoints import gateway_audit

    log, days = _open(), gateway_audit.keep_days(load_settings())
    through = log.prunable(keep_days=days)
    if through is None:
        say(f"nothing to delete: the oldest record is less than {days} days old")
        return
    what = f"all records up to {through.number} ({through.at:%Y-%m-%d})"
    if dry_run:
        say(f"would delete {what}")
    elif yes or typer.confirm(f"Delete {what}?"):
        say(f"{log.prune(through)} records are deleted; where the log begins now is signed")


@app.command()
def export(
    *,
    since: Annotated[datetime, typer.Option("--from", formats=DAY, help="The first day (UTC).")],
    until: Annotated[datetime, typer.Option("--to", formats=DAY, help="The last day (UTC).")],
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
) -> None:
    """Write the evidence of a review period; exit code 1 when the log is not proven."""
    from greenlight.entrypoints.audit_pack import Period, open_sources, write_pack

    last = until.replace(tzinfo=UTC) + timedelta(days=1)
    period = Period(since=since.replace(tzinfo=UTC), until=last)
    by = getpass.getuser()
    checked = write_pack(folder, period, sources=open_sources(load_settings(), by=by), by=by)
    say(f"the evidence of {since:%Y-%m-%d} to {until:%Y-%m-%d} is in {folder}")
    _require_proof(checked, quiet=False)


def _open() -> AuditLog:
    from greenlight.entrypoints.gateway_audit import open_log

    return open_log(load_settings(), by=getpass.getuser())


def _require_proof(checked: Checked, *, quiet: bool) -> None:
    from greenlight.gateway.audit_check import Verdict

    found = checked.verification
    if checked.set_back:
        numbers = ", ".join(map(str, checked.set_back))
        typer.echo(
            f"the log says itself that it once ended later than it should (records {numbers}): a "
            "backup was restored, or its end was cut off",
            err=True,
        )
    if found.verdict is Verdict.FAIL:
        raise GateError(f"the audit log is not what was written: {found.finding}")
    if found.verdict is Verdict.EMPTY:
        raise GateError("the audit log is empty, which proves nothing")
    if not quiet:
        say(f"all {found.records} records up to {found.last} are what was written")
