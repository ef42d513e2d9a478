"""What a dashboard is made of: plain values. Grafana's JSON and Prometheus' pages come from them.

A query may use the variables of its board as `$fleet`; with none chosen they stand for `.+`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Unit(StrEnum):
    """Grafana's ids of units."""

    REQUESTS = "reqps"
    TOKENS_S = "short"
    SECONDS = "s"
    PERCENT = "percentunit"
    BYTES = "bytes"
    COUNT = "none"
    AGO = "dateTimeFromNow"
    MONEY_HOUR = "currencyUSD"
    UP = "bool_on_off"


class Kind(StrEnum):
    """How a panel shows its queries."""

    LINES = "lines"
    STACKED = "stacked"
    NUMBER = "number"
    TABLE = "table"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One PromQL expression. `legend`: Grafana's template of a series' name.

    `rare`: there may be no series although all is well (no rollout runs, nothing was cut, no GPU).
    """

    expr: str
    legend: str = ""
    rare: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """From this value on a panel has this colour."""

    value: float | None
    colour: str


def good_below(warn: float, bad: float) -> tuple[Step, ...]:
    """Return steps for what should be small."""
    return (
        Step(value=None, colour="green"),
        Step(value=warn, colour="yellow"),
        Step(value=bad, colour="red"),
    )


def good_above(warn: float, bad: float) -> tuple[Step, ...]:
    """Return steps for what should be large: red below `bad`, yellow below `warn`."""
    return (
        Step(value=None, colour="red"),
        Step(value=bad, colour="yellow"),
        Step(value=warn, colour="green"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One picture. `runbook`: the page, with anchor, that says what to do about it.

    `width` of 24.
    """

    title: str
    about: str
    unit: Unit
    queries: tuple[Query, ...]
    kind: Kind = Kind.LINES
    steps: tuple[Step, ...] = ()
    runbook: str | None = None
    width: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A choice above the board, of a label's values."""

    name: str
    metric: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Panels that belong together."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One dashboard. `uid` is also the name of its file."""

    uid: str
    title: str
    about: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = field(default=())

    @property
    def panels(self) -> list[Panel]:
        """All of them, in order."""
        return [panel for row in self.rows for panel in row.panels]
