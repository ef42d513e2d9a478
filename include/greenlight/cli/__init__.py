"""`greenlight …`: every step that a DAG takes can be run and dry-run from a terminal.

One module a noun; each defines a `typer.Typer` called `app`. A user's mistake ends with one
sentence on standard error and exit code 2, never with a traceback; a gate that says no exits 1.
"""

from __future__ import annotations

from greenlight.cli.main import app

__all__ = ["app"]
