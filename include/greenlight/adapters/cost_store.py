"""Costs in Greenlight's database. An hour is replaced whole; everything else by its key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from greenlight.adapters.database import connected
from greenlight.adapters.database_tables import (
    BUDGET_ALERTS,
    COST_ADVICE,
    COST_HOURS,
    COST_LINES,
)
from greenlight.core.types import JsonDict
from greenlight.cost.allocation import CostLine
from greenlight.cost.bill import ItemKind
from greenlight.cost.claims import Group, Part
from greenlight.cost.hours import CostHour, HourState
from greenlight.cost.savings import Recorded, State
from greenlight.cost.totals import Dimension, Key, Total, require_one_currency

LINE_FIELDS = tuple(field.name for field in fields(CostLine))
CHUNK = 1000
LOCK = 0x636F7374  # "cost"


class DatabaseCosts:
    """`cost.ports.CostStore` on Postgres."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def save_hour(self, hour: CostHour) -> None:
        """Keep an hour in place of what was kept for it; of two at a time, the second one."""
        number = int(hour.hour.timestamp()) // 3600
        row = {
            "hour": hour.hour,
            "state": str(hour.state),
            "computed_at": hour.computed_at,
            "inputs": hour.inputs,
            "bill": hour.bill,
            "currency": hour.currency,
            "reasons": list(hour.reasons),
            "warnings": list(hour.warnings),
        }
        lines = [_line_row(line, number) for number, line in enumerate(hour.lines)]
        with connected(self._engine) as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK, number)))
            connection.execute(sa.delete(COST_HOURS).where(COST_HOURS.c.hour == hour.hour))
            connection.execute(sa.insert(COST_HOURS).values(row))
            for start in range(0, len(lines), CHUNK):
                connection.execute(sa.insert(COST_LINES), lines[start : start + CHUNK])

    def hours(self, start: datetime, end: datetime) -> tuple[CostHour, ...]:
        """Return the hours in `[start, end)`, oldest first, without their lines."""
        query = (
            sa.select(COST_HOURS)
            .where(COST_HOURS.c.hour >= start, COST_HOURS.c.hour < end)
            .order_by(COST_HOURS.c.hour)
        )
        with connected(self._engine) as connection:
            rows = connection.execute(query).mappings().all()
        return tuple(_hour(row) for row in rows)

    def states(self, start: datetime, end: datetime) -> Mapping[datetime, HourState]:
        """Return what became of the hours in `[start, end)`."""
        return {hour.hour: hour.state for hour in self.hours(start, end)}

    def lines(self, start: datetime, end: datetime) -> tuple[CostLine, ...]:
        """Return the lines of the hours in `[start, end)`, by hour and as they were saved."""
        query = (
            sa.select(*(COST_LINES.c[name] for name in LINE_FIELDS))
            .where(COST_LINES.c.hour >= start, COST_LINES.c.hour < end)
            .order_by(COST_LINES.c.hour, COST_LINES.c.number)
        )
        with connected(self._engine) as connection:
            rows = connection.execute(query).mappings().all()
        return tuple(_line(row) for row in rows)

    def sums(
        self, start: datetime, end: datetime, dimensions: Sequence[Dimension]
    ) -> Mapping[Key, Total]:
        """Return `total_by` of those lines, without fetching them."""
        groups = [COST_LINES.c[dimension] for dimension in dimensions]
        return self._grouped(groups, COST_LINES.c.hour >= start, COST_LINES.c.hour < end)

    def hourly(
        self, start: datetime, end: datetime, where: Mapping[Dimension, str]
    ) -> Mapping[datetime, Total]:
        """Return each hour's sum of the lines that have these values."""
        found = self._grouped(
            [COST_LINES.c.hour],
            COST_LINES.c.hour >= start,
            COST_LINES.c.hour < end,
            *(COST_LINES.c[dimension] == value for dimension, value in where.items()),
        )
        return {hour: total for (hour,), total in found.items()}

    def _grouped(
        self, groups: Sequence[sa.ColumnElement[Any]], *within: sa.ColumnElement[bool]
    ) -> dict[tuple[Any, ...], Total]:
        query = sa.select(*groups, *_SUMS).where(*within).group_by(*groups)
        with connected(self._engine) as connection:
            currencies = connection.execute(
                sa.select(COST_LINES.c.currency).where(*within).distinct()
            ).scalars()
            require_one_currency(currencies)
            rows = connection.execute(query).all()
        return {
            tuple(row[: len(groups)]): Total(
                **{
                    column.name: int(cell)
                    for column, cell in zip(_SUMS, row[len(groups) :], strict=True)
                }
            )
            for row in rows
        }

    def save_advice(self, advice: Recorded) -> None:
        """Keep advice in place of what has its id."""
        row = asdict(advice) | {
            "resources": sorted(advice.resources),
            "state": str(advice.state),
        }
        insert = postgresql.insert(COST_ADVICE).values(row)
        changed = {name: insert.excluded[name] for name in row if name != "id"}
        with connected(self._engine) as connection:
            connection.execute(insert.on_conflict_do_update(index_elements=["id"], set_=changed))

    def advice(self, *, states: Sequence[State] = tuple(State)) -> tuple[Recorded, ...]:
        """Return advice in these states, by id."""
        query = (
            sa.select(COST_ADVICE)
            .where(COST_ADVICE.c.state.in_([str(state) for state in states]))
            .order_by(sa.collate(COST_ADVICE.c.id, "C"))
        )
        with connected(self._engine) as connection:
            rows = connection.execute(query).mappings().all()
        return tuple(_advice(row) for row in rows)

    def note_alert(self, key: str, at: datetime) -> bool:
        """Note that an alert is sent; false: it was sent before, and `at` is not kept."""
        insert = (
            postgresql.insert(BUDGET_ALERTS)
            .values(key=key, fired_at=at)
            .on_conflict_do_nothing()
            .returning(BUDGET_ALERTS.c.key)
        )
        with connected(self._engine) as connection:
            return connection.execute(insert).first() is not None

    def alerts(self, prefix: str) -> Mapping[str, datetime]:
        """Return the alerts whose keys begin so, and when they were sent."""
        query = sa.select(BUDGET_ALERTS).where(
            BUDGET_ALERTS.c.key.startswith(prefix, autoescape=True)
        )
        with connected(self._engine) as connection:
            return {row.key: row.fired_at for row in connection.execute(query)}


