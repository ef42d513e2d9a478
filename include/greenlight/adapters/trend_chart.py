"""One number over time, as places in a drawing; the page's template makes the SVG of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

WIDTH, HEIGHT = 660, 240
LEFT, RIGHT, TOP, BOTTOM = 58, 648, 18, 206
INSET = 16
"""Between the frame and the first and last point."""
DASHES = ("", "5 4", "1 4", "9 3 2 3")
FAR = 3
"""A target so many times above the highest value is named, not drawn: it would flatten the rest."""
MULTIPLES = (1, 2, 5, 10)
UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendPoint:
    """One measurement. `value`: seconds; none when it was not measured, which leaves a gap.

    `line`: points of one name are joined. `outcome`: what the mark says beside the number.
    """

    at: datetime
    value: float | None
    line: str
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A text at a grid line (`place` is y) or below the drawing (`place` is x)."""

    place: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A point. One that was not measured stands on the ground line."""

    x: float
    y: float
    outcome: str
    is_measured: bool
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """A drawing of `WIDTH` × `HEIGHT`. `lines`: dashes, and corners as SVG writes them.

    `target`: its place is none when it is too far above to be drawn.
    """

    ticks: tuple[Label, ...]
    dates: tuple[Label, ...]
    target_y: float | None
    target_says: str
    lines: tuple[tuple[str, str], ...]
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """From instants and seconds to places. `top` and `step` in units of `per` seconds."""

    begin: float
    end: float
    top: float
    step: float
    per: float
    unit: str

    def x(self, at: datetime) -> float:
        span = self.end - self.begin
        share = (at.timestamp() - self.begin) / span if span else 0.5
        return round(LEFT + INSET + share * (RIGHT - LEFT - 2 * INSET), 1)

    def y(self, value: float) -> float:
        return round(BOTTOM - value / self.per / self.top * (BOTTOM - TOP), 1)


def trend_of(points: Sequence[TrendPoint], *, target: float) -> Trend | None:
    """Lay out a number over time against its target; none: it was never measured."""
    values = [point.value for point in points if point.value is not None]
    if not values:
        return None
    scale = _scale(points, values, target=target)
    is_near = target <= scale.top * scale.per
    target_says = f"target {target / scale.per:g} {scale.unit}"
    ticks = [n * scale.step for n in range(round(scale.top / scale.step) + 1)]
    return Trend(
        ticks=tuple(
            Label(place=scale.y(tick * scale.per), text=f"{tick:g} {scale.unit}") for tick in ticks
        ),
        dates=tuple(_dates(points, scale)),
        target_y=scale.y(target) if is_near else None,
        target_says=target_says if is_near else f"{target_says}, above",
        lines=tuple(_lines(points, scale)),
        marks=tuple(_mark(point, scale) for point in points),
    )


def line_styles(points: Sequence[TrendPoint]) -> Mapping[str, str]:
    """Return the dashes of every line by its name."""
    names = sorted({point.line for point in points})
    return {name: DASHES[number % len(DASHES)] for number, name in enumerate(names)}


def _scale(points: Sequence[TrendPoint], values: Sequence[float], *, target: float) -> _Scale:
    highest = max(values)
    reach = max(highest, target) if target <= FAR * highest else highest
    reach = reach or min(target, 1.0)
    per, unit = next(((size, name) for size, name in UNITS if reach >= 2 * size), UNITS[-1])
    step = _step(reach / per)
    times = [point.at.timestamp() for point in points]
    return _Scale(
        begin=min(times),
        end=max(times),
        top=step * math.ceil(reach / per / step * 1.05),
        step=step,
        per=per,
        unit=unit,
    )


def _step(reach: float) -> float:
    """Return the distance of four grid lines or so: 1, 2 or 5 times a power of ten."""
    rough = reach / 4
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(multiple * power for multiple in MULTIPLES if multiple * power >= rough * 0.999)


def _dates(points: Sequence[TrendPoint], scale: _Scale) -> Iterator[Label]:
    """Name the first day and the last, and one in the middle when there is room."""
    times = sorted({point.at for point in points})
    shown = [times[0], *times[len(times) // 2 : len(times) // 2 + 1][: len(times) > 4], times[-1]]
    for text, at in {f"{at:%Y-%m-%d}": at for at in shown}.items():
        yield Label(place=min(max(scale.x(at), LEFT + INSET), RIGHT - 2 * INSET), text=text)


def _lines(points: Sequence[TrendPoint], scale: _Scale) -> Iterator[tuple[str, str]]:
    for name, dashes in line_styles(points).items():
        runs: list[list[str]] = [[]]
        for point in sorted((p for p in points if p.line == name), key=lambda p: p.at):
            if point.value is None:
                runs.append([])
            else:
                runs[-1].append(f"{scale.x(point.at)},{scale.y(point.value)}")
        yield from ((dashes, " ".join(run)) for run in runs if len(run) > 1)


def _mark(point: TrendPoint, scale: _Scale) -> Mark:
    is_measured = point.value is not None
    value = f"{(point.value or 0) / scale.per:.3g} {scale.unit}" if is_measured else "not measured"
    return Mark(
        x=scale.x(point.at),
        y=scale.y(point.value or 0),
        outcome=point.outcome,
        is_measured=is_measured,
        says=f"{point.at:%Y-%m-%d %H:%M} UTC, {point.line}: {value}, {point.outcome}",
    )
