"""`greenlight data`: make the bundled sets, add own ones, look at them, check them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from greenlight.cli.console import console
from greenlight.core.digest import short
from greenlight.core.settings import load_settings
from greenlight.entrypoints import data
from greenlight.quantize.datasets import text_of
from greenlight.quantize.jobs import Dataset, DatasetKind

app = typer.Typer(help="Data sets: build, list, show, check, add.", no_args_is_help=True)

EXCERPT_CHARS = 300

Name = Annotated[str, typer.Argument(help="The data set.")]
Version = Annotated[str | None, typer.Option(help="The version; none: the newest.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def build(*, as_json: AsJson = False) -> None:
    """Make the bundled calibration and evaluation sets."""
    _print_sets(data.build_bundle(load_settings()), as_json=as_json)


@app.command("list")
def list_(*, as_json: AsJson = False) -> None:
    """List every version of every set."""
    _print_sets(data.list_datasets(load_settings()), as_json=as_json)


@app.command()
def show(
    name: Name,
    version: Version = None,
    rows: Annotated[int, typer.Option(min=0, help="How many rows to show.")] = 3,
    *,
    as_json: AsJson = False,
) -> None:
    """Show where a set comes from, and its first rows."""
    dataset, found = data.show(load_settings(), name, version)
    shown = found[:rows]
    if as_json:
        first = [row.model_dump(mode="json", by_alias=True) for row in shown]
        typer.echo(json.dumps(dataset.model_dump(mode="json") | {"first_rows": first}))
        return
    table = Table(Column(no_wrap=True), Column(overflow="fold"), show_header=False, box=None)
    for field, value in dataset.model_dump(mode="json").items():
        table.add_row(field, str(value))
    console.print(table)
    for row in shown:
        text = text_of(row)
        console.print(f"\n{row.id}", style="bold", markup=False)
        end = "…" if len(text) > EXCERPT_CHARS else ""
        console.print(f"{text[:EXCERPT_CHARS]}{end}", markup=False)


@app.command()
def check(name: Name, version: Version = None, *, as_json: AsJson = False) -> None:
    """Check every row, and keep the report as web pages; exit code 1 if there is a problem.

    Lengths in tokens are checked by the runs that use the set: they depend on the model.
    """
    report = data.check(load_settings(), name, version)
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "success": report.success,
                    "problems": report.problems,
                    "warnings": report.warnings,
                    "docs": str(report.docs),
                }
            )
        )
    else:
        for problem in report.problems:
            console.print(f"problem: {problem}", markup=False)
        for warning in report.warnings:
            console.print(f"warning: {warning}", markup=False)
        console.print("It can be used." if report.success else "It cannot be used.")
        console.print(f"report: {report.docs}", markup=False, soft_wrap=True)
    raise typer.Exit(0 if report.success else 1)


@app.command()
def add(
    file: Annotated[Path, typer.Argument(help="A JSONL file, one row a line.")],
    name: Annotated[str, typer.Option(help="The set that gets the version.")],
    kind: Annotated[DatasetKind, typer.Option(help="What a row holds.")],
    licence: Annotated[str, typer.Option(help="Its SPDX identifier, or proprietary.")],
    version: Annotated[str | None, typer.Option(help="The version; none: the next number.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Add a file of your own; the same file again is the same version."""
    dataset = data.add_file(
        load_settings(), file, name=name, kind=kind, licence=licence, version=version
    )
    _print_sets([dataset], as_json=as_json)


def _print_sets(datasets: Sequence[Dataset], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([dataset.model_dump(mode="json") for dataset in datasets]))
        return
    if not datasets:
        console.print("There is none yet; `greenlight data build` makes the bundled ones.")
        return
    table = Table(
        Column("name", no_wrap=True),
        "version",
        "kind",
        Column("rows", justify="right"),
        Column("licence", overflow="fold"),
        Column("digest", no_wrap=True),
    )
    for dataset in datasets:
        table.add_row(
            dataset.name,
            dataset.version,
            dataset.kind,
            str(dataset.rows),
            dataset.licence,
            short(dataset.digest),
        )
    console.print(table)
