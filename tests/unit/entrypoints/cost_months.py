"""Weeks of hourly costs with a daily shape, for what looks ahead."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from cost_tools_worlds import tools

from greenlight.cost.budgets_file import BudgetsFile
from greenlight.cost.claims import Part
from greenlight.cost.hours import CostHour, HourState
from greenlight.entrypoints.cost_outlook import CostOutlook
from greenlight.entrypoints.cost_tools import CostTools
from greenlight.forecast.models import Season, SeasonalNaive
from greenlight.forecast.settings import ForecastSettings
from greenlight.testing.costs_contract import a_line
from greenlight.testing.manual_clock import ManualClock
from greenlight.testing.memory_costs import MemoryCosts

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
COIN = 10**9
FIRST = datetime(2026, 10, 20, tzinfo=UTC)
NOW = datetime(2026, 11, 24, 11, 7, tzinfo=UTC)
QUICK = ForecastSettings(models=(SeasonalNaive(season=Season.DAY),))
"""The costs repeat every day, so the simplest model is right."""
UNTIL = datetime(2026, 11, 24, 11, tzinfo=UTC)


def filled(
    *, until: datetime = UNTIL, dear: date | None = None, missing: int = 0,
    tokens: tuple[int | None, int | None] = (3 * 10**12, None),
) -> MemoryCosts:  # fmt: skip
    """Return a store with two coins an hour at night and four by day, a quarter of it idle.

    `tokens`: of each hour, in and out.
    """
    store = MemoryCosts()
    hour = FIRST
    while hour < until - missing * HOUR:
        amount = (4 if 8 <= hour.hour < 20 else 2) * (3 if hour.date() == dear else 1)
        serving = a_line(hour, cost=3 * amount * COIN // 4)
        lines = (
            replace(serving, tenant="acme", input_tokens=tokens[0], output_tokens=tokens[1]),
            a_line(hour, Part.IDLE, cost=amount * COIN // 4),
        )
        store.save_hour(
            CostHour(
                hour=hour,
                state=HourState.COMPUTED,
                computed_at=hour + HOUR,
                inputs="a" * 64,
                bill=amount * COIN,
                currency="USD",
                lines=lines,
            )
        )
        hour += HOUR
    return store


def opened(folder: Path, *budgets: dict[str, object], **changes: object) -> CostOutlook:
    return CostOutlook(
        world(folder, **changes),
        BudgetsFile.model_validate({"budgets": list(budgets)}),
        forecasts=QUICK,
    )


def world(folder: Path, **changes: object) -> CostTools:
    fields = {"store": filled(), "since": FIRST, "clock": ManualClock(NOW)}
    return tools(folder, **fields | changes)


EVERYTHING = {"name": "everything", "amount": 2000}
