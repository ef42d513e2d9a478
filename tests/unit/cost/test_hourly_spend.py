"""Spend by the hour: an hour without a bill is not one that was free."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from greenlight.core.errors import InputError
from greenlight.cost.spend import HourlySpend, block_start
from greenlight.cost.totals import Total

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
COIN = 10**9


def total(amount: int) -> Total:
    return Total(workload=amount * COIN)


def spend(hours: int, *, missing: tuple[int, ...] = (), start: datetime = MONDAY) -> HourlySpend:
    known: Mapping[datetime, Total] = {
        start + n * HOUR: total(2) for n in range(hours) if n not in missing
    }
    return HourlySpend(start=start, end=start + hours * HOUR, known=known)


def test_what_was_spent_tells_the_hours_nobody_billed() -> None:
    found = spend(24, missing=(3, 4)).spent(MONDAY, MONDAY + DAY)
    assert (found.amount, found.hours, found.missing) == (Decimal(44), 24, 2)


def test_nothing_billed_is_unknown_and_no_hour_yet_is_nothing_spent() -> None:
    dark = HourlySpend(start=MONDAY, end=MONDAY + HOUR, known={})
    assert dark.spent(MONDAY, MONDAY + DAY).amount is None
    assert spend(24).spent(MONDAY + DAY, MONDAY + 2 * DAY).amount == 0


def test_a_block_with_an_hour_that_has_no_bill_is_a_gap() -> None:
    series = spend(24, missing=(7,)).blocks(6 * HOUR)
    assert series is not None
    assert series.values.tolist()[0] == 12
    assert np.isnan(series.values[1])
    assert series.values.size == 4


def test_blocks_begin_at_midnight_and_only_whole_ones_count() -> None:
    series = spend(20, start=MONDAY + 2 * HOUR).blocks(6 * HOUR)
    assert series is not None
    assert series.start == np.datetime64("2026-11-23T06:00")
    assert series.values.tolist() == [12, 12]
    assert block_start(MONDAY + 17.5 * HOUR, 6 * HOUR) == MONDAY + 12 * HOUR


def test_without_a_whole_block_there_is_no_series() -> None:
    assert spend(5).blocks(6 * HOUR) is None
    assert spend(6, missing=(0,)).blocks(6 * HOUR) is None


def test_a_series_begins_with_the_first_block_that_is_known() -> None:
    series = spend(24, missing=(1, 8)).blocks(6 * HOUR)
    assert series is not None
    assert series.start == np.datetime64("2026-11-23T12:00")


def test_a_day_is_told_in_parts_that_add_up_to_its_bill() -> None:
    one = Total(
        workload=10 * COIN, warm=3 * COIN, idle=5 * COIN, unmeasured=1 * COIN, overhead=2 * COIN
    )
    found = HourlySpend(start=MONDAY, end=MONDAY + 2 * HOUR, known={MONDAY: one})
    (day,) = found.days()
    parts = (day.serving, day.warm, day.idle, day.unmeasured, day.overhead)
    assert parts == (7, 3, 4, 1, 2)
    assert (day.total, day.hours_missing) == (17, 1)


def test_a_day_without_any_bill_is_unknown() -> None:
    (day,) = HourlySpend(start=MONDAY, end=MONDAY + DAY, known={}).days()
    assert (day.total, day.hours_missing) == (None, 24)


def test_half_hours_are_refused() -> None:
    with pytest.raises(InputError, match="does not begin an hour"):
        HourlySpend(start=MONDAY, end=MONDAY + 0.5 * HOUR, known={})
