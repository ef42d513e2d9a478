"""The charts of the cost report, as places in drawings; the template makes the SVG of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby

from greenlight.adapters.cost_chart_frame import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    Block,
    Chart,
    Line,
    Scale,
    Text,
    amount,
    nice,
    path,
    scale_of,
)
from greenlight.cost.report import DayCost, ExpectedDay, SavingRow

PARTS = ("serving", "warm", "idle", "unmeasured", "overhead")
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
CELL, HEAT_LEFT, HEAT_TOP = 16.7, 46, 22


def daily(days: Sequence[DayCost]) -> Chart | None:
    """Stack each day's parts; `None`: no day has a bill."""
    totals = [float(total) for day in days if (total := day.total) is not None]
    if not totals:
        return None
    scale = scale_of([day.day for day in days], max(totals))
    return Chart(
        grid=scale.grid(),
        dates=scale.dates(),
        blocks=tuple(block for day in days for block in _stack(day, scale)),
        gaps=tuple(
            Text(x=scale.middle(day.day), y=_top(day, scale) - 4, says="?")
            for day in days
            if day.total is None or day.hours_missing
        ),
    )


def _top(day: DayCost, scale: Scale) -> float:
    return scale.y(float(day.total or 0))


def _stack(day: DayCost, scale: Scale) -> Iterator[Block]:
    below = 0.0
    missing = f", {day.hours_missing} h without a bill" if day.hours_missing else ""
    for part in PARTS:
        value = getattr(day, part)
        if not value or value < 0:
            continue
        top = below + float(value)
        yield Block(
            x=round(scale.x(day.day) + scale.slot * 0.1, 1),
            y=scale.y(top),
            width=round(scale.slot * 0.8, 1),
            height=round(scale.y(below) - scale.y(top), 1),
            kind=part,
            says=f"{day.day:%a %-d %b}: {part} {value:,.2f} of {day.total or 0:,.2f}{missing}",
        )
        below = top


def lines(
    days: Sequence[date], values: Mapping[str, Sequence[float | None]], *, percent: bool = False
) -> Chart | None:
    """Draw a line a name, broken where a day is unknown; `None`: all are."""
    known = [value for row in values.values() for value in row if value is not None]
    if not known:
        return None
    scale = scale_of(days, max(known), most=1.0 if percent else None)
    unknown = [
        day
        for day, *row in zip(days, *values.values(), strict=True)
        if all(value is None for value in row)
    ]
    return Chart(
        grid=scale.grid(percent=percent),
        dates=scale.dates(),
        lines=tuple(
            line
            for name, row in values.items()
            for line in _runs(list(zip(days, row, strict=True)), scale, kind=name)
        ),
        gaps=tuple(Text(x=scale.middle(day), y=BOTTOM - 4, says="?") for day in unknown),
    )


def _runs(points: Sequence[tuple[date, float | None]], scale: Scale, kind: str) -> Iterator[Line]:
    for is_known, run in groupby(points, key=lambda point: point[1] is not None):
        if not is_known:
            continue
        places = [(scale.middle(day), scale.y(value or 0.0)) for day, value in run]
        if len(places) == 1:  # A day between two unknown ones is a dot.
            places = [(places[0][0] - 1.5, places[0][1]), (places[0][0] + 1.5, places[0][1])]
        yield Line(d=path(places), kind=kind)


def outlook(
    days: Sequence[DayCost], expected: Sequence[ExpectedDay], *, budget: float | None
) -> Chart | None:
    """Draw what is spent so far, what is expected with its bands, and the budget.

    `None`: nothing is known. From the first hour without a bill on, the line is a lower bound, and
    drawn as one; it ends where a whole day has none.
    """
    spent = list(_running(days))
    if not spent and not expected:
        return None
    highs = [float(found.high) for day in expected for found in day.ranges if found.level <= 0.8]
    tops = [value for _, value in spent] + [float(day.amount) for day in expected] + highs
    highest = max(tops)
    near = budget is not None and budget <= 2.5 * highest
    calendar = [day.day for day in days] + [day.day for day in expected]
    scale = scale_of(calendar, max(highest, budget or 0.0) if near else highest)
    sure = next((n for n, day in enumerate(days) if day.hours_missing), len(spent))
    places = [(scale.middle(day), scale.y(value)) for day, value in spent]
    drawn = [Line(d=path(places[:sure]), kind="spent")]
    if len(places) > sure:
        drawn.append(Line(d=path(places[max(0, sure - 1) :]), kind="at-least"))
    if expected:
        ahead = [(scale.middle(day.day), scale.y(float(day.amount))) for day in expected]
        drawn.append(Line(d=path([*places[-1:], *ahead]), kind="expected"))
    if near and budget is not None:
        drawn.append(Line(d=f"M{LEFT} {scale.y(budget)}H{RIGHT}", kind="budget"))
    return Chart(
        grid=scale.grid(),
        dates=scale.dates(),
        areas=tuple(_bands(expected, scale)),
        lines=tuple(line for line in drawn if line.d),
        notes=_budget_note(budget, scale, near=near),
    )


