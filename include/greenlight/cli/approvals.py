"""`greenlight approvals`: decide about a version, and see what was decided."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from greenlight.cli.console import console
from greenlight.core.digest import short
from greenlight.core.settings import load_settings
from greenlight.core.types import JsonDict
from greenlight.entrypoints import approvals
from greenlight.registry.approvals import Decision

app = typer.Typer(help="Approvals: list, approve, reject, standing.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The registered model.")]
Number = Annotated[int, typer.Argument(min=1, help="The version.")]
By = Annotated[str, typer.Option(help="Who decides.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(
    model: Annotated[str | None, typer.Argument(help="Only this model.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List decisions, oldest first."""
    found = approvals.list_approvals(load_settings(), model=model)
    if as_json:
        typer.echo(json.dumps(found))
        return
    table = Table()
    for column in ("when (UTC)", "model", "version", "decision", "by", "digest", "evidence"):
        table.add_column(column, overflow="fold")
    table.add_column("reason")
    for entry in found:
        table.add_row(
            entry["decided_at"][:19],
            entry["model"],
            str(entry["version"]),
            entry["decision"],
            entry["decided_by"],
            short(entry["digest"]),
            short(entry["evidence_digest"]),
            escape(entry["reason"]),
        )
    console.print(table)


@app.command()
def approve(
    model: Name,
    version: Number,
    by: By,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    *,
    baseline: Annotated[
        bool,
        typer.Option(
            "--baseline", help="It has no evidence: a fleet that is empty starts with it."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Approve a version on the evidence that it carries."""
    _decide(
        Decision.APPROVED,
        model,
        version,
        by=by,
        reason=reason,
        as_json=as_json,
        baseline=baseline,
    )


@app.command()
def reject(
    model: Name,
    version: Number,
    by: By,
    reason: Annotated[str, typer.Option(help="Why.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Reject a version; an earlier approval no longer counts."""
    _decide(Decision.REJECTED, model, version, by=by, reason=reason, as_json=as_json)


@app.command()
def standing(model: Name, version: Number, *, as_json: AsJson = False) -> None:
    """Say whether a version may go live now, and why; exit code 1 if not."""
    found = approvals.standing(load_settings(), model=model, version=version)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        word = "may" if found["approved"] else "may not"
        console.print(f"{model} version {version} {word} go live: {found['reason']}", markup=False)
    raise typer.Exit(0 if found["approved"] else 1)


def _decide(
    decision: Decision,
    model: str,
    version: int,
    *,
    by: str,
    reason: str,
    as_json: bool,
    baseline: bool = False,
) -> None:
    kept: JsonDict = approvals.record(
        load_settings(),
        model=model,
        version=version,
        decision=decision,
        by=by,
        reason=reason,
        baseline=baseline,
    )
    if as_json:
        typer.echo(json.dumps(kept))
    else:
        on = "as a baseline" if baseline else f"on evidence {short(kept['evidence_digest'])}"
        console.print(
            f"{model} version {version} ({short(kept['digest'])}) is {kept['decision']} by "
            f"{kept['decided_by']} {on}",
            markup=False,
        )
