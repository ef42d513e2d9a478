"""`greenlight production`: what containers of docker-compose.yaml run."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from greenlight.cli.console import console
from greenlight.core.logs import configure_logging
from greenlight.entrypoints import production

app = typer.Typer(help="Parts of the production set-up.", no_args_is_help=True)


@app.command()
def prepare(
    make_buckets: Annotated[
        bool, typer.Option("--make-buckets", help="Also the buckets of backup.yaml's regions.")
    ] = False,
) -> None:
    """Migrate Greenlight's tables, begin the archive, tell Prometheus of the fleets."""
    production.prepare(
        make_buckets=make_buckets,
        report=lambda step, what: console.print(f"  {step:<12} {what}", soft_wrap=True),
    )


@app.command()
def route() -> None:
    """Keep every fleet's HAProxy running until it is told to stop (SIGTERM, Ctrl-C)."""
    configure_logging(service="greenlight-router", level=logging.INFO)
    production.route()
