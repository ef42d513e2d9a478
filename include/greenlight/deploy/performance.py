"""What a live version does under a set load: settings, and the numbers with their bounds.

Two loads, both through the router, as clients ask. Closed loop: so many requests in flight at once,
each answer of the same length, so that speeds compare. Open loop: requests at a fixed rate whatever
became of those before, for the share that keeps the objective (goodput). The share of each level's
requests that kept it is told too: the speed of a level counts as a capacity only where they did.
Requests of one level share batches, so their bounds are somewhat narrower than the truth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import AwareDatetime, Field

from greenlight.core.digest import digest_json
from greenlight.core.settings import read_config
from greenlight.core.types import Value
from greenlight.deploy import bounds
from greenlight.deploy.bounds import Bounds
from greenlight.deploy.sample_size import half_tail_n
from greenlight.deploy.samples import Columns, Floats, Sample, SampleSet

MEDIAN, P90 = 0.5, 0.9
FEWEST = half_tail_n(MEDIAN)
"""Requests from which a median may be read."""
FIRST_TOKEN, GAP, TOTAL = "ttft_p50", "gap_p50", "total_p50"
SPEED, GOODPUT, FAILED = "tokens_per_second", "goodput", "failed"
COMPARED = (FIRST_TOKEN, GAP, TOTAL, SPEED)
"""What is compared at each level; goodput and failed requests once."""

Seconds = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]


class Level(Value):
    """How many requests are in flight at once, and how many are sent."""

    concurrency: Annotated[int, Field(ge=1, le=1024)]
    requests: Annotated[int, Field(ge=FEWEST)]


class PerformanceSettings(Value):
    """How a fleet is measured, and from where on a version is slower than the one before.

    `new_tokens`: of every answer. `warm_up`: requests that are not measured. `rate`, `seconds`: of
    the open loop. `ttft_s`, `gap_s`: the objective of goodput, as in the rollout's rule. `slower`:
    0.3 lets a time, or the tokens a second, be 1.3 times worse. `fewer`: 0.05 lets five more
    requests in a hundred fail or miss the objective. `other_traffic`: more clients' requests than
    this share of all, and nothing is compared. `confidence`: of all comparisons together.
    """

    levels: Annotated[tuple[Level, ...], Field(min_length=1)] = (
        Level(concurrency=1, requests=60),
        Level(concurrency=4, requests=60),
        Level(concurrency=8, requests=96),
    )
    new_tokens: Annotated[int, Field(ge=2)] = 64
    warm_up: Annotated[int, Field(ge=0, le=FEWEST)] = 4
    rate: Annotated[float, Field(gt=0, le=1000)] = 2.0
    seconds: Seconds = 90.0
    timeout_s: Seconds = 60.0
    seed: int = 20260101
    ttft_s: Seconds = 2.0
    gap_s: Seconds = 0.1
    slower: Annotated[float, Field(gt=0)] = 0.3
    fewer: Share = 0.05
    other_traffic: Share = 0.2
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95

    @property
    def load_digest(self) -> str:
        """What is sent and how it is read; limits don't count."""
        limits = {"slower", "fewer", "other_traffic"}
        return digest_json(self.model_dump(mode="json", exclude=limits))

    @property
    def each_confidence(self) -> float:
        """The confidence of one comparison: by the union bound all together keep theirs."""
        comparisons = len(COMPARED) * len(self.levels) + 2
        return 1 - (1 - self.confidence) / comparisons


class PerformanceFile(Value):
    """The whole file: settings for every fleet, and for single ones."""

    default: PerformanceSettings = PerformanceSettings()
    fleets: dict[str, PerformanceSettings] = Field(default_factory=dict)


def load_performance(path: Path, fleet: str) -> PerformanceSettings:
    """Return the settings of one fleet.

    Raises:
        ConfigError: the file cannot be read, or has an unknown key or a bad value.
    """
    found = read_config(path, PerformanceFile)
    return found.fleets.get(fleet, found.default)


