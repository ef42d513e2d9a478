"""A month of a fleet: what it cost, shared out to the last billionth, and what size it should be.

Run it with `make bench-cost`. Hosts are made one after the other from a seed (1,000 hosts of 43,200
samples of 4 metrics would be 1.4 GB), and so is what their engines did: the time that takes is left
out of every figure, and shown. Two processes share the hosts; a time is that of the slower one.
Where others use the machine too, the CPU seconds say what it would take alone. Memory is the sum of
all processes' peaks.

* the hour: usage of the whole fleet from 70 minutes of samples, Great Expectations, prices,
  allocation, FOCUS rows with their conformance check, and the Parquet file
* the back-fill: 720 hours of usage and allocation, and advice from 30 days of four metrics with its
  backtest. It writes no files: a month of hours one by one takes as long as 720 hours do
* KRR's and VPA's rules on the same series, with the same backtest: sizes held for a day

`HOSTS=10,100` takes other sizes of fleet. The last line is one JSON object.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context

import numpy as np

from cost_hour import run_hour
from cost_usage import engines_of, hours_of, levels_of, series_of
from cost_world import HELD, MadeHost, make_host, price_book
from greenlight.core.types import JsonDict
from greenlight.cost.allocation import allocate, identity_error
from greenlight.cost.bill import bill_of
from greenlight.cost.claims import Part
from greenlight.cost.prices import PriceBook
from greenlight.cost.rightsizing.advice import Floor, NotEnoughData, Withdrawn
from greenlight.cost.rightsizing.series import Resource, UsageSeries
from greenlight.cost.rightsizing.strategies.base import NOTHING, SizingRule
from greenlight.cost.rightsizing.strategies.krr import Krr
from greenlight.cost.rightsizing.strategies.percentile_headroom import PercentileHeadroom
from greenlight.cost.rightsizing.strategies.vpa import Vpa
from greenlight.cost.usage import HostUsage

WORKERS = 2
CHUNK = 5
FLEETS = "10,100,1000"
OUTPUT_WEIGHT = 4.0
FLOOR = Floor(amount=HELD, made_of="weights + KV cache")
OURS = "ours"
RULES: Mapping[str, SizingRule] = {
    OURS: PercentileHeadroom(),
    "krr": Krr(),
    "vpa": Vpa(first_memory_bucket=0.01),
}
"""VPA's first bucket of memory is 10 MB; of shares of a host, it is a hundredth."""
BACK_FILL = ("usage", "allocation", "series", OURS)
ADVICE = ("series", OURS)


@dataclass(slots=True, kw_only=True)
class Done:
    """What one worker found out. `seconds`: by step; `parts`: billionths; `answers`: by rule."""

    pid: int = field(default_factory=os.getpid)
    seconds: Counter[str] = field(default_factory=Counter)
    parts: Counter[str] = field(default_factory=Counter)
    answers: dict[str, list[tuple[float, ...]]] = field(default_factory=lambda: defaultdict(list))
    worst_pct: float = 0.0
    lines: int = 0
    peak_kb: int = 0


@contextmanager
def timed(done: Done, what: str) -> Iterator[None]:
    """Add the time that a block takes, and what of it a processor was ours."""
    start, ours = time.perf_counter(), time.process_time()
    yield
    done.seconds[what] += time.perf_counter() - start
    done.seconds[f"{what} cpu"] += time.process_time() - ours


def back_fill(numbers: Sequence[int]) -> Done:
    """Compute a month of some hosts."""
    done, book = Done(), price_book()
    for number in numbers:
        with timed(done, "generation"):
            host = make_host(number)
        with timed(done, "usage"):
            levels = levels_of(host)
        with timed(done, "generation"):
            engines = engines_of(host, levels["gpu"])
        with timed(done, "usage"):
            usages = hours_of(host, levels, engines)
        with timed(done, "allocation"):
            share_out(done, host, usages, book)
        with timed(done, "series"):
            series = series_of(host)
        for name, rule in RULES.items():
            with timed(done, name):
                done.answers[name] += [answer_of(rule, one) for one in series]
    done.peak_kb = peak_kb()
    return done


def share_out(done: Done, host: MadeHost, usages: Sequence[HostUsage], book: PriceBook) -> None:
    """Share out a host's month, and note how far its lines are from its bill."""
    for usage in usages:
        items = bill_of([host.bought], usage.hour, book)
        lines = allocate(items, {usage.host: usage}, output_weight=OUTPUT_WEIGHT)
        missed = 100 * identity_error(items, lines) / items[0].cost
        done.worst_pct = max(done.worst_pct, missed)
        done.lines += len(lines)
        for line in lines:
            done.parts[line.part] += line.cost


def answer_of(rule: SizingRule, series: UsageSeries) -> tuple[float, ...]:
    """Return what a rule says of a series: 0 for a size, and its backtest in percent."""
    floor = FLOOR if series.resource is Resource.GPU_MEMORY else NOTHING
    found = rule.advise(series, current=1.0, floor=floor)
    if isinstance(found, Withdrawn | NotEnoughData):
        return (1.0 if isinstance(found, Withdrawn) else 2.0, np.nan, np.nan, np.nan)
    test = found.backtest
    over, slack = (np.nan if share is None else 100 * share for share in (test.over, test.slack))
    return (0.0, found.capacity, over, slack)


