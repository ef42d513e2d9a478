"""What usage and prices of an hour must be like before they become costs.

A hole in one host's samples is no problem here: it gets a line of its own in the bill. What makes
an hour wrong as a whole does: most hosts silent, shares beyond 1, a host that is paid for and that
nobody planned, prices that jumped.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path

import pandas as pd
from great_expectations import expectations as gxe

from greenlight.adapters.expectation_run import ROW, judge
from greenlight.adapters.expectation_suites import Expected
from greenlight.core.files import folder_in_the_making
from greenlight.cost.bill import BillItem
from greenlight.cost.claims import covered_by
from greenlight.cost.money import from_nanos
from greenlight.cost.usage import (
    Count,
    Counter,
    Gauge,
    HostUsage,
    Mark,
    SlotUsage,
    Unmeasured,
)

PRICE_JUMP = 3.0
"""A price that is this many times the last one, or a part of it, is a slip more often than not."""
MOST_A_SECOND = 1e6
"""Tokens a second that no host makes."""
HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HourVerdict:
    """What the suites said. `problems` keep the hour aside; only then there are `docs`."""

    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    docs: Path | None


def check_hour(
    usage: Mapping[str, HostUsage],
    items: Sequence[BillItem],
    *,
    hour: datetime,
    min_measured: float,
    last_prices: Mapping[str, Decimal],
    docs: Path,
) -> HourVerdict:
    """Check what an hour's costs would be made from.

    An hour with problems leaves its data docs in `docs`, another one removes what was there.

    `min_measured`: the share of the hosts' time that must have been measured. `last_prices`: what a
    SKU cost an hour ago, by its name and region (`g5.xlarge in us-east-1`).
    """
    suites: list[tuple[str, pd.DataFrame, Callable[[], Iterator[Expected]]]] = [
        ("hosts", hosts_frame(usage), partial(_hosts, min_measured)),
        ("prices", prices_frame(items, last_prices), _prices),
    ]
    if any(host.slots for host in usage.values()):
        suites.append(("slots", slots_frame(usage), _slots))
    name = f"{hour:%Y-%m-%dT%H}"
    # An expectation belongs to one run, so a second run needs new ones.
    said = [judge(frame, list(suite()), name=f"{kind}-{name}") for kind, frame, suite in suites]
    problems = tuple(sentence for one in said for sentence in one.problems)
    if problems:
        with folder_in_the_making(docs) as making:
            for kind, frame, suite in suites:
                (making / kind).mkdir()
                judge(frame, list(suite()), name=f"{kind}-{name}", docs=making / kind)
    else:
        shutil.rmtree(docs, ignore_errors=True)
    return HourVerdict(
        problems=problems,
        warnings=tuple(sentence for one in said for sentence in one.warnings),
        docs=docs if problems else None,
    )


def hosts_frame(usage: Mapping[str, HostUsage]) -> pd.DataFrame:
    """Return a row for each host."""
    rows = [
        {
            ROW: host.host,
            "measured": covered_by(host),
            "computation": _mean(host.computation),
            "memory": _mean(host.memory),
            "gpu_memory": None if host.gpu_memory is None else _mean(host.gpu_memory),
            "contradicted": _has(host.computation, Mark.UNTRUSTED),
        }
        for host in usage.values()
    ]
    columns = [ROW, "measured", "computation", "memory", "gpu_memory", "contradicted"]
    numbers = dict.fromkeys(columns[1:], "float64")
    return pd.DataFrame(rows, columns=columns).astype(numbers)


def slots_frame(usage: Mapping[str, HostUsage]) -> pd.DataFrame:
    """Return a row for each engine."""
    rows = [
        {
            ROW: f"{host.host} {slot.slot}",
            "model": slot.model,
            "time": _mean(slot.time),
            "held": _mean(slot.memory),
            "input_rate": _rate(slot.input_tokens),
            "output_rate": _rate(slot.output_tokens),
            "lost": _has(slot.input_tokens, Mark.LOST) + _has(slot.output_tokens, Mark.LOST),
            "beyond_engine": _beyond(slot),
        }
        for host in usage.values()
        for slot in host.slots
    ]
    columns = (ROW, "model", "time", "held", "input_rate", "output_rate", "lost", "beyond_engine")
    numbers = dict.fromkeys(columns[2:], "float64")
    return pd.DataFrame(rows, columns=list(columns)).astype(numbers)


def prices_frame(items: Sequence[BillItem], last: Mapping[str, Decimal]) -> pd.DataFrame:
    """Return a row for each item of the bill."""
    rows = []
    for item in items:
        sku = f"{item.bought.sku} in {item.bought.region}"
        price = from_nanos(item.cost) / item.quantity if item.quantity else Decimal(0)
        before = last.get(sku)
        rows.append(
            {
                ROW: f"{item.bought.name} ({sku})",
                "price": float(price),
                "source": "; ".join(item.sources),
                "currency": item.currency,
                "jump": float(price / before) if before else None,
                "over_list": float(from_nanos(max(0, item.cost - item.list_cost))),
            }
        )
    columns = (ROW, "price", "source", "currency", "jump", "over_list")
    numbers = dict.fromkeys(("price", "jump", "over_list"), "float64")
    return pd.DataFrame(rows, columns=list(columns)).astype(numbers)


def _hosts(min_measured: float) -> Iterator[Expected]:
    yield Expected(
        expectation=gxe.ExpectTableRowCountToBeBetween(min_value=1),
        complaint="there is no host to share costs out to",
    )
    yield Expected(
        expectation=gxe.ExpectColumnMeanToBeBetween(column="measured", min_value=min_measured),
        complaint=f"less than {min_measured:.0%} of the hosts' time was measured",
    )
    for column in ("computation", "memory", "gpu_memory"):
        yield _between(column, 0, 1, f"have a {column.replace('_', ' ')} that is no share of 1")
    yield _between("contradicted", 0, 0, "have GPU metrics that contradict each other", warns=True)


def _slots() -> Iterator[Expected]:
    for column in ("time", "held"):
        yield _between(column, 0, 1, f"have a {column} that is no share of 1")
    for column in ("input_rate", "output_rate"):
        yield _between(
            column, 0, MOST_A_SECOND, f"have more than {MOST_A_SECOND:,.0f} tokens a second"
        )
    yield _between("lost", 0, 0, "lost tokens in a restart that nobody saw", warns=True)
    yield _between(
        "beyond_engine", 0, 1.05, "have more tokens by the gateway than by the engine", warns=True
    )


def _prices() -> Iterator[Expected]:
    yield Expected(
        expectation=gxe.ExpectTableRowCountToBeBetween(min_value=1),
        complaint="nothing was bought",
    )
    yield Expected(
        expectation=gxe.ExpectColumnValuesToMatchRegex(column="source", regex=r"\S"),
        complaint="have a price without a source",
    )
    yield Expected(
        expectation=gxe.ExpectColumnUniqueValueCountToBeBetween(column="currency", max_value=1),
        complaint="prices are in several currencies",
    )
    yield _between(
        "jump", 1 / PRICE_JUMP, PRICE_JUMP,
        f"cost more than {PRICE_JUMP:g} times what they did an hour before, or less than a third",
    )  # fmt: skip
    yield _between("price", 1e-12, None, "cost nothing", warns=True)
    yield _between("over_list", None, 0, "cost more than their list price", warns=True)


def _between(
    column: str, low: float | None, high: float | None, complaint: str, *, warns: bool = False
) -> Expected:
    return Expected(
        expectation=gxe.ExpectColumnValuesToBeBetween(
            column=column,
            min_value=low,
            max_value=high,
            severity="warning" if warns else "critical",
        ),
        complaint=complaint,
        warns=warns,
    )


def _mean(level: Gauge) -> float | None:
    return None if isinstance(level, Unmeasured) else level.mean


def _has(measured: Gauge | Counter, mark: Mark) -> int:
    return int(mark in measured.marks)


def _rate(counter: Counter) -> float | None:
    if isinstance(counter, Unmeasured) or not counter.coverage:
        return None
    return counter.total / (counter.coverage * HOUR_S)


def _beyond(slot: SlotUsage) -> float | None:
    """Return the tenants' output tokens as a share of the engine's."""
    counted = [t.output_tokens for t in slot.tenants if isinstance(t.output_tokens, Count)]
    engine = slot.output_tokens
    if not counted or isinstance(engine, Unmeasured) or not engine.total:
        return None
    return sum(one.total for one in counted) / engine.total
