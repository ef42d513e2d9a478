"""Whether a version is slower than the one before it, on the same fleet under the same load.

Both were measured days apart, and no bound knows what the machines did meanwhile: so the limits are
wide, and what is proven is said about the two measurements. How both are joined is in `bounds`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from greenlight.core.types import JsonDict
from greenlight.deploy import bounds
from greenlight.deploy.bounds import Bounds
from greenlight.deploy.performance import (
    COMPARED,
    FAILED,
    FEWEST,
    GOODPUT,
    SPEED,
    Benchmark,
    Number,
    PerformanceSettings,
    figure,
)


class Result(StrEnum):
    """What a benchmark says beside the one before it."""

    SAME = "no regression"
    REGRESSION = "regression"
    NO_EARLIER = "no earlier benchmark"
    NOT_ENOUGH = "not enough data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One number of both. `worse`: times as bad (1 is equal); of shares, their difference (0).

    `low` and `high` bound it; beyond `limit` it is a regression. `n`: the smaller of both.
    """

    name: str
    before: float | None
    now: float | None
    worse: float
    low: float
    high: float
    limit: float
    n: int
    result: Result

    @property
    def says(self) -> str:
        """The numbers as a phrase."""
        found = f"{self.name} {figure(self.now)} against {figure(self.before)}"
        if self.n < FEWEST:
            return f"{found} is read from {self.n} requests, and takes {FEWEST}"
        if self.name in (FAILED, GOODPUT):
            numbers = (f"{x * 100:+.1f}" for x in (self.worse, self.low, self.high, self.limit))
            unit = "points"
        else:
            numbers = (f"{x:.2f}" for x in (self.worse, self.low, self.high, self.limit))
            unit = "times"
        worse, low, high, limit = numbers
        return f"{found} is {worse} {unit} worse, between {low} and {high}; limit {limit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The result with its reason and every number."""

    result: Result
    reason: str
    rows: tuple[Row, ...] = ()
    before: Benchmark | None = None

    def to_json(self) -> JsonDict:
        """Return `{"result", "reason", "before", "rows"}`; `before` is the version's number."""
        return {
            "result": str(self.result),
            "reason": self.reason,
            "before": None if self.before is None else self.before.version,
            "rows": [
                {name: _plain(getattr(row, name)) for name in row.__slots__} for row in self.rows
            ],
        }


def compare(before: Benchmark | None, now: Benchmark, settings: PerformanceSettings) -> Comparison:
    """Compare a benchmark with that of the version before.

    A regression takes proof: the bound nearer to "equal" is beyond the limit. "No regression" does
    too: the other bound is within it, for every number.
    """
    if before is None:
        return Comparison(
            result=Result.NO_EARLIER, reason="the version before was not measured on this fleet"
        )
    if other := _differs(before, now):
        return Comparison(
            result=Result.NO_EARLIER,
            reason=f"version {before.version} was measured with {other}, so nothing is compared",
        )
    if busy := _busy(before, now, settings):
        return Comparison(result=Result.NOT_ENOUGH, reason=busy, before=before)
    rows = tuple(_rows(before, now, settings))
    for result in (Result.REGRESSION, Result.NOT_ENOUGH):
        if found := [row.says for row in rows if row.result is result]:
            return Comparison(result=result, reason="; ".join(found), rows=rows, before=before)
    reason = f"no number is worse than the limit allows beside version {before.version}"
    return Comparison(result=Result.SAME, reason=reason, rows=rows, before=before)


def table(now: Benchmark, compared: Comparison) -> str:
    """Return the numbers as aligned text: of this benchmark, and beside the one before."""
    head = ("number", "value", "low", "high", "n", "before", "worse", "low", "high", "limit")
    rows = {row.name: row for row in compared.rows}
    lines: list[tuple[str, ...]] = [head]
    for number in now.numbers:
        cells = (number.name, *map(figure, (number.value, number.low, number.high)))
        lines.append((*cells, f"{number.n}", *_compared(rows.get(number.name))))
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _compared(row: Row | None) -> tuple[str, ...]:
    if row is None:
        return ("-",) * 5
    return tuple(map(figure, (row.before, row.worse, row.low, row.high, row.limit)))


def _differs(before: Benchmark, now: Benchmark) -> str | None:
    """Return what makes two benchmarks incomparable."""
    checks = (
        (before.flags_digest == now.flags_digest, "other flags of the engine"),
        (before.load_digest == now.load_digest, "another load"),
        (before.hosts == now.hosts, f"{before.hosts} hosts instead of {now.hosts}"),
    )
    return next((said for same, said in checks if not same), None)


def _busy(before: Benchmark, now: Benchmark, settings: PerformanceSettings) -> str | None:
    for each in (now, before):
        share = each.other_share
        if share is None:
            return f"while version {each.version} was measured, the router lost its counters"
        if share > settings.other_traffic:
            return (
                f"while version {each.version} was measured, clients sent {share:.0%} of all "
                f"requests, more than {settings.other_traffic:.0%}: measure in a quieter hour"
            )
    return None


def _rows(before: Benchmark, now: Benchmark, settings: PerformanceSettings) -> list[Row]:
    names = [f"{kind}.{level.concurrency}" for level in settings.levels for kind in COMPARED]
    found = []
    for name in [*names, GOODPUT, FAILED]:
        earlier, later = before.number(name), now.number(name)
        if earlier is not None and later is not None:
            found.append(_row(name, earlier, later, settings))
    return found


def _row(name: str, before: Number, now: Number, settings: PerformanceSettings) -> Row:
    more_is_better = name == GOODPUT or name.startswith(SPEED)
    upper, lower = (before, now) if more_is_better else (now, before)
    if name in (GOODPUT, FAILED):
        worse, limit = bounds.difference(upper.bounds, lower.bounds), settings.fewer
    else:
        worse, limit = _ratio(upper.bounds, lower.bounds), 1 + settings.slower
    n = min(before.n, now.n)
    return Row(
        name=name,
        before=before.value,
        now=now.value,
        worse=worse.value,
        low=worse.low,
        high=worse.high,
        limit=limit,
        n=n,
        result=Result.NOT_ENOUGH if n < FEWEST else _result(worse, limit),
    )


def _ratio(new: Bounds, old: Bounds) -> Bounds:
    """Bound how many times worse; a median that is a failed request is nothing to compare with."""
    if math.isinf(old.value):
        return Bounds(value=math.inf, low=0.0, high=math.inf)
    return bounds.ratio(new, old)


def _result(worse: Bounds, limit: float) -> Result:
    if worse.low > limit:
        return Result.REGRESSION
    return Result.SAME if worse.high <= limit else Result.NOT_ENOUGH


def _plain(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Result) else value
