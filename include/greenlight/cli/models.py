"""`greenlight models`: bring models in, list them, prove that they are what they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from greenlight.cli.console import console
from greenlight.core.digest import short
from greenlight.core.errors import InputError
from greenlight.core.settings import load_settings
from greenlight.core.types import JsonDict
from greenlight.entrypoints import models, review
from greenlight.registry.tags import Tag

app = typer.Typer(help="Models: import, list, show, verify.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The registered model.")]
Number = Annotated[int, typer.Argument(min=1, help="The version.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("import")
def import_(
    source: Annotated[
        str,
        typer.Argument(
            help="A folder, a .gguf file, demo, models:/NAME/VERSION or hf://ORG/NAME@COMMIT."
        ),
    ],
    name: Annotated[str, typer.Option(help="The registered model that gets the version.")],
    licence: Annotated[
        str | None, typer.Option(help="Its SPDX identifier, where the folder states none.")
    ] = None,
    wheel: Annotated[
        Path | None, typer.Option(help="The demo's package, when it is here already.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only check; keep and register nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check a model, keep it by its digest, and register it as a version."""
    settings = load_settings()
    if dry_run:
        report = models.check_model(settings, source, licence=licence, wheel=wheel)
        _print_report(report.to_json(), as_json=as_json)
        raise typer.Exit(1 if report.refusals else 0)
    made = models.import_model(settings, source, name=name, licence=licence, wheel=wheel)
    if as_json:
        typer.echo(json.dumps(made.to_json()))
    else:
        console.print(f"{made.model} version {made.version} is {short(made.digest)}")


@app.command("list")
def list_(*, as_json: AsJson = False) -> None:
    """List every version of every model."""
    found = models.list_models(load_settings())
    if as_json:
        typer.echo(json.dumps(found))
        return
    table = Table()
    for column in ("model", "version", "digest", "kind", "dtype", "MB", "aliases", "decision"):
        table.add_column(column, overflow="fold")
    for version in found:
        tags = version["tags"]
        size = tags.get(Tag.BYTES)
        table.add_row(
            version["model"],
            str(version["version"]),
            short(version["digest"]),
            tags.get(Tag.KIND, ""),
            tags.get(Tag.DTYPE) or tags.get(Tag.RECIPE, ""),
            f"{int(size) / 1e6:.1f}" if size else "",
            ", ".join(version["aliases"]),
            tags.get(Tag.APPROVAL, ""),
        )
    console.print(table)


@app.command()
def show(model: Name, version: Number, *, as_json: AsJson = False) -> None:
    """Show one version: its tags, its description, its page."""
    found = models.show_model(load_settings(), model, version)
    if as_json:
        typer.echo(json.dumps(found))
        return
    table = Table(Column(no_wrap=True), Column(overflow="fold"), show_header=False, box=None)
    table.add_row("digest", found["digest"])
    table.add_row("created", found["created_at"])
    table.add_row("aliases", ", ".join(found["aliases"]) or "none")
    table.add_row("on this machine", "yes" if found["here"] else "no")
    for name, value in sorted(found["tags"].items()):
        table.add_row(name.removeprefix("greenlight."), value)
    table.add_row("page", found["url"])
    console.print(table)
    console.print(f"\n{found['description']}", markup=False)


@app.command()
def verify(
    model: Name,
    version: Annotated[int | None, typer.Argument(min=1, help="The version; none: all.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Read back every file of a version and compare it with the digest; exit code 1 if damaged."""
    settings = load_settings()
    numbers = [v["version"] for v in models.list_models(settings) if v["model"] == model]
    damaged = 0
    for number in [version] if version else numbers:
        try:
            models.verify_model(settings, model, number)
            outcome = {"model": model, "version": number, "problem": None}
        except InputError as error:
            damaged += 1
            outcome = {"model": model, "version": number, "problem": str(error)}
        if as_json:
            typer.echo(json.dumps(outcome))
        else:
            console.print(f"{model} version {number}: {outcome['problem'] or 'unchanged'}")
    if not numbers:
        raise InputError(f"model {model!r} has no versions")
    raise typer.Exit(1 if damaged else 0)


@app.command()
def webhook(
    url: Annotated[
        str, typer.Argument(help="Where MLflow reaches Airflow: https://airflow.example.org")
    ],
) -> None:
    """Let MLflow tell Airflow at once which version somebody wants live; can be repeated."""
    is_new = review.register(url)
    console.print("The webhook is made." if is_new else "The webhook is there; it was set anew.")


def _print_report(report: JsonDict, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report))
        return
    console.print("It may enter." if report["accepted"] else "It may not enter:")
    for refusal in report["refusals"]:
        where = f"{refusal['file']}: " if refusal["file"] else ""
        console.print(f"  - {refusal['cause']}: {where}{refusal['reason']}", markup=False)
    for key in ("architecture", "parameters", "dtype", "licence"):
        console.print(f"{key}: {report[key]}", markup=False)
