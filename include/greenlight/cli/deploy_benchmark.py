"""`greenlight deploy benchmark`: measure what is live, and compare it with the version before."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from greenlight.cli.console import console


def benchmark(
    fleet: Annotated[str, typer.Argument(metavar="FLEET", help="Name from fleet.yaml.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure what is live through the router; exit code 1 when it is slower than before."""
    from greenlight.entrypoints.performance import open_performance

    found = open_performance(fleet).measure(again=True)
    if as_json:
        typer.echo(json.dumps(found))
        return
    console.print(found["table"], markup=False, soft_wrap=True)
    console.print(found["summary"], markup=False)
    console.print(f"{found['result']}: {found['reason']}", markup=False, soft_wrap=True)
    console.print(found["run"], markup=False, soft_wrap=True)
