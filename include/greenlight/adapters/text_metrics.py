"""Numbers of tasks that end, as Prometheus text files that the node exporter reads.

What could not be measured is left out, never written as 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from greenlight.core.metrics import LabelName, MetricName


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One value with its labels. `value` is none when it could not be measured."""

    name: MetricName
    value: float | None
    labels: Mapping[LabelName, str] = field(default_factory=dict)


def write_samples(
    path: Path, samples: Iterable[Sample], *, about: Mapping[MetricName, str]
) -> None:
    """Replace a file. `about`: what each metric says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    registry = CollectorRegistry()
    gauges: dict[MetricName, Gauge] = {}
    for sample in samples:
        if sample.value is None:
            continue
        labels = dict(sample.labels)
        if sample.name not in gauges:
            names = list(labels)
            gauges[sample.name] = Gauge(sample.name, about[sample.name], names, registry=registry)
        gauge = gauges[sample.name]
        (gauge.labels(**labels) if labels else gauge).set(sample.value)
    write_to_textfile(str(path), registry)
