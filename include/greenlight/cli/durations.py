"""Lengths of time as people write them on a command line: `90d`, `24h`, `30m`, `0s`."""

from __future__ import annotations

import re
from datetime import timedelta

import typer

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
PATTERN = re.compile(rf"([0-9]{{1,6}})([{''.join(UNITS)}])")


def read_duration(text: str) -> timedelta:
    """Return a length of time.

    Raises:
        BadParameter: it is none.
    """
    found = PATTERN.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no length of time; write 30m, 24h, 90d or 2w")
    return timedelta(**{UNITS[found[2]]: int(found[1])})
