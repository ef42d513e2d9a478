"""StatsD's words, counted for Prometheus: only what the mapping names, with bounded labels.

Anybody who reaches the port may send anything. A line that is no measurement, or that nobody asked
for, is counted and changes nothing else; a name never gets more label sets than the mapping says.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from pydantic import Field, model_validator

from greenlight.core.metrics import LabelName, MetricName
from greenlight.core.settings import read_config
from greenlight.core.types import Value

OTHER = "other"
LONGEST_VALUE = 100
LARGEST = 1e12
"""No number of Airflow's comes near it, and sums of such stay exact."""
TYPES = {"c": "counter", "g": "gauge", "ms": "timer"}
ENDINGS = {"counter": "_total", "timer": "_seconds"}
LabelKey = Annotated[str, Field(pattern=r"^[a-z][a-z_]*$")]
Labels = tuple[str, ...]


class Outcome(StrEnum):
    """What became of a line."""

    KEPT = "kept"
    FOLDED = "folded"
    """Kept, under `other`: the name has too many label sets."""
    UNMAPPED = "unmapped"
    MALFORMED = "malformed"


class MappedMetric(Value):
    """One name of the sender's, and what it is to Prometheus."""

    match: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    name: Annotated[str, Field(pattern=r"^airflow_[a-z_]+$")]
    help: str
    kind: Literal["counter", "gauge", "timer"]
    tags: tuple[LabelKey, ...] = ()
    labels: dict[LabelKey, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _named_by_kind(self) -> MappedMetric:
        ending = ENDINGS.get(self.kind, "")
        if not self.name.endswith(ending):
            raise ValueError(f"{self.name} is a {self.kind}, so its name must end in {ending}")
        return self

    @property
    def label_names(self) -> Labels:
        """The labels' names in their order."""
        return (*self.tags, *self.labels)


class Mapping(Value):
    """The whole file."""

    prefix: Annotated[str, Field(pattern=r"^[a-z]+$")]
    at_most: Annotated[int, Field(ge=1, le=1000)]
    metrics: Annotated[tuple[MappedMetric, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _agreed(self) -> Mapping:
        by_name: dict[str, MappedMetric] = {}
        matched = Counter(one.match for one in self.metrics)
        if twice := [match for match, times in matched.items() if times > 1]:
            raise ValueError(f"{twice[0]} is matched twice")
        for one in self.metrics:
            first = by_name.setdefault(one.name, one)
            if (first.kind, first.label_names) != (one.kind, one.label_names):
                raise ValueError(f"{one.name} has two kinds or two sets of labels")
        return self


def load_mapping(path: Path) -> Mapping:
    """Read a mapping file.

    Raises:
        ConfigError: it can't be read, or has an unknown key or a bad value.
    """
    return read_config(path, Mapping)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One measurement. `is_change`: a gauge that moves by the value."""

    name: str
    tags: dict[str, str]
    value: float
    kind: str
    is_change: bool


@dataclass(slots=True)
class _Family:
    """What is known of one name. A timer has a sum and a count."""

    metric: MappedMetric
    values: dict[Labels, float] = field(default_factory=dict)
    counts: dict[Labels, int] = field(default_factory=dict)


class StatsdStore:
    """Everything that came in so far, for one mapping. Safe for threads."""

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        self._by_match = {f"{mapping.prefix}.{one.match}": one for one in mapping.metrics}
        self._families: dict[str, _Family] = {}
        self._lines: Counter[Outcome] = Counter()
        self._lock = threading.Lock()
        for one in mapping.metrics:
            family = self._families.setdefault(one.name, _Family(one))
            if one.kind == "counter" and not one.tags:
                family.values[tuple(one.labels.values())] = 0.0  # so that the first one is a rise

    def take(self, datagram: bytes) -> None:
        """Count what a datagram says."""
        with self._lock:
            for line in datagram.split(b"\n"):
                if line.strip():
                    self._lines[self._count(line)] += 1

    def collect(self) -> list[Metric]:
        """Return every name that has a value, and what became of the lines."""
        lines = CounterMetricFamily(
            MetricName.STATSD_LINES.removesuffix("_total"),
            "Lines in StatsD's words, by what became of them.",
            labels=[LabelName.OUTCOME],
        )
        with self._lock:
            for outcome in Outcome:
                lines.add_metric([outcome], self._lines[outcome])
            found = [_metric(family) for family in self._families.values() if family.values]
        return [*found, lines]

    def _count(self, raw: bytes) -> Outcome:
        line = parse_line(raw)
        if line is None:
            return Outcome.MALFORMED
        wanted = self._by_match.get(line.name)
        if wanted is None:
            return Outcome.UNMAPPED
        if wanted.kind != line.kind or (line.value < 0 and line.kind != "gauge"):
            return Outcome.MALFORMED
        family = self._families[wanted.name]
        labels, outcome = self._labels(family, wanted, line)
        before = family.values.get(labels, 0.0)
        adds = line.kind != "gauge" or line.is_change
        family.values[labels] = before + line.value if adds else line.value
        if line.kind == "timer":
            family.counts[labels] = family.counts.get(labels, 0) + 1
        return outcome

    def _labels(self, family: _Family, wanted: MappedMetric, line: Line) -> tuple[Labels, Outcome]:
        fixed = tuple(wanted.labels.values())
        given = (*(_checked(line.tags.get(tag, "")) for tag in wanted.tags), *fixed)
        if given in family.values or len(family.values) < self._mapping.at_most:
            return given, Outcome.KEPT
        return (*(OTHER for _ in wanted.tags), *fixed), Outcome.FOLDED


def parse_line(raw: bytes) -> Line | None:
    """Return what `name,tag=value:1|c|@0.1` says; `None`: it says nothing that counts."""
    try:
        head, _, rest = raw.decode("utf-8").strip().partition(":")
        number, letter, *options = rest.split("|")
        value, rate = float(number), _rate(options)
    except ValueError:
        return None
    name, *pairs = head.split(",")
    tags = dict(pair.split("=", 1) for pair in pairs if pair.count("=") == 1)
    kind = TYPES.get(letter)
    if kind is None or not name or len(tags) != len(pairs) or not abs(value) <= LARGEST:
        return None
    if kind == "counter":
        value /= rate
    elif kind == "timer":
        value /= 1000
    return Line(name=name, tags=tags, value=value, kind=kind, is_change=number[0] in "+-")


def _rate(options: list[str]) -> float:
    rates = [float(one[1:]) for one in options if one.startswith("@")]
    if len(rates) != len(options) or len(rates) > 1 or not all(0.001 <= r <= 1 for r in rates):
        raise ValueError("not a sampling rate")
    return rates[0] if rates else 1.0


def _checked(value: str) -> str:
    return value if value.isprintable() and len(value) <= LONGEST_VALUE else OTHER


def _metric(family: _Family) -> Metric:
    metric = family.metric
    names = list(metric.label_names)
    if metric.kind == "timer":
        summary = SummaryMetricFamily(metric.name, metric.help, labels=names)
        for labels, value in family.values.items():
            summary.add_metric(list(labels), count_value=family.counts[labels], sum_value=value)
        return summary
    made: CounterMetricFamily | GaugeMetricFamily
    if metric.kind == "counter":
        name = metric.name.removesuffix("_total")
        made = CounterMetricFamily(name, metric.help, labels=names)
    else:
        made = GaugeMetricFamily(metric.name, metric.help, labels=names)
    for labels, value in family.values.items():
        made.add_metric(list(labels), value)
    return made
