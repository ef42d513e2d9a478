"""`greenlight exporter`: Greenlight's own tables for Prometheus."""

from __future__ import annotations

from typing import Annotated

import typer

from greenlight.cli.console import console
from greenlight.entrypoints import exporter

app = typer.Typer(help="Greenlight's own tables as metrics.", no_args_is_help=True)


@app.command()
def run(
    address: Annotated[
        str, typer.Option(help="Loopback, or a network of your own.")
    ] = exporter.HOST,
) -> None:
    """Serve /metrics until it is told to stop (SIGTERM, Ctrl-C)."""
    exporter.serve(
        address=address, on_start=lambda url: console.print(f"Serving {url}", highlight=False)
    )


@app.callback()
def _nouns() -> None:
    """Keep `run` a command of its own, though it is the only one."""
