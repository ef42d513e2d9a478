"""Metrics about fleets as Prometheus text files, which a later reader finds without asking us."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from greenlight.core.metrics import LabelName, MetricName


def write_drift(folder: Path, *, fleet: str, problems: int) -> None:
    """Replace the file of one fleet's drift: how many things are not as they were deployed."""
    folder.mkdir(parents=True, exist_ok=True)
    registry = CollectorRegistry()
    gauge = Gauge(
        MetricName.FLEET_DRIFT,
        "Hosts, aliases and routes that are not as they were deployed",
        [LabelName.FLEET],
        registry=registry,
    )
    gauge.labels(fleet).set(problems)
    write_to_textfile(str(folder / f"fleet-{fleet}.prom"), registry)
