"""Where the commands print: as wide as the terminal, and wide enough for a table without one."""

from __future__ import annotations

import sys

from rich.console import Console

WIDTH = 140
"""Characters a line, when the output goes into a file or a pipe."""

console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)


def say(text: str) -> None:
    """Print a sentence as it is, on a line of its own whatever its length."""
    console.print(text, markup=False, soft_wrap=True)
