"""Costs in memory, for tests that need no database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from greenlight.cost.allocation import CostLine
from greenlight.cost.hours import CostHour, HourState
from greenlight.cost.savings import Recorded, State
from greenlight.cost.totals import Dimension, Key, Total, total_by


class MemoryCosts:
    """`cost.ports.CostStore` in dicts."""

    def __init__(self) -> None:
        self._hours: dict[datetime, CostHour] = {}
        self._advice: dict[str, Recorded] = {}
        self._alerts: dict[str, datetime] = {}

    def save_hour(self, hour: CostHour) -> None:
        """Keep an hour in place of what was kept for it."""
        self._hours[hour.hour] = hour

    def hours(self, start: datetime, end: datetime) -> tuple[CostHour, ...]:
        """Return the hours in `[start, end)`, oldest first, without their lines."""
        return tuple(replace(hour, lines=()) for hour in self._between(start, end))

    def states(self, start: datetime, end: datetime) -> Mapping[datetime, HourState]:
        """Return what became of the hours in `[start, end)`."""
        return {hour.hour: hour.state for hour in self._between(start, end)}

    def lines(self, start: datetime, end: datetime) -> tuple[CostLine, ...]:
        """Return the lines of the hours in `[start, end)`, by hour and as they were saved."""
        return tuple(line for hour in self._between(start, end) for line in hour.lines)

    def sums(
        self, start: datetime, end: datetime, dimensions: Sequence[Dimension]
    ) -> Mapping[Key, Total]:
        """Return `total_by` of those lines."""
        return total_by(self.lines(start, end), *dimensions)

    def hourly(
        self, start: datetime, end: datetime, where: Mapping[Dimension, str]
    ) -> Mapping[datetime, Total]:
        """Return each hour's sum of the lines that have these values."""
        found: dict[datetime, list[CostLine]] = {}
        for line in self.lines(start, end):
            if all(getattr(line, dimension) == value for dimension, value in where.items()):
                found.setdefault(line.hour, []).append(line)
        return {hour: total_by(lines)[()] for hour, lines in found.items()}

    def save_advice(self, advice: Recorded) -> None:
        """Keep advice in place of what has its id."""
        self._advice[advice.id] = advice

    def advice(self, *, states: Sequence[State] = tuple(State)) -> tuple[Recorded, ...]:
        """Return advice in these states, by id."""
        found = [one for one in self._advice.values() if one.state in states]
        return tuple(sorted(found, key=lambda one: one.id))

    def note_alert(self, key: str, at: datetime) -> bool:
        """Note that an alert is sent; false: it was sent before, and `at` is not kept."""
        return self._alerts.setdefault(key, at) is at

    def alerts(self, prefix: str) -> Mapping[str, datetime]:
        """Return the alerts whose keys begin so, and when they were sent."""
        return {key: at for key, at in self._alerts.items() if key.startswith(prefix)}

    def _between(self, start: datetime, end: datetime) -> list[CostHour]:
        return [self._hours[hour] for hour in sorted(self._hours) if start <= hour < end]
