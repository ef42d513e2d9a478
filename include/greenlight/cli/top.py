"""`greenlight top`: what serves, how fast, and what it costs, in the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from greenlight.cli.console import console
from greenlight.core.errors import UnavailableError
from greenlight.core.settings import load_settings
from greenlight.core.stopping import until_told
from greenlight.entrypoints.top import Cell, Row, View, asking

NO_DATA = "no data"
BUSY, FULL = 0.8, 0.95
"""Shares of a KV cache; EngineKvCacheFull rings at the second."""
QUEUE, SLOW_S, FAILING = 8, 2.5, 0.02
"""As EngineQueueGrows, the aim for first tokens, and GatewayErrorsBurnFast have them."""
SLOTS = {"blue": "blue", "green": "green"}
Shown = tuple[Cell, str, Callable[[float], Text]]


def _plain(form: str, *, scale: float = 1, unit: str = "") -> Callable[[float], Text]:
    return lambda value: Text(f"{value * scale:{form}}{unit}")


def _warned(
    form: str, *, above: float, red: float, scale: float = 1, unit: str = ""
) -> Callable[[float], Text]:
    def show(value: float) -> Text:
        style = "red" if value >= red else "yellow" if value >= above else "green"
        return Text(f"{value * scale:{form}}{unit}", style=style)

    return show


_first = _warned(".0f", above=SLOW_S, red=2 * SLOW_S, scale=1000, unit=" ms")
_tokens, _cost = _plain(",.1f"), _plain(",.4f")
_waiting = _warned(".0f", above=1, red=QUEUE)
ENGINES: tuple[Shown, ...] = (
    (Cell.TTFT_P50, "first token p50", _first),
    (Cell.TTFT_P95, "p95", _first),
    (Cell.TOKENS, "tokens/s", _tokens),
    (Cell.RUNNING, "running", _plain(".0f")),
    (Cell.WAITING, "queue", _waiting),
    (Cell.KV_CACHE, "KV cache", _warned(".0f", above=BUSY, red=FULL, scale=100, unit=" %")),
)
MODELS: tuple[Shown, ...] = (
    *ENGINES[:3],
    (Cell.WAITING, "queue", _waiting),
    (Cell.COST, "cost/h", _cost),
    (Cell.COST_MILLION, "per 1M output", _cost),
)
ALL: tuple[Shown, ...] = (
    (Cell.REQUESTS, "requests/s", _tokens),
    (Cell.FAILED, "failed", _warned(".2f", above=0.0001, red=FAILING, scale=100, unit=" %")),
    (Cell.TTFT_P95, "first token p95", _first),
    (Cell.TOKENS, "tokens/s", _tokens),
    (Cell.CACHE_HITS, "cache hits", _plain(".0f", scale=100, unit=" %")),
    (Cell.COST, "cost/h", _cost),
)


def top(
    *,
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Look once, and print JSON.")] = False,
    every: Annotated[float, typer.Option(min=0.5, help="Seconds between two looks.")] = 2.0,
) -> None:
    """Show what serves, how fast, and what it costs, until Ctrl-C; into a pipe, once."""
    with asking(load_settings()) as look_at:
        if as_json:
            typer.echo(json.dumps(look_at(_now()).to_json(), indent=2))
        elif once or not console.is_terminal:
            console.print(screen(look_at(_now())))
        else:
            _follow(look_at, every=every)


def screen(view: View) -> RenderableType:
    """Return a look as tables."""
    hour = NO_DATA if view.cost_hour is None else f"{view.cost_hour:%Y-%m-%d %H:%M} UTC"
    return Group(
        Text(f"Greenlight at {view.at:%H:%M:%S} UTC; costs are of the hour from {hour}"),
        _table("gateway", (), [view.everything], ALL),
        _table("models", ("model",), view.models, MODELS),
        _engines(view.engines),
    )


def _follow(look_at: Callable[[datetime], View], *, every: float) -> None:
    """Look again and again. A Prometheus that is away is said, and asked again."""
    with (
        until_told() as stop,
        Live(Text("asking Prometheus"), console=console, screen=True) as live,
    ):
        while not stop.is_set():
            try:
                live.update(screen(look_at(_now())), refresh=True)
            except UnavailableError as error:
                live.update(Text(f"{NO_DATA}: {error}", style="red"), refresh=True)
            stop.wait(every)


def _engines(rows: Sequence[Row]) -> Table:
    table = _headed("engines", ("fleet", "host", "slot", "state"), ENGINES)
    for row in rows:
        slot = row.labels["colour"]
        names = (row.labels["fleet"], row.labels["host"])
        table.add_row(
            *names, Text(slot, style=SLOTS.get(slot, "")), _state(row), *_cells(row, ENGINES)
        )
    return _or_no_data(table)


def _state(row: Row) -> Text:
    """Say whether an engine answers. One of the colour that doesn't serve is off, as a rule."""
    up, live = row.cells[Cell.UP], row.cells[Cell.LIVE]
    if up is None:
        return _missing()
    if up:
        return Text("serves", style="green") if live else Text("up")
    return Text("off", style="dim") if live == 0 else Text("down", style="red")


def _table(title: str, names: Sequence[str], rows: Sequence[Row], shown: Sequence[Shown]) -> Table:
    table = _headed(title, names, shown)
    for row in rows:
        table.add_row(*(row.labels[name] for name in names), *_cells(row, shown))
    return _or_no_data(table)


def _headed(title: str, names: Sequence[str], shown: Sequence[Shown]) -> Table:
    table = Table(*names, title=title, title_justify="left")
    for _, heading, _ in shown:
        table.add_column(heading, justify="right")
    return table


def _or_no_data(table: Table) -> Table:
    if not table.row_count:
        table.add_row(*(_missing() for _ in table.columns))
    return table


def _cells(row: Row, shown: Sequence[Shown]) -> list[Text]:
    return [
        _missing() if (value := row.cells[cell]) is None else show(value) for cell, _, show in shown
    ]


def _missing() -> Text:
    return Text(NO_DATA, style="dim")


def _now() -> datetime:
    return datetime.now(UTC)
