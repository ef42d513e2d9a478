"""Put names beside points so that nobody reads one as another's.

Each label goes to the place around its point that covers least of what is drawn already and whose
nearest point is its own; a label that has to go far gets a thin line back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation

Box = tuple[float, float, float, float]
"""Left, bottom, right, top, in pixels."""
Spot = tuple[float, float]

ANGLES = (30, -30, 0, 60, -60, 90, -90, 150, -150, 180)
DISTANCES = (11, 22, 36, 52)
"""Points (1/72 inch) from the middle of the marker to the label."""
NEAR = 22
MARKER = 9.0
"""Half the side of a marker's box, in pixels."""


def label_points(
    axes: Axes,
    names: Sequence[str],
    spots: Sequence[Spot],
    bars: Sequence[tuple[float, float]],
    *,
    lines: Sequence[float] = (),
    colour: str,
) -> None:
    """Write `names` at `spots` (data coordinates) whose error bars end at `bars`.

    `lines` are the heights of horizontal lines to keep clear of.
    """
    canvas = cast(FigureCanvasAgg, axes.figure.canvas)
    canvas.draw()
    pixels = [cast(Spot, tuple(axes.transData.transform(spot))) for spot in spots]
    taken = [_around(spot) for spot in pixels]
    for (x, _), (low, high) in zip(spots, bars, strict=True):
        left, bottom = axes.transData.transform((x, low))
        right, top = axes.transData.transform((x, high))
        taken.append((left - 3, bottom, right + 3, top))
    for height in lines:
        y = axes.transData.transform((spots[0][0], height))[1]
        taken.append((-math.inf, y - 2, math.inf, y + 2))
    order = sorted(range(len(names)), key=lambda i: -pixels[i][1])
    for index in order:
        label = _place(axes, names[index], spots[index], pixels, taken, own=index, colour=colour)
        taken.append(_box_of(label, canvas))


def _place(
    axes: Axes,
    name: str,
    spot: Spot,
    pixels: Sequence[Spot],
    taken: Sequence[Box],
    *,
    own: int,
    colour: str,
) -> Annotation:
    canvas = cast(FigureCanvasAgg, axes.figure.canvas)
    inside = cast(Box, tuple(axes.get_window_extent(canvas.get_renderer()).extents))
    best: tuple[float, float, float] | None = None
    for rank, distance in enumerate(DISTANCES):
        for turn, angle in enumerate(ANGLES):
            label = _write(axes, name, spot, angle=angle, distance=distance, colour=colour)
            box = _box_of(label, canvas)
            label.remove()
            cost = (
                10 * sum(_overlap(box, other) for other in taken)
                + 100 * (not _within(box, inside))
                + 8 * (_nearest(box, pixels) != own)
                + 3 * rank
                + 0.2 * turn
            )
            if best is None or cost < best[0]:
                best = (cost, angle, distance)
    assert best is not None
    return _write(axes, name, spot, angle=best[1], distance=best[2], colour=colour)


def _write(
    axes: Axes, name: str, spot: Spot, *, angle: float, distance: float, colour: str
) -> Annotation:
    dx = distance * math.cos(math.radians(angle))
    dy = distance * math.sin(math.radians(angle))
    line = {"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkB": 5, "shrinkA": 0}
    return axes.annotate(
        name,
        spot,
        xytext=(dx, dy),
        textcoords="offset points",
        fontsize=8.5,
        color=colour,
        ha="center" if abs(dx) < 1 else ("left" if dx > 0 else "right"),
        va="center",
        zorder=5,
        gid=f"label-{name}",
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
        arrowprops=line if distance > NEAR else None,
    )


def _box_of(label: Annotation, canvas: FigureCanvasAgg) -> Box:
    label.update_positions(canvas.get_renderer())
    left, bottom, right, top = (
        super(Annotation, label).get_window_extent(canvas.get_renderer()).extents
    )
    return (left, bottom, right, top)


def _around(spot: Spot) -> Box:
    return (spot[0] - MARKER, spot[1] - MARKER, spot[0] + MARKER, spot[1] + MARKER)


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _within(one: Box, other: Box) -> bool:
    return one[0] >= other[0] and one[1] >= other[1] and one[2] <= other[2] and one[3] <= other[3]


def _nearest(box: Box, pixels: Sequence[Spot]) -> int:
    """Return which point is closest to the box."""

    def gap(index: int) -> float:
        x, y = pixels[index]
        return math.hypot(max(box[0] - x, 0, x - box[2]), max(box[1] - y, 0, y - box[3]))

    return min(range(len(pixels)), key=gap)