def _budget_note(budget: float | None, scale: Scale, *, near: bool) -> tuple[Text, ...]:
    if budget is None:
        return ()
    says = f"budget {amount(budget)}"
    if not near:
        return (Text(x=LEFT + 6, y=TOP + 10, says=f"{says}, far above", anchor="start"),)
    y = scale.y(budget)
    return (Text(x=LEFT + 6, y=y - 5 if y > TOP + 16 else y + 15, says=says, anchor="start"),)


def _running(days: Sequence[DayCost]) -> Iterator[tuple[date, float]]:
    sum_so_far = 0.0
    for day in days:
        if day.total is None:
            return
        sum_so_far += float(day.total)
        yield day.day, sum_so_far


def _bands(expected: Sequence[ExpectedDay], scale: Scale) -> Iterator[Line]:
    levels = sorted({found.level for day in expected for found in day.ranges}, reverse=True)
    for level in levels:
        rows = [
            (day.day, found) for day in expected for found in day.ranges if found.level == level
        ]
        there = [(scale.middle(day), scale.y(float(found.high))) for day, found in rows]
        back = [(scale.middle(day), scale.y(float(found.low))) for day, found in reversed(rows)]
        if len(there) == 1:
            x = there[0][0]
            there, back = [(x - 2, there[0][1]), (x + 2, there[0][1])], [
                (x + 2, back[0][1]), (x - 2, back[0][1]),
            ]  # fmt: skip
        yield Line(d=f"{path([*there, *back])}Z", kind=f"band{level * 100:.0f}")


def savings(rows: Sequence[SavingRow]) -> Chart | None:
    """Draw two bars a month; `None`: there is no month yet."""
    known = [float(v) for row in rows for v in (row.advised, row.realised) if v is not None]
    if not known:
        return None
    top, step = nice(max([*known, 0.01]))
    scale = Scale(first=date(2000, 1, 1), count=len(rows), top=top, step=step)
    blocks, gaps, names = [], [], []
    for i, row in enumerate(rows):
        slot = date(2000, 1, 1) + timedelta(days=i)
        width = min(scale.slot * 0.32, 34)
        names.append(Text(x=scale.middle(slot), y=HEIGHT - 14, says=row.month))
        for kind, side in (("advised", -1), ("realised", 1)):
            value = getattr(row, kind)
            x = scale.middle(slot) + (-width - 1 if side < 0 else 1)
            if value is None:
                gaps.append(Text(x=round(x + width / 2, 1), y=BOTTOM - 4, says="?"))
                continue
            y = scale.y(float(value))
            says = f"{row.month}: {kind} {value:,.2f}"
            blocks.append(
                Block(x=round(x, 1), y=y, width=round(width, 1), height=round(BOTTOM - y, 1),
                      kind=kind, says=says)
            )  # fmt: skip
    return Chart(grid=scale.grid(), dates=tuple(names), blocks=tuple(blocks), gaps=tuple(gaps))


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatCell:
    """One hour of the week. `share`: how full it is drawn; `None`: not measured."""

    x: float
    y: float
    share: float | None
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heat:
    """The week. `size`: of a cell."""

    cells: tuple[HeatCell, ...]
    hours: tuple[Text, ...]
    weekdays: tuple[Text, ...]
    size: float
    height: float


def heat(rows: Sequence[Sequence[float | None]]) -> Heat | None:
    """Lay out the hours of the week; `None`: none is measured."""
    if not any(value is not None for row in rows for value in row):
        return None
    return Heat(
        cells=tuple(
            HeatCell(
                x=round(HEAT_LEFT + hour * CELL, 1),
                y=round(HEAT_TOP + day * CELL, 1),
                share=None if value is None else round(min(max(value, 0.0), 1.0), 3),
                says=f"{WEEKDAYS[day]} {hour:02}:00 UTC: "
                + ("not measured" if value is None else f"{value:.0%}"),
            )
            for day, row in enumerate(rows)
            for hour, value in enumerate(row)
        ),
        hours=tuple(
            Text(x=round(HEAT_LEFT + hour * CELL, 1), y=HEAT_TOP - 7, says=f"{hour:02}",
                 anchor="start")
            for hour in range(0, 24, 6)
        ),
        weekdays=tuple(
            Text(x=HEAT_LEFT - 8, y=round(HEAT_TOP + (day + 0.75) * CELL, 1), says=name,
                 anchor="end")
            for day, name in enumerate(WEEKDAYS)
        ),
        size=round(CELL - 1.5, 1),
        height=round(HEAT_TOP + 7 * CELL + 6, 1),
    )  # fmt: skip