def run_fleet(hosts: int) -> tuple[JsonDict, Done]:
    """Return a fleet's figures, and all that its workers found."""
    chunks = [range(at, min(at + CHUNK, hosts)) for at in range(0, hosts, CHUNK)]
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(back_fill, chunks))
    by_worker: dict[int, Counter[str]] = defaultdict(Counter)
    peaks: dict[int, int] = {}
    whole = Done()
    for one in found:
        by_worker[one.pid].update(one.seconds)
        peaks[one.pid] = max(peaks.get(one.pid, 0), one.peak_kb)
        whole.parts.update(one.parts)
        whole.lines += one.lines
        whole.worst_pct = max(whole.worst_pct, one.worst_pct)
        for name, answers in one.answers.items():
            whole.answers[name] += answers

    def slower(*steps: str) -> float:
        return max(sum(seconds[step] for step in steps) for seconds in by_worker.values())

    figures = {
        "back_fill_seconds": slower(*BACK_FILL),
        "back_fill_cpu_seconds": slower(*(f"{step} cpu" for step in BACK_FILL)),
        "advice_seconds": slower(*ADVICE),
        "advice_cpu_seconds": slower(*(f"{step} cpu" for step in ADVICE)),
        "usage_seconds": slower("usage"),
        "allocation_seconds": slower("allocation"),
        "krr_seconds": slower("series", "krr"),
        "vpa_seconds": slower("series", "vpa"),
        "generation_seconds": slower("generation"),
        "back_fill_peak_gb": (sum(peaks.values()) + peak_kb()) / 1e6,
        "identity_error_pct": whole.worst_pct,
    }
    return figures, whole


def in_a_process(call: Callable[[int], dict[str, float]], hosts: int) -> tuple[JsonDict, float]:
    """Return what a call returns from a process of its own, and that process' peak in GB."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(call, hosts).result(), pool.submit(peak_kb).result() / 1e6


def peak_kb() -> int:
    """Return the most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def report(hosts: int, figures: JsonDict, whole: Done) -> None:
    """Print a fleet's back-fill."""
    bill = sum(whole.parts.values())
    print(
        f"\n{hosts} hosts, 720 hours, {whole.lines:,} lines: bill {bill / 1e9:,.2f} USD = "
        + " + ".join(f"{part} {100 * whole.parts[part] / bill:.2f} %" for part in Part)
    )
    print(f"lines miss their bill by {whole.worst_pct:.9f} % at worst, on either basis")
    print(f"{'rule':6}| {'seconds':>8} | sizes, withdrawn, too little | {'size':>6} | over   slack")
    for name in RULES:
        table = np.array(whole.answers[name])
        kinds = Counter(table[:, 0].astype(int).tolist())
        size, over, slack = (_mean(table[:, i]) for i in (1, 2, 3))
        seconds = figures["advice_seconds" if name == OURS else f"{name}_seconds"]
        print(
            f"{name:6}| {seconds:8.1f} | {kinds[0]:8} {kinds[1]:8} {kinds[2]:8}   | {size:6.3f} | "
            f"{over:5.2f}% {slack:5.1f}%"
        )


def print_growth(by_hosts: Mapping[str, JsonDict]) -> None:
    """Print how time and memory grow with the fleet."""
    print("\nhosts | hour: s, GB | back-fill: s, CPU s, GB (usage, allocation, advice) | s a host")
    for hosts, row in by_hosts.items():
        print(
            f"{hosts:>5} | {row['hour_seconds']:5.1f} {row['hour_peak_gb']:5.2f} | "
            f"{row['back_fill_seconds']:8.1f} {row['back_fill_cpu_seconds']:6.1f} "
            f"{row['back_fill_peak_gb']:5.2f}  "
            f"({row['usage_seconds']:.1f}, {row['allocation_seconds']:.1f}, "
            f"{row['advice_seconds']:.1f}) | {row['back_fill_seconds'] / int(hosts):.3f}"
        )


def main() -> int:
    """Run every size of fleet, and end with one JSON object."""
    by_hosts: dict[str, JsonDict] = {}
    for hosts in map(int, os.environ.get("HOSTS", FLEETS).split(",")):
        steps, hour_peak = in_a_process(run_hour, hosts)
        missed = steps.pop("identity_error_pct")
        figures, whole = run_fleet(hosts)
        report(hosts, figures, whole)
        shown = ", ".join(f"{what} {seconds:.2f}" for what, seconds in steps.items())
        print(f"an hour: {sum(steps.values()):.2f} s ({shown}), peak {hour_peak:.2f} GB")
        print(f"left out: {figures['generation_seconds']:.1f} s to make the samples")
        worst = max(figures["identity_error_pct"], missed)
        hour = {"hour_seconds": sum(steps.values()), "hour_peak_gb": hour_peak}
        by_hosts[str(hosts)] = hour | figures | {"identity_error_pct": worst}
    print_growth(by_hosts)
    largest = by_hosts[max(by_hosts, key=int)]
    result = {
        "seconds": round(largest["back_fill_seconds"], 2),
        "peak_gb": round(largest["back_fill_peak_gb"], 3),
        "identity_error_pct": max(row["identity_error_pct"] for row in by_hosts.values()),
        "by_hosts": {
            hosts: {name: round(value, 6) for name, value in row.items()}
            for hosts, row in by_hosts.items()
        },
    }
    print(json.dumps(result))
    return 0


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


if __name__ == "__main__":
    sys.exit(main())
