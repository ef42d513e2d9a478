"""Whether a budget holds: what is spent, what will be, and which thresholds that crosses.

Hours that nobody could bill make what is known a lower bound. A threshold below it is crossed; one
that these hours could reach is unknown, never "not crossed".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from greenlight.core.errors import InputError
from greenlight.cost.alerts import STANDS, Alert, Severity
from greenlight.cost.budgets_file import Budget, Period
from greenlight.forecast.choose import Forecast, TooLittleHistory

SURE = 0.8
"""The level of the interval that tells likely from nearly certain."""
DEAR = 3
"""An hour without a bill may have cost so many times the mean of the others."""
MOST_ESTIMATED = 0.05
"""With a larger share of hours without a bill there is no outlook."""
STILL = Decimal("0.97")
"""A forecast must fall below this part of a threshold before it is over: it moves every hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One period of a budget: `[start, end)` in UTC, and its name in keys."""

    name: str
    start: datetime
    end: datetime


def span_of(period: Period, now: datetime) -> Span:
    """Return the period that `now` is in. Weeks begin on Monday (ISO 8601)."""
    if now.tzinfo is None:
        raise InputError(f"the time {now} has no time zone: pass UTC")
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period is Period.DAY:
        return Span(name=f"{day:%Y-%m-%d}", start=day, end=day + timedelta(days=1))
    if period is Period.WEEK:
        start = day - timedelta(days=day.weekday())
        return Span(name=f"{start:%G-W%V}", start=start, end=start + timedelta(days=7))
    start = day.replace(day=1)
    end = (start + timedelta(days=32)).replace(day=1)
    return Span(name=f"{start:%Y-%m}", start=start, end=end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a budget's scope has cost since its period began.

    `hours`: of the period so far; `missing`: of these without a bill. `amount` is what the others
    cost; `None`: none of them has a bill.
    """

    amount: Decimal | None
    hours: int
    missing: int

    @property
    def hourly(self) -> Decimal:
        """The mean of an hour that has a bill; 0 where none has."""
        known = self.hours - self.missing
        return self.amount / known if self.amount is not None and known > 0 else Decimal(0)

    @property
    def at_most(self) -> Decimal | None:
        """What it can have cost, with dear hours for those without a bill; `None`: unknown."""
        return None if self.amount is None else self.amount + DEAR * self.missing * self.hourly


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What the whole period will have cost. `low`, `high`: of 80 %, `None` where unknown.

    `estimated`: hours so far without a bill, taken for average ones here.
    """

    amount: Decimal
    low: Decimal | None
    high: Decimal | None
    estimated: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOutlook:
    """It can't be told, and why."""

    why: str


def outlook(spent: Spent, ahead: Forecast | TooLittleHistory) -> Outlook | NoOutlook:
    """Return what the period will cost: what is spent, and the forecast of the rest.

    The interval is the one of the forecast's sum. A few hours without a bill are taken for average
    ones, and counted; with more there is no outlook.
    """
    if isinstance(ahead, TooLittleHistory):
        return NoOutlook(why=ahead.why)
    if spent.amount is None or spent.missing > MOST_ESTIMATED * spent.hours:
        return NoOutlook(why=f"{spent.missing} of {spent.hours} h so far have no bill")
    sure = next((found for found in ahead.total.intervals if found.level == SURE), None)
    so_far = spent.amount + spent.missing * spent.hourly
    return Outlook(
        amount=so_far + _cents(ahead.total.point),
        low=None if sure is None else so_far + _cents(sure.low),
        high=None if sure is None else so_far + _cents(sure.high),
        estimated=spent.missing,
    )


class Basis(StrEnum):
    """What a threshold is held against."""

    ACTUAL = "actual"
    FORECAST = "forecast"


class Verdict(StrEnum):
    """Three values: unknown isn't "not crossed"."""

    CROSSED = "crossed"
    NOT_CROSSED = "not crossed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One threshold of one budget. `threshold`: as a share of the amount."""

    basis: Basis
    threshold: Decimal
    verdict: Verdict
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A budget in its present period."""

    budget: Budget
    span: Span
    spent: Spent
    outlook: Outlook | NoOutlook
    checked: tuple[Checked, ...]

    @property
    def verdict(self) -> Verdict:
        """Crossed when all of the amount is spent; unknown when that can't be told."""
        return hold_actual(self.budget, self.spent, Decimal(1)).verdict


def check(budget: Budget, spent: Spent, ahead: Outlook | NoOutlook, *, now: datetime) -> Status:
    """Hold a budget's thresholds against what is spent and what is to come."""
    return Status(
        budget=budget,
        span=span_of(budget.period, now),
        spent=spent,
        outlook=ahead,
        checked=(
            *(hold_actual(budget, spent, threshold) for threshold in budget.actual),
            *(_forecast(budget, ahead, threshold) for threshold in budget.forecast),
        ),
    )


