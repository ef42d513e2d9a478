"""What became of the hosts that AWS takes, as a Prometheus text file.

Counters are those of one process; Prometheus knows that they begin again.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, write_to_textfile

from greenlight.core.metrics import LabelName, MetricName


class AwsLoopMetrics:
    """The file of one fleet. Every kind and outcome is there from the start, as 0."""

    def __init__(
        self, folder: Path, *, fleet: str, kinds: Iterable[str], outcomes: Iterable[str]
    ) -> None:
        self._path, self._fleet = folder / f"aws-{fleet}.prom", fleet
        self._registry = CollectorRegistry()
        self._notices = Counter(
            MetricName.HOST_NOTICES,
            "What AWS told of hosts that it takes, by what became of it",
            [LabelName.FLEET, LabelName.KIND, LabelName.OUTCOME],
            registry=self._registry,
        )
        self._taken = Gauge(
            MetricName.HOSTS_BEING_TAKEN,
            "Hosts that AWS is about to take",
            [LabelName.FLEET],
            registry=self._registry,
        )
        self._published = Gauge(
            MetricName.LOAD_PUBLISHED,
            "When the load was last published for target tracking",
            [LabelName.FLEET],
            registry=self._registry,
        )
        outcomes = tuple(outcomes)
        for kind in kinds:
            for outcome in outcomes:
                self._notices.labels(fleet, kind, outcome)

    def count(self, kind: str, outcome: str) -> None:
        """Count one more."""
        self._notices.labels(self._fleet, kind, outcome).inc()

    def write(self, *, being_taken: int, published: datetime | None) -> None:
        """Replace the file. What was never published has no time."""
        self._taken.labels(self._fleet).set(being_taken)
        if published is not None:
            self._published.labels(self._fleet).set(published.timestamp())
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_to_textfile(str(self._path), self._registry)
