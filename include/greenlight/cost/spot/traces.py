"""What spot pools cost and when they were taken away: generated with a seed, or from a file.

A step in which a pool is `taken` has none of its hosts, and no new ones to be had. A price nobody
knows is NaN.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt

from greenlight.core.errors import InputError

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
COLUMNS = ("timestamp", "pool", "price", "taken")
YES, NO = ("1", "true", "yes"), ("0", "false", "no", "")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpotTrace:
    """Pools over time, an array each, a value a step. Prices are of an hour."""

    start: datetime
    step: timedelta
    prices: Mapping[str, Floats]
    taken: Mapping[str, Booleans]

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return next((values.size for values in self.prices.values()), 0)

    def halves(self) -> tuple[SpotTrace, SpotTrace]:
        """Return what came first and what came after: to plan from, and to try the plan on."""
        middle = self.steps // 2
        later = self.start + middle * self.step
        parts = ((self.start, slice(None, middle)), (later, slice(middle, None)))
        first, second = (
            SpotTrace(
                start=start,
                step=self.step,
                prices={pool: values[part] for pool, values in self.prices.items()},
                taken={pool: values[part] for pool, values in self.taken.items()},
            )
            for start, part in parts
        )
        return first, second


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """How a generated pool behaves.

    `price`: around which it wanders, of an hour. `wander`: the spread of its logarithm.
    `taken_per_day`: how often the pool is taken away; `zone_per_day`: how often all pools of its
    zone are at once. `away`: for how long, on average.
    """

    pool: str
    zone: str
    price: float
    wander: float = 0.08
    taken_per_day: float = 0.3
    zone_per_day: float = 0.05
    away: timedelta = timedelta(hours=2)


def generated(
    markets: Sequence[Market], *, start: datetime, step: timedelta, steps: int, seed: int
) -> SpotTrace:
    """Return a trace; the same seed gives the same one."""
    rng = np.random.default_rng(seed)
    per_day = timedelta(days=1) / step
    gone: dict[str, Booleans] = {}
    for zone in sorted({market.zone for market in markets}):
        first = next(market for market in markets if market.zone == zone)
        gone[zone] = _away(rng, steps, rate=first.zone_per_day / per_day, away=first.away / step)
    prices, taken = {}, {}
    for market in markets:
        own = _away(rng, steps, rate=market.taken_per_day / per_day, away=market.away / step)
        taken[market.pool] = own | gone[market.zone]
        level = np.zeros(steps)
        for i in range(1, steps):
            level[i] = 0.98 * level[i - 1] + rng.normal(0, market.wander * math.sqrt(1 - 0.98**2))
        prices[market.pool] = market.price * np.exp(level)
    return SpotTrace(start=start, step=step, prices=prices, taken=taken)


def read_trace(path: Path, *, step: timedelta) -> SpotTrace:
    """Read a CSV file with the columns timestamp, pool, price, taken.

    A row is true from its time until the pool's next one, as AWS' price history has it. Before a
    pool's first row its price is unknown. A pool that is taken at all in a step is taken in it.

    Raises:
        InputError: a column is missing, or a cell can't be read; line and value are named.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
            raise InputError(f"{path} has no column {', '.join(missing)}: it needs {COLUMNS}")
        rows = sorted(
            (_row(row, where=f"{path} line {number}") for number, row in enumerate(reader, 2)),
            key=lambda row: row[0],
        )
    if not rows:
        raise InputError(f"{path} has no rows")
    start = rows[0][0]
    steps = (rows[-1][0] - start) // step + 1
    pools = sorted({pool for _, pool, _, _ in rows})
    prices = {pool: np.full(steps, np.nan) for pool in pools}
    taken = {pool: np.zeros(steps, dtype=np.bool_) for pool in pools}
    for at, pool, price, is_taken in rows:
        place = (at - start) // step
        prices[pool][place:] = price
        taken[pool][place] |= is_taken
        taken[pool][place + 1 :] = is_taken
    return SpotTrace(start=start, step=step, prices=prices, taken=taken)


def rates(trace: SpotTrace) -> Mapping[str, float]:
    """Return how often each pool was taken away, an hour in which it was there."""
    found = {}
    for pool, taken in trace.taken.items():
        there = float((~taken).sum()) * (trace.step / timedelta(hours=1))
        count = int((~taken[:-1] & taken[1:]).sum())
        found[pool] = count / there if there else math.inf
    return found


def _away(rng: np.random.Generator, steps: int, *, rate: float, away: float) -> Booleans:
    gone = np.zeros(steps, dtype=np.bool_)
    for start in np.flatnonzero(rng.random(steps) < rate):
        gone[start : start + max(1, int(rng.exponential(away)))] = True
    return gone


def _row(row: Mapping[str, str | None], *, where: str) -> tuple[datetime, str, float, bool]:
    text = {name: (row.get(name) or "").strip() for name in COLUMNS}
    try:
        at = datetime.fromisoformat(text["timestamp"])
        price = float(text["price"]) if text["price"] else math.nan
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error
    if price < 0 or math.isinf(price):
        raise InputError(f"{where}: price {price:g} must be 0 or more")
    if not text["pool"]:
        raise InputError(f"{where}: no pool")
    if (taken := text["taken"].lower()) not in (*YES, *NO):
        raise InputError(f"{where}: taken is {text['taken']!r}, must be 0 or 1")
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return at, text["pool"], price, taken in YES
