"""What the charts of the cost report share: marks, axes, and from days and amounts to places.

One size fits a phone and half a page: it is drawn small, with few labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 50, 450, 14, 216


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A label. `anchor`: as SVG has it."""

    x: float
    y: float
    says: str
    anchor: str = "middle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A rectangle of a kind, which is its class."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A path of a kind. `d`: as SVG has it."""

    d: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A drawing of `WIDTH` × `HEIGHT`. `gaps`: question marks where nothing was measured."""

    grid: tuple[Text, ...]
    dates: tuple[Text, ...]
    blocks: tuple[Block, ...] = ()
    lines: tuple[Line, ...] = ()
    areas: tuple[Line, ...] = ()
    gaps: tuple[Text, ...] = ()
    notes: tuple[Text, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """From days and amounts to places. A day is a slot of `slot` width."""

    first: date
    count: int
    top: float
    step: float

    @property
    def slot(self) -> float:
        """How wide a day is."""
        return (RIGHT - LEFT) / max(1, self.count)

    def x(self, day: date) -> float:
        """Return where a day's slot begins."""
        return round(LEFT + (day - self.first).days * self.slot, 1)

    def middle(self, day: date) -> float:
        """Return the middle of a day's slot."""
        return round(self.x(day) + self.slot / 2, 1)

    def y(self, value: float) -> float:
        """Return the height of an amount; what is beyond the axis is at its end."""
        share = min(max(value / self.top, 0.0), 1.0)
        return round(BOTTOM - share * (BOTTOM - TOP), 1)

    def grid(self, *, percent: bool = False) -> tuple[Text, ...]:
        """Return the lines of the axis, the ground first."""
        ticks = [n * self.step for n in range(round(self.top / self.step) + 1)]
        return tuple(
            Text(
                x=LEFT - 6,
                y=self.y(tick),
                says=f"{tick:.0%}" if percent else amount(tick),
                anchor="end",
            )
            for tick in ticks
        )

    def dates(self) -> tuple[Text, ...]:
        """Name four days or so."""
        every = max(1, math.ceil(self.count / 4))
        shown = range(0, self.count, every)
        return tuple(
            Text(x=self.middle(day), y=HEIGHT - 14, says=f"{day:%-d %b}")
            for day in (self.first + timedelta(days=n) for n in shown)
        )


def amount(value: float) -> str:
    """Return an amount as an axis has room for it."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= 10 * size or (abs(value) >= size and value % size == 0):
            return f"{value / size:g}{unit}"
    return f"{value:g}" if value >= 1 or value == 0 else f"{value:.2g}"


def path(places: Sequence[tuple[float, float]]) -> str:
    """Return places joined by lines, as SVG has it; empty where there are none."""
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in places) if places else ""


def scale_of(days: Sequence[date], highest: float, *, most: float | None = None) -> Scale:
    """Return the scale of these days up to an amount; `most`: an axis never goes beyond it."""
    first, last = min(days), max(days)
    top, step = nice(highest)
    if most is not None:
        top = min(top, most)
    return Scale(first=first, count=(last - first).days + 1, top=top, step=step)


def nice(highest: float) -> tuple[float, float]:
    """Return the top of an axis and the distance of its lines: 1, 2 or 5 times a power of ten."""
    rough = (highest or 1.0) / 4
    power: float = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    return step * math.ceil((highest or 1.0) / step * 1.02), step
