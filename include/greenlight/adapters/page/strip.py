"""The next hours of a schedule as bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from greenlight.scaling.schedule import Size

WIDTH, HEIGHT = 960, 76
TEXT = 14
EVERY_H = 6
GAP = 2
LABEL = 30
"""How much room the last label needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One hour."""

    x: float
    y: float
    width: float
    height: float
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A label below."""

    x: float
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """All hours. `lowest`, `highest`: hosts."""

    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    lowest: int
    highest: int
    width: int = WIDTH
    height: int = HEIGHT


def strip_of(hours: Sequence[tuple[datetime, Size]]) -> Strip:
    """Return the bars of each hour's desired hosts; an hour of none has no bar but its label."""
    hosts = [size.desired for _, size in hours]
    most = max(hosts, default=0) or 1
    step, room = WIDTH / max(1, len(hours)), HEIGHT - TEXT
    bars = []
    for number, (at, size) in enumerate(hours):
        tall = round(room * size.desired / most, 1)
        says = f"{at:%a %H:%M}: {size.desired} hosts, {size.minimum} to {size.maximum}"
        bars.append(
            Bar(
                x=round(number * step, 1),
                y=round(room - tall, 1),
                width=round(step - GAP, 1),
                height=tall,
                says=says,
            )
        )
    ticks = [
        Tick(x=round(number * step, 1), says=f"{at:%a %H}:00" if at.hour == 0 else f"{at:%H}:00")
        for number, (at, _) in enumerate(hours)
        if at.hour % EVERY_H == 0 and number * step < WIDTH - LABEL
    ]
    return Strip(
        bars=tuple(bars),
        ticks=tuple(ticks),
        lowest=min(hosts, default=0),
        highest=max(hosts, default=0),
    )