def _sum(name: str, *parts: Part) -> sa.Label[int]:
    cost = COST_LINES.c.cost if name != "used" else COST_LINES.c.used_cost
    there = COST_LINES.c.part.in_([str(part) for part in parts])
    return sa.func.coalesce(sa.func.sum(cost).filter(there), 0).label(name)


def _of(group: Group) -> tuple[Part, ...]:
    return tuple(part for part in Part if part.group is group)


_SUMS = (
    *(_sum(str(group), *_of(group)) for group in Group),
    _sum("warm", Part.WARM),
    _sum("unmeasured", Part.UNMEASURED),
    _sum("used", *_of(Group.WORKLOAD)),
)


def _line_row(line: CostLine, number: int) -> JsonDict:
    row = {name: getattr(line, name) for name in LINE_FIELDS}
    return row | {"number": number, "part": str(line.part), "item": str(line.item)}


def _line(row: sa.RowMapping) -> CostLine:
    return CostLine(**dict(row) | {"part": Part(row["part"]), "item": ItemKind(row["item"])})


def _hour(row: sa.RowMapping) -> CostHour:
    listed = {name: tuple(row[name]) for name in ("reasons", "warnings")}
    return CostHour(**dict(row) | listed | {"state": HourState(row["state"])})


def _advice(row: sa.RowMapping) -> Recorded:
    typed = {"resources": frozenset(row["resources"]), "state": State(row["state"])}
    return Recorded(**dict(row) | typed)
