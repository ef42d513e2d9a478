"""What a cost report says, as plain values. `None` is unknown everywhere: never 0, never "fine".

Money is in the report's currency, shares are of 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

Money = Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class DayCost:
    """One day of the bill in parts that add up to it.

    `unmeasured`: paid while nobody knows what it did. `hours_missing`: hours without a bill, which
    are in none of the parts. A day of which no hour has a bill has `None` for all of them.
    """

    day: date
    serving: Money | None
    warm: Money | None
    idle: Money | None
    unmeasured: Money | None
    overhead: Money | None
    hours_missing: int = 0

    @property
    def total(self) -> Money | None:
        """The bill; `None`: no hour of the day has one."""
        parts = (self.serving, self.warm, self.idle, self.unmeasured, self.overhead)
        there = [part for part in parts if part is not None]
        return sum(there, Money(0)) if there else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Bounds of one level, such as 0.8."""

    level: float
    low: Money
    high: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedDay:
    """What will be spent from the period's beginning to the end of a day."""

    day: date
    amount: Money
    ranges: tuple[Range, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What the period will cost, day by day. `why_not`: set when it can't be told.

    `wape`, `naive_wape`: of the model's own backtest and of seasonal naive. `coverage80`: of its
    80 % interval there.
    """

    days: tuple[ExpectedDay, ...] = ()
    model: str | None = None
    wape: float | None = None
    naive_wape: float | None = None
    coverage80: float | None = None
    why_not: str | None = None


class Standing(StrEnum):
    """How a budget, or a report as a whole, stands."""

    WITHIN = "within"
    AT_RISK = "at risk"
    OVER = "over"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRow:
    """A budget in its present period."""

    name: str
    scope: str
    period: str
    amount: Money
    spent: Money | None
    expected: Money | None
    low: Money | None
    high: Money | None
    standing: Standing
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """What a version cost. `per_input`, `per_output`: of a million tokens, on reservation.

    `parent`: what it is compared with; `saving`: of the output price, below 0: it costs more.
    `quality`: what was lost, in words.
    """

    model: str
    version: str
    cost: Money | None
    input_tokens: int | None
    output_tokens: int | None
    per_input: Money | None
    per_output: Money | None
    used_per_output: Money | None = None
    parent: str | None = None
    saving: float | None = None
    quality: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedCost:
    """What somebody or something cost."""

    name: str
    cost: Money | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DayPrice:
    """A million tokens on one day, over all models. `idle_share`: of that day's bill."""

    day: date
    per_input: Money | None
    per_output: Money | None
    idle_share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdviceRow:
    """One piece of advice. `finding`: a name of Compute Optimizer, `Withdrawn`, `NotEnoughData`.

    `over`, `slack`: of its own backtest over `tried_days`. `counts`: its saving is in the sum; that
    of an overlapping one isn't.
    """

    host: str
    resource: str
    finding: str
    reasons: tuple[str, ...]
    now: str
    target: str | None
    monthly_saving: Money | None
    risk: int | None
    effort: str | None
    over: float | None
    slack: float | None
    tried_days: int
    why: str
    state: str
    counts: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SavingRow:
    """A month's savings: as advised when they were accepted, and as measured afterwards."""

    month: str
    advised: Money | None
    realised: Money | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyCause:
    """A row that made the difference."""

    what: str
    cost: Money
    expected: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyRow:
    """A day that stood out."""

    day: date
    since: date
    what: str
    cost: Money
    expected: Money
    causes: tuple[AnomalyCause, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LookBackRow:
    """A day of the schedule: planned and what happened. `slo`: share of requests in time."""

    day: date
    planned_hours: float | None
    used_hours: float | None
    planned_slo: float | None
    slo: float | None
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CostReport:
    """One report over `[start, end)`.

    `heat`: 7 rows of 24 shares, Monday first, of how much of the hosts was used, or empty.
    `budget`: the amount to draw as a line. `unknown`: what wasn't measured, a sentence each.
    """

    environment: str
    currency: str
    start: date
    end: date
    made_at: datetime
    standing: Standing
    headline: str
    days: tuple[DayCost, ...]
    outlook: Outlook
    budget: Money | None
    budgets: tuple[BudgetRow, ...] = ()
    prices: tuple[DayPrice, ...] = ()
    models: tuple[ModelRow, ...] = ()
    tenants: tuple[NamedCost, ...] = ()
    heat: tuple[tuple[float | None, ...], ...] = ()
    heat_of: str = "GPU"
    advice: tuple[AdviceRow, ...] = ()
    advised_monthly: Money | None = None
    savings: tuple[SavingRow, ...] = ()
    anomalies: tuple[AnomalyRow, ...] = ()
    anomalies_why_not: str | None = None
    look_back: tuple[LookBackRow, ...] | None = None
    unknown: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    @property
    def spent(self) -> Money | None:
        """All that is known to be spent; `None`: nothing is."""
        there = [total for day in self.days if (total := day.total) is not None]
        return sum(there, Money(0)) if there else None

    @property
    def hours_missing(self) -> int:
        """How many hours have no bill."""
        return sum(day.hours_missing for day in self.days)

    @property
    def idle_share(self) -> float | None:
        """The part of what was spent in which nothing was served; `None`: it isn't known."""
        spent = self.spent
        idle = [day.idle for day in self.days if day.idle is not None]
        return float(sum(idle, Money(0)) / spent) if spent and idle else None
