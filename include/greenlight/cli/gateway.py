"""`greenlight gateway`: what stands between clients and the fleets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from greenlight.cli.console import console
from greenlight.core.settings import load_settings
from greenlight.entrypoints.gateway import server

if TYPE_CHECKING:
    from greenlight.entrypoints.gateway.server import Listening

app = typer.Typer(help="The gateway: who may ask what, how much, and fast.", no_args_is_help=True)


@app.command()
def run() -> None:
    """Serve until it is told to stop (SIGTERM, Ctrl-C); open answers end first."""
    server.serve(on_start=_say)


@app.command()
def check() -> None:
    """Read gateway.yaml and the secrets as a start would, and start nothing."""
    settings = load_settings()
    file = server.read_file(settings)
    server.require_usable(settings, file)
    table = Table("model", "upstream", "fleet", "context", "price per 1M in / out")
    for model in file.models:
        price = model.price
        shown = f"{price.input_per_million:g} / {price.output_per_million:g}" if price else "none"
        table.add_row(model.name, model.upstream, model.fleet or "none", str(model.context), shown)
    console.print(table)
    tenants = Table("tenant", "limits of all its keys", "limits of each key")
    for tenant in file.tenants:
        limits = tenant.limits.model_dump(exclude_none=True)
        each = tenant.each_key.model_dump(exclude_none=True)
        tenants.add_row(tenant.name, _shown(limits), _shown(each))
    console.print(tenants)


@app.command()
def edge(
    reload: Annotated[
        bool, typer.Option("--reload", help="Take over a new certificate or setting instead.")
    ] = False,
) -> None:
    """Run nginx with TLS and the firewall in front, in the foreground, as `edge` says."""
    from greenlight.entrypoints.gateway import edge as front

    settings = load_settings()
    if reload:
        front.reload(settings)
        console.print("nginx has taken over; open streams go on")
    else:
        console.print(f"{front.open_edge(settings).url} -> the gateway")
        front.run(settings)


@app.command()
def openapi() -> None:
    """Print the OpenAPI document of the configured gateway."""
    from greenlight.entrypoints.gateway.openapi import document

    typer.echo(json.dumps(document(server.read_file(load_settings())), indent=2))


def _say(listening: Listening) -> None:
    console.print(f"Serving at {listening.url}, metrics at {listening.metrics_url}", soft_wrap=True)


def _shown(limits: dict[str, float]) -> str:
    return "\n".join(f"{name} {value:g}" for name, value in limits.items()) or "none"
