"""Progress and cost of ML jobs as Prometheus text files, for the node exporter's collector.

One file a job, replaced atomically, so that a reader never sees half and a task that was killed
leaves its last state behind.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile
from prometheus_client.parser import text_string_to_metric_families

from greenlight.core.metrics import LabelName, MetricName
from greenlight.quantize.jobs import Job, Progress, Usage

EVERY_S = 1.0


@dataclass(slots=True, kw_only=True)
class JobMetrics:
    """Writes what one job reports. `folder` is watched by the node exporter and by the demo."""

    folder: Path
    job: Job
    _written: float = field(default=0.0)

    def progress(self, progress: Progress) -> None:
        """Write how far the job is, at most once a second, and always at the end of a stage."""
        finished = progress.done >= progress.total
        if finished or time.monotonic() - self._written >= EVERY_S:
            self._written = time.monotonic()
            registry = CollectorRegistry()
            Gauge(
                MetricName.JOB_PROGRESS,
                "Share of the running stage that is done.",
                [LabelName.JOB, LabelName.STAGE],
                registry=registry,
            ).labels(self.job, progress.stage).set(progress.done / max(progress.total, 1))
            self._write(registry, suffix="progress")

    def usage(self, usage: Usage) -> None:
        """Write what the finished job took."""
        registry = CollectorRegistry()
        for name, what, value in (
            (MetricName.JOB_SECONDS, "Wall time of the last run.", usage.seconds),
            (MetricName.JOB_PEAK_RSS, "Peak memory of the last run.", usage.peak_rss_bytes),
        ):
            Gauge(name, what, [LabelName.JOB], registry=registry).labels(self.job).set(value)
        self._write(registry, suffix="usage")

    def _write(self, registry: CollectorRegistry, *, suffix: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_to_textfile(str(self.folder / f"{self.job}-{suffix}.prom"), registry)


def newest_progress(folder: Path, *, since: float) -> tuple[str, str, float] | None:
    """Return (job, stage, share) of the job that reported last, or `None` when none did.

    `since` is a file time (seconds since the epoch): older reports are of an earlier run.
    """
    files = [f for f in folder.glob("*-progress.prom") if f.stat().st_mtime >= since]
    if not files:
        return None
    newest = max(files, key=lambda f: f.stat().st_mtime)
    for family in text_string_to_metric_families(newest.read_text()):
        for sample in family.samples:
            return sample.labels[LabelName.JOB], sample.labels[LabelName.STAGE], sample.value
    return None
