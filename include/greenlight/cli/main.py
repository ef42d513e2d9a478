"""The root command: registers the nouns and turns errors into sentences."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable

import typer

from greenlight.core.errors import GateError, GreenlightError
from greenlight.core.logs import configure_logging

NOUNS = (
    "stack", "models", "data", "quantize", "evidence", "approvals", "deploy", "backup", "restore",
    "gateway", "keys", "audit", "exporter", "cost",
    "scaling", "secrets", "production",
)  # fmt: skip
COMMANDS = {
    "demo": "demo",
    "quickstart": "quickstart",
    "doctor": "doctor",
    "simulate-engine": "simulate_engine",
    "evaluate": "evaluate",
    "gate": "evaluate",
    "top": "top",
}
"""Commands without a noun, and the module that holds each."""


def build() -> typer.Typer:
    """Return the root command with one group a noun."""
    root = typer.Typer(
        name="greenlight",
        help="Keep a fine-tuned small language model in production.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    for noun in NOUNS:
        root.add_typer(importlib.import_module(f"greenlight.cli.{noun}").app, name=noun)
    for name, module in COMMANDS.items():
        root.command(name)(_command(module, name))
    return root


def _command(module: str, name: str) -> Callable[..., None]:
    found: Callable[..., None] = getattr(
        importlib.import_module(f"greenlight.cli.{module}"), name.replace("-", "_")
    )
    return found


def app() -> None:
    """Run the command line."""
    configure_logging(level=logging.WARNING)
    try:
        build()()
    except GreenlightError as error:
        print(f"greenlight: {error}", file=sys.stderr)  # noqa: T201 - the edge of the program
        sys.exit(1 if isinstance(error, GateError) else 2)