def standing(status: Status, *, currency: str, now: datetime) -> Iterator[Alert]:
    """Yield what is to be told of a budget: crossed thresholds, and that it can't be measured."""
    for one in status.checked:
        if one.verdict is Verdict.CROSSED:
            is_over = one.basis is Basis.ACTUAL and one.threshold >= 1
            yield _alert(
                status,
                key=_key(status, one),
                name="BudgetSpent" if one.basis is Basis.ACTUAL else "BudgetForecast",
                severity=Severity.CRITICAL if is_over else Severity.WARNING,
                summary=f"Budget {status.budget.name}: {one.threshold:.0%} of "
                f"{status.budget.amount:,.2f} {currency} {_WORDS[one.basis]}",
                description=one.why,
                labels={"basis": one.basis, "threshold": f"{one.threshold:.0%}"},
                now=now,
            )
    if any(one.verdict is Verdict.UNKNOWN and one.basis is Basis.ACTUAL for one in status.checked):
        yield _alert(
            status,
            key=f"{prefix(status)}unmeasured",
            name="BudgetUnmeasured",
            severity=Severity.WARNING,
            summary=f"Budget {status.budget.name}: what is spent can't be told",
            description=f"{status.spent.missing} of {status.spent.hours} h so far have no bill",
            labels={},
            now=now,
        )


def held(status: Status) -> frozenset[str]:
    """Return the keys that are neither new nor over: unknown, or a forecast just below its limit.

    A forecast moves every hour; without this it would be told and taken back all day.
    """
    keys = set()
    for one in status.checked:
        near = (
            one.basis is Basis.FORECAST
            and isinstance(status.outlook, Outlook)
            and status.outlook.amount >= STILL * one.threshold * status.budget.amount
        )
        if one.verdict is Verdict.UNKNOWN or near:
            keys.add(_key(status, one))
    return frozenset(keys)


def prefix(status: Status) -> str:
    """Return how all keys of a budget in this period begin; a new period begins anew."""
    return f"budget/{status.budget.name}/{status.span.name}/"


_WORDS = {Basis.ACTUAL: "are spent", Basis.FORECAST: "are expected by the end of the period"}


def _key(status: Status, one: Checked) -> str:
    return f"{prefix(status)}{one.basis}/{one.threshold.normalize():f}"


def hold_actual(budget: Budget, spent: Spent, threshold: Decimal) -> Checked:
    """Hold one threshold against what is spent."""
    limit = threshold * budget.amount
    known = f"{spent.amount or 0:,.2f} of {limit:,.2f} are spent"
    if spent.amount is not None and spent.amount >= limit:
        verdict = Verdict.CROSSED
    elif spent.at_most is None or spent.at_most >= limit:
        verdict = Verdict.UNKNOWN
    else:
        verdict = Verdict.NOT_CROSSED
    if spent.missing:
        known = f"{known} at least, {spent.missing} of {spent.hours} h so far have no bill"
    return Checked(basis=Basis.ACTUAL, threshold=threshold, verdict=verdict, why=known)


def _forecast(budget: Budget, ahead: Outlook | NoOutlook, threshold: Decimal) -> Checked:
    limit = threshold * budget.amount
    if isinstance(ahead, NoOutlook):
        verdict, why = Verdict.UNKNOWN, ahead.why
    else:
        is_crossed = ahead.amount >= limit
        verdict = Verdict.CROSSED if is_crossed else Verdict.NOT_CROSSED
        why = f"{ahead.amount:,.2f} are expected, the limit is {limit:,.2f}; {_how_sure(ahead)}"
        if is_crossed and ahead.low is not None and ahead.low >= limit:
            why = f"{why}: nearly certain"
    return Checked(basis=Basis.FORECAST, threshold=threshold, verdict=verdict, why=why)


def _how_sure(ahead: Outlook) -> str:
    if ahead.low is None or ahead.high is None:
        return "how sure that is can't be told yet"
    return f"in 8 of 10 cases between {ahead.low:,.2f} and {ahead.high:,.2f}"


def _alert(
    status: Status,
    *,
    key: str,
    name: str,
    severity: Severity,
    summary: str,
    description: str,
    labels: dict[str, str],
    now: datetime,
) -> Alert:
    scope = {f"scope_{name}": value for name, value in status.budget.scope.named().items()}
    return Alert(
        key=key,
        name=name,
        severity=severity,
        summary=summary,
        description=description,
        labels={"budget": status.budget.name, **scope, **labels},
        starts_at=now,
        ends_at=min(now + STANDS, status.span.end),
    )


def _cents(amount: float) -> Decimal:
    return Decimal(f"{amount:.2f}")
