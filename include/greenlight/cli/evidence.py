"""`greenlight evidence`: what a version was judged by, and whether that still holds."""

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
from greenlight.entrypoints import evidence

app = typer.Typer(help="Evidence: show, verify.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The registered model.")]
Number = Annotated[int, typer.Argument(min=1, help="The version.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
STYLES = {"pass": "green", "fail": "red", "insufficient": "yellow"}


@app.command()
def show(model: Name, version: Number, *, as_json: AsJson = False) -> None:
    """Show every metric with its interval, and every gate with its verdict."""
    document = evidence.show_evidence(load_settings(), model, version)
    if as_json:
        typer.echo(json.dumps(document))
        return
    console.print(*evidence_tables(document), sep="\n")


@app.command()
def verify(model: Name, version: Number, *, as_json: AsJson = False) -> None:
    """Digest the files anew, judge the metrics anew, compare the tags; exit code 1 on problems."""
    found = evidence.verify_evidence(load_settings(), model, version)
    if as_json:
        typer.echo(json.dumps(found))
    elif found["problems"]:
        console.print(f"The evidence of {model} version {version} does not hold:", markup=False)
        for problem in found["problems"]:
            console.print(f"  - {problem}", markup=False, soft_wrap=True)
    else:
        console.print(
            f"The evidence {short(found['evidence_digest'])} of {model} version {version} "
            f"({short(found['digest'])}) holds: files, metrics, gates and tags agree.",
            soft_wrap=True,
        )
    raise typer.Exit(1 if found["problems"] else 0)


def evidence_tables(document: JsonDict) -> tuple[str | Table, ...]:
    """Return what `show` prints: a heading, the metrics, the gates, the verdict."""
    parent, candidate = document["parent"], document["candidate"]
    change = candidate["bytes"] / parent["bytes"] - 1
    verdict = document["verdict"]
    return (
        f"[bold]{document['model']}[/] by recipe [bold]{candidate['recipe']['name']}[/] "
        f"({candidate['backend']}), {candidate['bytes'] / 1e6:.1f} MB: {change:+.1%} against "
        f"{parent['uri']} in {parent['dtype']}",
        _metric_table(document),
        _gate_table(document),
        f"Verdict: [bold {STYLES.get(verdict, '')}]{verdict}[/], {document['created_at']}",
    )


def _metric_table(document: JsonDict) -> Table:
    table = Table(title="Measured", title_justify="left")
    table.add_column("metric", overflow="fold")
    for column in ("value", "low", "high", "n"):
        table.add_column(column, justify="right")
    table.add_column("against")
    for metric in (*document["metrics"], *document["serving"]):
        values = [_number(metric[key], metric["unit"]) for key in ("value", "low", "high")]
        table.add_row(metric["name"], *values, str(metric["n"]), metric["baseline"] or "")
    return table


def _gate_table(document: JsonDict) -> Table:
    table = Table(title="Judged", title_justify="left")
    for column in ("gate", "metric"):
        table.add_column(column, overflow="fold")
    for column in ("bound", "limit"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    table.add_column("why")
    for result in document["results"]:
        verdict = result["verdict"]
        table.add_row(
            result["gate"],
            result["metric"],
            _number(result["bound"], ""),
            _number(result["limit"], ""),
            f"[{STYLES.get(verdict, '')}]{verdict}[/]",
            escape(result["reason"]),
        )
    return table


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{value / 1e6:.1f} MB" if unit == "bytes" else f"{value:.4g}"
