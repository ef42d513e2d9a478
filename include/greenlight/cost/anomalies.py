"""Days that cost more or less than such days do, and the rows that make the difference.

A day is held against the same weekday of the weeks before: their median, and how far such days were
from theirs (the median absolute deviation, MAD). Both shrug off single odd days (Iglewicz, Hoaglin
1993: *How to Detect and Handle Outliers*). A difference must be large against that spread, against
the day itself, and in money: what nobody would act on is no anomaly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated

import numpy as np
from pydantic import Field

from greenlight.core.types import Value
from greenlight.cost.alerts import STANDS, Alert, Severity

ONE_DAY = timedelta(days=1)
MAD_TO_SIGMA = 1.4826
"""Of a normal distribution."""


class AnomalySettings(Value):
    """What counts.

    `weeks`: how far back days are compared. `min_days`: less history says nothing. `spreads`: how
    many times the usual spread a difference must be. `min_share`: of what was expected.
    `min_amount`: in the currency. `explained`: rows are told until they make up this share of it.
    """

    weeks: Annotated[int, Field(ge=3)] = 8
    min_days: Annotated[int, Field(ge=21)] = 28
    spreads: Annotated[float, Field(gt=0)] = 5.0
    min_share: Annotated[float, Field(ge=0)] = 0.15
    min_amount: Annotated[Decimal, Field(ge=0)] = Decimal(1)
    explained: Annotated[float, Field(gt=0, le=1)] = 0.8
    most_rows: Annotated[int, Field(ge=1)] = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendRow:
    """What something cost on a day. `labels`: what it is, such as tenant, model, host, part."""

    day: date
    labels: Mapping[str, str]
    cost: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """A row that cost more or less than it does on such days."""

    labels: Mapping[str, str]
    cost: Decimal
    expected: Decimal

    @property
    def difference(self) -> Decimal:
        """Above zero: more than expected."""
        return self.cost - self.expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """One day of one value of a dimension. `since`: the first of the days in a row that are one."""

    dimension: str
    value: str
    day: date
    since: date
    cost: Decimal
    expected: Decimal
    spreads: float
    causes: tuple[Cause, ...]

    @property
    def difference(self) -> Decimal:
        """Above zero: more than expected."""
        return self.cost - self.expected

    @property
    def key(self) -> str:
        """Names it for alerts: days in a row are one matter."""
        return f"anomaly/{self.dimension}/{self.value}/{self.since}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotJudged:
    """Values of a dimension about which nothing can be said on that day, and why."""

    dimension: str
    value: str
    day: date
    why: str


def find(
    rows: Sequence[SpendRow],
    *,
    dimension: str,
    day: date,
    measured: Collection[date],
    settings: AnomalySettings | None = None,
) -> tuple[Anomaly | NotJudged, ...]:
    """Return what stands out on a day, the largest difference first, then what can't be judged.

    `measured`: the days whose whole bill is known; a measured day without a row cost 0, one that
    isn't measured says nothing.
    """
    settings = settings or AnomalySettings()
    first = day - timedelta(weeks=2 * settings.weeks)
    known = {one for one in measured if first <= one <= day}
    of: dict[str, list[SpendRow]] = defaultdict(list)
    for row in rows:
        if row.day in known and dimension in row.labels:
            of[row.labels[dimension]].append(row)
    answers = [
        _judged(found, dimension=dimension, value=value, day=day, known=known, settings=settings)
        for value, found in sorted(of.items())
    ]
    anomalies = sorted(
        (a for a in answers if isinstance(a, Anomaly)), key=lambda a: -abs(a.difference)
    )
    return (*anomalies, *(a for a in answers if isinstance(a, NotJudged)))


def alert_of(anomaly: Anomaly, *, currency: str, now: datetime) -> Alert:
    """Return what is told of an anomaly: the same matter while its days follow each other."""
    rows = "; ".join(
        f"{' '.join(cause.labels.values())}: {cause.cost:,.2f}, usually {cause.expected:,.2f}"
        for cause in anomaly.causes
    )
    return Alert(
        key=anomaly.key,
        name="CostAnomaly",
        severity=Severity.WARNING,
        summary=f"{anomaly.dimension} {anomaly.value} cost {anomaly.cost:,.2f} {currency} on "
        f"{anomaly.day}, usually {anomaly.expected:,.2f}",
        description=rows or "no single row explains it",
        labels={"dimension": anomaly.dimension, "value": anomaly.value},
        starts_at=now,
        ends_at=now + STANDS,
    )


def _judged(
    rows: Sequence[SpendRow],
    *,
    dimension: str,
    value: str,
    day: date,
    known: Collection[date],
    settings: AnomalySettings,
) -> Anomaly | NotJudged | None:
    costs: dict[date, Decimal] = defaultdict(Decimal)
    for row in rows:
        costs[row.day] += row.cost
    began = min(costs)
    days = {one for one in known if one >= began}
    if day not in days:
        return NotJudged(dimension=dimension, value=value, day=day, why="its bill isn't known yet")
    if (past := len(days) - 1) < settings.min_days:
        return NotJudged(
            dimension=dimension,
            value=value,
            day=day,
            why=f"{past} days of history, at least {settings.min_days} are needed",
        )
    found = _deviation(costs, days, day, settings)
    if found is None or not _stands_out(found, settings):
        return None
    since = day
    while (before := _deviation(costs, days, since - ONE_DAY, settings)) is not None:
        if not _stands_out(before, settings) or before.sign != found.sign:
            break
        since -= ONE_DAY
    return Anomaly(
        dimension=dimension,
        value=value,
        day=day,
        since=since,
        cost=found.cost,
        expected=found.expected,
        spreads=found.spreads,
        causes=tuple(_causes(rows, days, day, found.cost - found.expected, settings)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Deviation:
    cost: Decimal
    expected: Decimal
    spreads: float

    @property
    def sign(self) -> bool:
        return self.cost >= self.expected


def _deviation(
    costs: Mapping[date, Decimal], days: Collection[date], day: date, settings: AnomalySettings
) -> _Deviation | None:
    """Return how far a day is from such days, `None` where there are too few of them."""
    if day not in days or (expected := _expected(costs, days, day, settings)) is None:
        return None
    past = [day - back * ONE_DAY for back in range(1, 7 * settings.weeks + 1)]
    usual = []
    for one in past:
        if one in days and (then := _expected(costs, days, one, settings)) is not None:
            usual.append(float(_cost(costs, one) - then))
    if len(usual) < settings.min_days // 2:
        return None
    spread = MAD_TO_SIGMA * float(np.median(np.abs(usual)))
    least = 0.01 * float(abs(expected)) + 1e-9
    cost = _cost(costs, day)
    return _Deviation(
        cost=cost, expected=expected, spreads=float(cost - expected) / max(spread, least)
    )


def _expected(
    costs: Mapping[date, Decimal], days: Collection[date], day: date, settings: AnomalySettings
) -> Decimal | None:
    """Return the median of the same weekday in the weeks before; of two of them at least."""
    same = [day - timedelta(weeks=back) for back in range(1, settings.weeks + 1)]
    found = sorted(_cost(costs, one) for one in same if one in days)
    if len(found) < 2:
        return None
    half = len(found) // 2
    return found[half] if len(found) % 2 else (found[half - 1] + found[half]) / 2


def _cost(costs: Mapping[date, Decimal], day: date) -> Decimal:
    return costs.get(day, Decimal(0))


def _stands_out(found: _Deviation, settings: AnomalySettings) -> bool:
    difference = abs(found.cost - found.expected)
    return (
        abs(found.spreads) >= settings.spreads
        and float(difference) >= settings.min_share * float(abs(found.expected))
        and difference >= settings.min_amount
    )


def _causes(
    rows: Sequence[SpendRow],
    days: Collection[date],
    day: date,
    difference: Decimal,
    settings: AnomalySettings,
) -> Iterator[Cause]:
    """Yield the rows that went the same way as the whole, until they make up enough of it."""
    of: dict[tuple[tuple[str, str], ...], dict[date, Decimal]] = defaultdict(dict)
    for row in rows:
        costs = of[tuple(sorted(row.labels.items()))]
        costs[row.day] = _cost(costs, row.day) + row.cost
    causes = [
        Cause(
            labels=dict(labels),
            cost=_cost(costs, day),
            expected=_expected(costs, days, day, settings) or Decimal(0),
        )
        for labels, costs in of.items()
    ]
    same = [cause for cause in causes if cause.difference * difference > 0]
    told = Decimal(0)
    for cause in sorted(same, key=lambda one: -abs(one.difference))[: settings.most_rows]:
        yield cause
        told += cause.difference
        if abs(told) >= Decimal(str(settings.explained)) * abs(difference):
            return
