"""Keep benchmarks where a person looks for them: a run in MLflow, and tags of the version.

A version's own run is finished and stays as it is, so a benchmark has a run of its own. The tag of
a fleet holds the whole benchmark, bounds included: the next one is compared with it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

from pydantic import ValidationError

from greenlight.core.digest import digest_json, short
from greenlight.core.types import JsonDict
from greenlight.deploy.performance import Benchmark, PerformanceSettings
from greenlight.deploy.regression import Comparison
from greenlight.deploy.samples import Sample
from greenlight.registry.ports import RunLog, RunRef, Table, Version
from greenlight.registry.tags import Tag

log = logging.getLogger(__name__)

SHOWN = 1000
"""Letters of a reason that a tag holds."""


class PerformanceRegistry(Protocol):
    """As much of `registry.ports.ModelRegistry` as a benchmark needs."""

    def get(self, model: str, version: int) -> Version:
        """Return one version."""

    def set_tags(self, model: str, *, version: int, tags: Mapping[str, str]) -> None:
        """Set or replace tags."""

    def log_run(self, run: RunLog) -> RunRef:
        """Keep a run."""


class PerformanceRecord:
    """The benchmarks of one model on one fleet."""

    def __init__(self, registry: PerformanceRegistry, *, model: str, fleet: str) -> None:
        self._registry, self._model = registry, model
        self._tag = f"{Tag.PERFORMANCE}.{fleet}"

    def benchmark(self, version: int) -> Benchmark | None:
        """Return a version's last benchmark; a tag that cannot be read counts as none."""
        text = self._registry.get(self._model, version).tags.get(self._tag)
        if text is None:
            return None
        try:
            return Benchmark.model_validate_json(text)
        except ValidationError as error:
            log.warning("version %d: tag %s cannot be read: %s", version, self._tag, error)
            return None

    def keep(
        self,
        benchmark: Benchmark,
        samples: Sequence[Sample],
        compared: Comparison,
        *,
        settings: PerformanceSettings,
    ) -> RunRef:
        """Log the run, then tag the version.

        Raises:
            UnavailableError: the registry is away.
        """
        kept = benchmark.model_dump_json()
        tables: dict[str, Table] = {
            "performance/numbers.json": _columns([n.model_dump() for n in benchmark.numbers]),
            "performance/requests.json": _columns([_row(sample) for sample in samples]),
        }
        if compared.rows:
            tables["performance/comparison.json"] = _columns(compared.to_json()["rows"])
        run = self._registry.log_run(
            RunLog(
                # Of its numbers: a retry measures anew, and gets a run of its own.
                key=f"performance/{short(digest_json(kept))}",
                name=f"performance {benchmark.fleet} v{benchmark.version}",
                params={
                    "fleet": benchmark.fleet,
                    "flags_digest": benchmark.flags_digest,
                    "rollout_id": benchmark.rollout_id,
                    "settings": settings.model_dump_json(),
                },
                metrics=_metrics(benchmark),
                tables=tables,
                tags={
                    "model": benchmark.model,
                    "version": str(benchmark.version),
                    "digest": benchmark.digest,
                    "result": str(compared.result),
                    "reason": compared.reason[:SHOWN],
                },
            )
        )
        tags = {
            self._tag: kept,
            str(Tag.PERFORMANCE_RUN): run.run_id,
            str(Tag.PERFORMANCE_RESULT): f"{compared.result}: {compared.reason}"[:SHOWN],
            str(Tag.PERFORMANCE_SUMMARY): benchmark.summary,
        }
        self._registry.set_tags(benchmark.model, version=benchmark.version, tags=tags)
        return run


def _metrics(benchmark: Benchmark) -> dict[str, float]:
    """Return every number that there is, with its bounds."""
    found = {"requests": float(benchmark.requests)}
    if benchmark.other_requests is not None:
        found["other_requests"] = float(benchmark.other_requests)
    for number in benchmark.numbers:
        bounds = (("", number.value), ("_low", number.low), ("_high", number.high))
        found |= {f"{number.name}{end}": x for end, x in bounds if x is not None}
    return found


def _row(sample: Sample) -> JsonDict:
    names = ("prompt", "at_s", "ok", "ttft_s", "gap_s", "total_s", "tokens", "finish", "reason")
    return {name: getattr(sample, name) for name in names}


def _columns(rows: Sequence[JsonDict]) -> Table:
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
