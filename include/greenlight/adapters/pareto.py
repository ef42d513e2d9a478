"""The plot of a search: size against quality, with error bars, and what the gates said.

Colours are Okabe and Ito's, told apart with any colour vision; shape says the same once more, for
print. Drawn without pyplot: no global state, safe in threads and in Airflow's workers.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from greenlight.adapters.plot_labels import label_points
from greenlight.core.errors import InputError
from greenlight.core.files import write_atomically

Role = Literal["parent", "recipe", "control"]
Says = Literal["pass", "fail", "insufficient"]

GREY, BLACK = "#6b6b6b", "#1a1a1a"
LOOKS = {
    "pass": ("o", "#009E73", "passed"),
    "insufficient": ("^", "#E69F00", "not enough data"),
    "fail": ("X", "#D55E00", "failed"),
    "parent": ("*", BLACK, "parent"),
    "control": ("s", "#56B4E9", "control (rounding)"),
}
WIDE = 1.5
"""A range wider than this factor is drawn on a logarithmic axis."""
DPI = 150
Y_TICKS = (1, 1.1, 1.2, 1.3, 1.5, 1.7, 2, 3, 5, 7)
SIZES = {"*": 16}
LIMIT_LINE: dict[str, Any] = {"color": BLACK, "linewidth": 1, "linestyle": (0, (5, 4))}


@dataclass(frozen=True, slots=True, kw_only=True)
class ParetoPoint:
    """One model. `value` is better when lower, with its interval; `size` in bytes of its files.

    `verdict` is what the gates said; the parent and a control that nobody judged have none.
    """

    name: str
    size: int
    value: float
    low: float | None = None
    high: float | None = None
    verdict: Says | None = None
    role: Role = "recipe"

    @property
    def look(self) -> str:
        """The key into `LOOKS`: the role where it matters, else the verdict."""
        return self.role if self.role != "recipe" else (self.verdict or "insufficient")


def frontier(points: Sequence[ParetoPoint]) -> tuple[ParetoPoint, ...]:
    """Return the parent and recipes that no other beats in size and quality, smallest first."""
    best: list[ParetoPoint] = []
    real = [point for point in points if point.role != "control"]
    for point in sorted(real, key=lambda p: (p.size, p.value)):
        if not best or point.value < best[-1].value:
            best.append(point)
    return tuple(best)


def draw_pareto(
    points: Sequence[ParetoPoint],
    path: Path,
    *,
    metric: str = "Perplexity, relative to the parent",
    title: str = "Size against quality",
    limit: float | None = None,
) -> None:
    """Write `path` as PNG and the same beside it as SVG.

    `limit` draws the gate's line. Bars are the intervals as measured; a point without one has none.

    Raises:
        InputError: there is nothing to draw.
    """
    if not points:
        raise InputError("a plot of no models cannot be drawn")
    figure = Figure(figsize=(9, 5.6), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _draw_points(axes, points)
    _draw_lines(axes, points, limit=limit)
    _dress(axes, points, metric=metric, title=title)
    _legend(axes, points, limit=limit)
    label_points(
        axes,
        [p.name for p in points],
        [(p.size / 1e6, p.value) for p in points],
        [_ends(p) for p in points],
        lines=() if limit is None else (limit,),
        colour=BLACK,
    )
    for suffix, kind in ((path.suffix, "png"), (".svg", "svg")):
        _save(figure, path.with_suffix(suffix), kind=kind)


def _draw_points(axes: Axes, points: Sequence[ParetoPoint]) -> None:
    for point in points:
        marker, colour, _ = LOOKS[point.look]
        low, high = _ends(point)
        axes.errorbar(
            point.size / 1e6,
            point.value,
            yerr=[[point.value - low], [high - point.value]] if high > low else None,
            fmt=marker,
            color=colour,
            markersize=SIZES.get(marker, 9),
            markeredgecolor="white",
            markeredgewidth=0.8,
            ecolor=colour,
            elinewidth=1.4,
            capsize=4,
            zorder=3,
        )


def _ends(point: ParetoPoint) -> tuple[float, float]:
    """Return where the error bar begins and ends: at the value where there is no bound."""
    low = point.value if point.low is None else min(point.low, point.value)
    high = point.value if point.high is None else max(point.high, point.value)
    return low, high


def _draw_lines(axes: Axes, points: Sequence[ParetoPoint], *, limit: float | None) -> None:
    best = frontier(points)
    axes.plot(
        [p.size / 1e6 for p in best],
        [p.value for p in best],
        drawstyle="steps-post",
        color=GREY,
        linewidth=1.2,
        zorder=2,
    )
    if limit is not None:
        axes.axhline(limit, **LIMIT_LINE, zorder=1)


def _legend(axes: Axes, points: Sequence[ParetoPoint], *, limit: float | None) -> None:
    """Name only what is drawn."""
    drawn = {point.look for point in points}
    handles = [
        Line2D([], [], linestyle="", marker=m, color=c, markersize=SIZES.get(m, 9), label=label)
        for look, (m, c, label) in LOOKS.items()
        if look in drawn
    ]
    handles.append(Line2D([], [], color=GREY, linewidth=1.2, label="best at its size"))
    if limit is not None:
        handles.append(Line2D([], [], **LIMIT_LINE, label=f"limit {limit:g}"))
    axes.legend(handles=handles, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _dress(axes: Axes, points: Sequence[ParetoPoint], *, metric: str, title: str) -> None:
    axes.set_title(title, loc="left", fontweight="bold", pad=12)
    axes.set_xlabel("Size of the weight files (MB)")
    axes.set_ylabel(f"{metric} (lower is better)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, color="#e6e6e6", linewidth=0.7, zorder=0)
    axes.set_axisbelow(True)
    axes.margins(x=0.12, y=0.12)
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    for axis, values, scale, ticks in (
        (axes.xaxis, [p.size for p in points], axes.set_xscale, (1, 1.2, 1.5, 2, 3, 5, 7)),
        (axes.yaxis, [p.value for p in points], axes.set_yscale, Y_TICKS),
    ):
        if min(values) > 0 and max(values) / min(values) > WIDE:
            scale("log")
            axis.set_major_locator(LogLocator(subs=ticks))
            axis.set_minor_locator(NullLocator())
            axis.set_minor_formatter(NullFormatter())
        else:
            axis.set_major_locator(MaxNLocator(8))
        axis.set_major_formatter(plain)


def _save(figure: Figure, path: Path, *, kind: str) -> None:
    """Write the same bytes for the same plot: no date, no random ids."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    with rc_context({"svg.hashsalt": "greenlight", "svg.fonttype": "none"}):
        figure.savefig(buffer, format=kind, metadata=metadata, facecolor="white")
    write_atomically(path, buffer.getvalue())
