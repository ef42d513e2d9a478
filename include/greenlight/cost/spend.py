"""Spend hour by hour: what budgets, forecasts and reports are made from.

An hour without a bill is `None` everywhere. It is never 0, and a block that holds one is a gap.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np

from greenlight.core.errors import InputError
from greenlight.cost.bill import HOUR, require_hour
from greenlight.cost.budgets import Spent
from greenlight.cost.money import from_nanos
from greenlight.cost.report import DayCost
from greenlight.cost.totals import Total
from greenlight.forecast.series import RegularSeries

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class HourlySpend:
    """The hours of `[start, end)`. `known`: those with a bill; one of a scope may have cost 0."""

    start: datetime
    end: datetime
    known: Mapping[datetime, Total]

    def __post_init__(self) -> None:
        """Refuse a time that isn't made of whole hours."""
        require_hour(self.start)
        require_hour(self.end)
        if self.end < self.start:
            raise InputError(f"spend from {self.start} until {self.end}: the end comes first")

    def of(self, start: datetime, end: datetime) -> Iterator[Total | None]:
        """Yield the hours of a part, oldest first; `None`: no bill."""
        hour = max(start, self.start)
        while hour < min(end, self.end):
            yield self.known.get(hour)
            hour += HOUR

    def spent(self, start: datetime, end: datetime) -> Spent:
        """Return what a part cost, and how many of its hours nobody billed."""
        hours = list(self.of(start, end))
        bills = [total.bill for total in hours if total is not None]
        none_yet = not hours
        return Spent(
            amount=from_nanos(sum(bills)) if bills or none_yet else None,
            hours=len(hours),
            missing=len(hours) - len(bills),
        )

    def blocks(self, length: timedelta) -> RegularSeries | None:
        """Return the sums of blocks that begin at midnight; `None`: not one block is whole.

        One with an hour that has no bill is a gap: a sum of fewer hours would look quiet.
        """
        first = _next_block(self.start, length)
        count = (self.end - first) // length if self.end > first else 0
        values = [self._block(first + n * length, length) for n in range(count)]
        known = [n for n, value in enumerate(values) if not np.isnan(value)]
        if not known:
            return None
        begin = first + known[0] * length
        return RegularSeries(
            start=np.datetime64(begin.astimezone(UTC).replace(tzinfo=None), "us"),
            step=length,
            values=np.array(values[known[0] :]),
        )

    def days(self) -> tuple[DayCost, ...]:
        """Return each day in the parts of its bill."""
        found = []
        day = self.start.replace(hour=0)
        while day < self.end:
            found.append(self._day(day))
            day += DAY
        return tuple(found)

    def _block(self, start: datetime, length: timedelta) -> float:
        hours = list(self.of(start, start + length))
        bills = [total.bill for total in hours if total is not None]
        return float(from_nanos(sum(bills))) if len(bills) == len(hours) else float("nan")

    def _day(self, day: datetime) -> DayCost:
        hours = list(self.of(day, day + DAY))
        known = [total for total in hours if total is not None]

        def part(nanos: list[int]) -> Decimal | None:
            return from_nanos(sum(nanos)) if known else None

        return DayCost(
            day=day.date(),
            serving=part([one.workload - one.warm for one in known]),
            warm=part([one.warm for one in known]),
            idle=part([one.idle - one.unmeasured for one in known]),
            unmeasured=part([one.unmeasured for one in known]),
            overhead=part([one.overhead for one in known]),
            hours_missing=len(hours) - len(known),
        )


def block_start(at: datetime, length: timedelta) -> datetime:
    """Return when the block that holds a time began; the day's blocks begin at midnight."""
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (at - midnight) // length * length


def _next_block(at: datetime, length: timedelta) -> datetime:
    begun = block_start(at, length)
    return begun if begun == at else begun + length
