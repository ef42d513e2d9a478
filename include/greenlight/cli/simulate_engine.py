"""`greenlight simulate-engine`: an engine without a model, for drills and for trying things out."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from greenlight.core.errors import ConfigError
from greenlight.core.logs import configure_logging
from greenlight.core.types import JsonDict
from greenlight.testing.simulation import Simulation, simulation_of


def simulate_engine(
    model: Annotated[Path, typer.Option(help="The model's folder; it may hold simulation.json.")],
    served_model_name: Annotated[
        list[str] | None, typer.Option(help="A name it is served under; may be repeated.")
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port.")] = 8000,
    shutdown_timeout: Annotated[
        float, typer.Option(min=0, help="Seconds that open streams may take after SIGTERM.")
    ] = 0.0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting; may be repeated. See above."),
    ] = None,
) -> None:
    """Serve like vLLM, without a model, at a set speed and with set faults.

    Settings can also be changed while it runs: POST /simulation with JSON; GET shows them.
    """
    from greenlight.testing.engine_simulator import Serving, run

    configure_logging(service="greenlight-engine", level=logging.INFO)
    serving = Serving(
        model=model,
        names=tuple(served_model_name or [str(model)]),
        host=host,
        port=port,
        shutdown_s=shutdown_timeout,
    )
    changes = _changes(settings or [])
    raise typer.Exit(run(lambda: (simulation_of(model).changed(changes), serving)))


def _changes(settings: list[str]) -> JsonDict:
    changes: JsonDict = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting}: write NAME=VALUE, for example first_token_s=0.2")
        changes[name.replace("-", "_")] = value
    return changes


def _listing() -> str:
    """Return every setting that text can set, with what it does."""
    lines = [
        f"{name}: {field.description} [{field.default}]"
        for name, field in Simulation.model_fields.items()
        if field.annotation != dict[str, str]
    ]
    return "\n\n".join(["Settings:", *lines])


simulate_engine.__doc__ = f"{simulate_engine.__doc__}\n\n{_listing()}\n"