class Number(Value):
    """One number and its one-sided bounds. Times in seconds, shares 0 to 1.

    `value` is `None` where half of the requests or more failed, a bound where `n` holds none.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    n: int

    @property
    def bounds(self) -> Bounds:
        """The number for arithmetic: what is missing is infinite."""
        low = -math.inf if self.low is None else self.low
        value, high = (math.inf if x is None else x for x in (self.value, self.high))
        return Bounds(value=value, low=low, high=high)


class Benchmark(Value):
    """What was measured of one live version on one fleet.

    `rollout_id`: the rollout that brought it there. `hosts`: that served. `other_requests`: of
    clients meanwhile; `None`: the router's counters could not tell. `confidence`: of each bound.
    """

    fleet: str
    model: str
    version: int
    digest: str
    flags_digest: str
    load_digest: str
    hosts: int
    rollout_id: str
    measured_at: AwareDatetime
    requests: int
    other_requests: int | None
    confidence: float
    numbers: tuple[Number, ...]

    def number(self, name: str) -> Number | None:
        """Return a number by its name, such as `ttft_p50.4`."""
        return next((number for number in self.numbers if number.name == name), None)

    @property
    def other_share(self) -> float | None:
        """The part of all requests that clients sent; `None`: not known."""
        if self.other_requests is None:
            return None
        return self.other_requests / max(1, self.other_requests + self.requests)

    @property
    def summary(self) -> str:
        """The numbers that a person asks for first."""
        most = max(int(n.name.rpartition(".")[2]) for n in self.numbers if "." in n.name)
        parts = [
            f"{_shown(self.number(f'{FIRST_TOKEN}.1'), ' s')} to the first token",
            f"{_shown(self.number(f'{GAP}.1'), ' s')} a token",
            f"{_shown(self.number(f'{SPEED}.{most}'))} tokens/s at {most}",
            f"goodput {_shown(self.number(GOODPUT))}",
        ]
        return f"fleet {self.fleet}: {', '.join(parts)}"


def numbers_of(
    levels: Mapping[int, Sequence[Sample]],
    at_rate: Sequence[Sample],
    settings: PerformanceSettings,
) -> tuple[Number, ...]:
    """Return every number of a benchmark.

    `levels`: the closed loop's requests by how many were in flight; `at_rate`: the open loop's.
    A failed request counts as slower than every time.
    """
    found: list[Number] = []
    for concurrency, samples in levels.items():
        found += _level(SampleSet(samples).columns(), concurrency, settings.each_confidence)
        kept = [sample for sample in samples if _keeps(sample, settings)]
        name = f"{GOODPUT}.{concurrency}"
        found.append(_share(name, len(kept), len(samples), settings.each_confidence))
    everything = [*at_rate, *(sample for samples in levels.values() for sample in samples)]
    kept = [sample for sample in at_rate if _keeps(sample, settings)]
    lost = [sample for sample in everything if not sample.ok]
    found.append(_share(GOODPUT, len(kept), len(at_rate), settings.each_confidence))
    found.append(_share(FAILED, len(lost), len(everything), settings.each_confidence))
    return tuple(found)


def _level(columns: Columns, concurrency: int, confidence: float) -> list[Number]:
    def quantile(name: str, values: Floats, q: float) -> Number:
        held = values[~np.isnan(values)]
        return _number(
            f"{name}.{concurrency}", lambda: bounds.quantile(held, q, confidence), held.size
        )

    return [
        quantile(FIRST_TOKEN, columns.ttft, MEDIAN),
        quantile("ttft_p90", columns.ttft, P90),
        quantile(GAP, columns.gap, MEDIAN),
        quantile("gap_p90", columns.gap, P90),
        quantile(TOTAL, columns.total, MEDIAN),
        quantile("total_p90", columns.total, P90),
        _speed(columns, concurrency, confidence),
    ]


def _speed(columns: Columns, concurrency: int, confidence: float) -> Number:
    """Return tokens a second while all are busy: `concurrency` × tokens over the time they took.

    Over the wall time it would also count how long the last request was alone.
    """
    tokens, seconds = columns.tokens[columns.ok], columns.total[columns.ok]

    def rate() -> Bounds:
        one = bounds.ratio(bounds.mean(tokens, confidence), bounds.mean(seconds, confidence))
        return Bounds(
            value=concurrency * one.value, low=concurrency * one.low, high=concurrency * one.high
        )

    return _number(f"{SPEED}.{concurrency}", rate, tokens.size)


def _share(name: str, hits: int, n: int, confidence: float) -> Number:
    return _number(name, lambda: bounds.share(hits, n, confidence), n)


def _number(name: str, at: Callable[[], Bounds], n: int) -> Number:
    if not n:
        return Number(name=name, value=None, low=None, high=None, n=0)
    found = at()
    value, low, high = (x if math.isfinite(x) else None for x in
                        (found.value, found.low, found.high))  # fmt: skip
    return Number(name=name, value=value, low=low, high=high, n=n)


def _keeps(sample: Sample, settings: PerformanceSettings) -> bool:
    """Tell whether a request kept the objective. An answer of one token has no gap to miss."""
    in_time = sample.ttft_s is not None and sample.ttft_s <= settings.ttft_s
    return sample.ok and in_time and (sample.gap_s is None or sample.gap_s <= settings.gap_s)


def figure(value: float | None) -> str:
    """Return three digits that count; `∞` for a median that is a failed request."""
    if value is None or math.isinf(value):
        return "∞"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _shown(number: Number | None, unit: str = "") -> str:
    return f"{figure(number.value)}{unit}" if number else "?"
