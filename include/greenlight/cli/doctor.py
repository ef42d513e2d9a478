"""`greenlight doctor`: is this set-up fit for production, line by line."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from greenlight.cli.console import console
from greenlight.core.findings import Answer, worst
from greenlight.entrypoints.doctor import open_doctor

COLOURS = {
    Answer.OK: "green", Answer.WARNING: "yellow", Answer.FAILED: "red", Answer.UNKNOWN: "magenta",
}  # fmt: skip


def doctor(
    *,
    only: Annotated[
        list[str] | None, typer.Argument(help="Parts to look at; all.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check the set-up and say what to do; exit code 1 when something failed or is not known."""
    findings = list(open_doctor().run(only or ()))
    answer = worst(findings)
    if as_json:
        shown = {"answer": answer, "findings": [one.to_json() for one in findings]}
        typer.echo(json.dumps(shown, indent=2))
    else:
        table = Table("part", "answer", "evidence", "what to do", show_lines=False)
        for one in findings:
            colour = COLOURS[one.answer]
            table.add_row(one.part, f"[{colour}]{one.answer}[/]", one.evidence, one.fix)
        console.print(table)
        passed = sum(one.answer is Answer.OK for one in findings)
        console.print(f"{passed} of {len(findings)} lines are ok; the whole: {answer}")
    if answer in (Answer.FAILED, Answer.UNKNOWN):
        raise typer.Exit(1)
