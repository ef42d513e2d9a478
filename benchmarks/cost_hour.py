"""One hour of a whole fleet, for `cost.py`: from raw samples to a Parquet file of FOCUS rows."""

from __future__ import annotations

import tempfile
import time
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np

from cost_world import (
    HELD,
    START,
    TENANTS,
    bought_of,
    plan_of,
    price_book,
)
from greenlight.adapters.cost_expectations import check_hour
from greenlight.adapters.focus_files import FocusFiles
from greenlight.cost.allocation import allocate, identity_error
from greenlight.cost.bill import bill_of
from greenlight.cost.focus.rows import Account, rows_of
from greenlight.cost.observed import hour_of
from greenlight.cost.samples import Samples
from greenlight.cost.scrapes import Metric, Scrape, Series

HOUR = START + timedelta(days=29, hours=12)
BEFORE_S = 600
STEP_S = 60.0
ACCOUNT = Account(id="1", name="bench", provider="made up", publisher="made up", issuer="made up")

Raw = dict[Metric, list[tuple[dict[str, str], list[tuple[float, float]]]]]


def raw_hour(hosts: int) -> Raw:
    """Return an hour of samples as Prometheus answers: labels, and pairs of time and value."""
    rng = np.random.default_rng(7)
    at = HOUR.timestamp() - BEFORE_S + np.arange(BEFORE_S // 60 + 61) * STEP_S
    found: Raw = {metric: [] for metric in Metric}

    def add(metric: Metric, values: object, **labels: str) -> None:
        there = np.broadcast_to(np.asarray(values, dtype=float), at.shape)
        found[metric].append((labels, list(zip(at.tolist(), there.tolist(), strict=True))))

    for number in range(hosts):
        plan = plan_of(number)
        host, gpu = {"host": plan.name}, {"host": plan.name, "gpu": "0"}
        busy = np.clip(rng.uniform(0.05, 0.8) + rng.normal(0, 0.05, at.size), 0, 1)
        add(Metric.CPU_SECONDS, np.cumsum(60 * (1 - 0.3 * busy)), mode="idle", cpu="0", **host)
        add(Metric.MEMORY_AVAILABLE, 6e9 + 1e9 * busy, **host)
        add(Metric.MEMORY_TOTAL, 16e9, **host)
        add(Metric.ENGINE_ACTIVE, busy, **gpu)
        add(Metric.GPU_UTILISATION, np.clip(110 * busy, 0, 100), **gpu)
        add(Metric.GPU_MEMORY_USED, 24000 * HELD, **gpu)
        add(Metric.GPU_MEMORY_FREE, 24000 * (1 - HELD), **gpu)
        for slot in plan.slots:
            engine = host | {"colour": slot.slot}
            rate = np.zeros(at.size) if slot.is_warm else busy * 2500 * 60
            add(Metric.UP, 1.0, **engine)
            add(Metric.RUNNING, np.round(rate / 3000), **engine)
            add(Metric.INPUT_TOKENS, np.cumsum(3 * rate), **engine)
            add(Metric.OUTPUT_TOKENS, np.cumsum(rate), **engine)
    for tenant in TENANTS:
        for direction, times in (("input", 3), ("output", 1)):
            labels = {"model": "chat", "colour": "green", "tenant": tenant, "direction": direction}
            add(Metric.GATEWAY_TOKENS, np.arange(at.size) * 1e5 * times * hosts, **labels)
    return found


def run_hour(hosts: int) -> dict[str, float]:
    """Return the seconds of each step of an hour, and by how much its lines miss the bill."""
    raw = raw_hour(hosts)
    book = price_book()
    plans = [plan_of(number) for number in range(hosts)]
    marks = [("", time.perf_counter())]

    def mark(what: str) -> None:
        marks.append((what, time.perf_counter()))

    scrape = Scrape(
        {
            metric: [
                Series(labels=labels, samples=Samples.of(pairs, step_s=STEP_S))
                for labels, pairs in series
            ]
            for metric, series in raw.items()
        }
    )
    usage = hour_of(plans, scrape, HOUR)
    mark("usage")
    items = bill_of([bought_of(number) for number in range(hosts)], HOUR, book)
    mark("prices")
    with tempfile.TemporaryDirectory(prefix="greenlight bench ") as folder:
        verdict = check_hour(
            usage, items, hour=HOUR, min_measured=0.5, last_prices={}, docs=Path(folder) / "docs"
        )
        mark("expectations")
        lines = allocate(items, usage, output_weight=4.0)
        mark("allocation")
        FocusFiles(Path(folder)).write_hour(HOUR, rows_of(lines, ACCOUNT))
        mark("FOCUS")
    assert not verdict.problems, verdict.problems
    seconds = {what: at - before for (_, before), (what, at) in pairwise(marks)}
    bill = sum(item.cost for item in items)
    return seconds | {"identity_error_pct": 100 * identity_error(items, lines) / bill}
