"""The ML jobs of the pipeline, each done once for the same inputs."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greenlight.adapters.job_metrics import JobMetrics
from greenlight.core.digest import manifest_of
from greenlight.core.settings import Settings
from greenlight.core.types import JsonDict, Value
from greenlight.quantize.jobs import (
    Backend,
    CountTokensSpec,
    Dataset,
    DatasetKind,
    Device,
    EvaluateSpec,
    Job,
    MeasureLoadResult,
    MeasureLoadSpec,
    Outcome,
    Protocol,
    QuantizeSpec,
    SensitivitySpec,
)
from greenlight.quantize.recipes import Recipe

if TYPE_CHECKING:
    from greenlight.adapters.work_store import WorkStore
    from greenlight.quantize.ports import JobRunner

log = logging.getLogger(__name__)
MODEL = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model folder and what is in it."""

    path: Path
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """Runs ML jobs through the work store."""

    settings: Settings
    jobs: JobRunner
    work: WorkStore

    def token_lengths(self, model: Model, datasets: tuple[Dataset, ...]) -> dict[str, list[int]]:
        """Return tokens per row, by data set."""
        spec = CountTokensSpec(model=model.path, datasets=datasets)
        inputs = {"model": model.digest, "datasets": [d.digest for d in datasets]}
        done = self.work.once(
            "token-lengths", inputs, lambda _: self._run(Job.COUNT_TOKENS, spec).result
        )
        lengths: dict[str, list[int]] = done["lengths"]
        return lengths

    def sensitivity(
        self, model: Model, calibration: Dataset, *, base: Recipe, tokens: int, device: Device
    ) -> dict[str, float]:
        """Return the divergence that rounding each fused group alone causes."""
        spec = SensitivitySpec(
            model=model.path,
            calibration=calibration,
            bits=base.bits,
            group_size=base.group_size,
            tokens=tokens,
            device=device,
        )
        inputs = _inputs(spec, model=model.digest, leave_out={"model", "calibration"}) | {
            "calibration": calibration.digest
        }
        done = self.work.once(
            "sensitivity", inputs, lambda _: self._run(Job.SENSITIVITY, spec).result
        )
        kl: dict[str, float] = done["kl"]
        return kl

    def quantize(
        self,
        model: Model,
        recipe: Recipe,
        calibration: Dataset,
        *,
        backend: Backend,
        device: Device,
    ) -> JsonDict:
        """Return `{"path", "digest", "result", "usage"}` of the quantized folder."""
        inputs = {
            "parent": model.digest,
            "recipe": recipe.digest,
            "calibration": calibration.digest,
            "backend": backend,
            "device": device,
        }

        def do(folder: Path) -> JsonDict:
            spec = QuantizeSpec(
                model=model.path,
                output=folder,
                recipe=recipe,
                calibration=calibration,
                backend=backend,
                device=device,
            )
            outcome = self._run(Job.QUANTIZE, spec, backend=backend)
            return {
                "path": str(folder),
                "digest": manifest_of(folder).digest,
                "result": outcome.result,
                "usage": outcome.usage.model_dump(mode="json"),
            }

        return self.work.once("quantized", inputs, do, leaves_folder=True)

    def evaluate(
        self,
        model: Model,
        evaluation: tuple[Dataset, ...],
        *,
        protocol: Protocol,
        device: Device,
        parent: Path | None = None,
        round_to: Recipe | None = None,
    ) -> JsonDict:
        """Return the evaluation's result and usage; `folder` holds its items.

        `parent` is the folder of the parent's evaluation; without it this is the parent's own, and
        its log-probabilities are kept for the candidates.
        """
        inputs: JsonDict = {
            "model": model.digest,
            "evaluation": [d.digest for d in evaluation],
            "protocol": protocol.model_dump(mode="json"),
            "parent": parent.name if parent else None,
            "round_to": round_to.digest if round_to else None,
            "device": device,
        }

        def do(folder: Path) -> JsonDict:
            spec = EvaluateSpec(
                model=model.path,
                output=folder,
                datasets=evaluation,
                protocol=protocol,
                parent=parent,
                round_to=round_to,
                keep_logits=parent is None,
                device=device,
            )
            outcome = self._run(Job.EVALUATE, spec)
            return outcome.result | {
                "folder": str(folder),
                "usage": outcome.usage.model_dump(mode="json"),
            }

        return self.work.once("evaluated", inputs, do, leaves_folder=True)

    def load(self, model: Model, *, dtype: str, device: Device) -> MeasureLoadResult:
        """Measure memory and speed in a fresh process."""
        spec = MeasureLoadSpec(model=model.path, dtype=dtype, device=device)
        inputs = _inputs(spec, model=model.digest, leave_out={"model"})
        done = self.work.once("loaded", inputs, lambda _: self._run(Job.MEASURE_LOAD, spec).result)
        return MeasureLoadResult.model_validate(done)

    def _run(self, job: Job, spec: Value, *, backend: Backend = Backend.GPTQMODEL) -> Outcome:
        metrics = JobMetrics(folder=self.settings.metrics, job=job)
        outcome = self.jobs.run(job, spec, backend=backend, on_progress=metrics.progress)
        metrics.usage(outcome.usage)
        self.work.journal({"job": job, "backend": backend, **outcome.usage.model_dump(mode="json")})
        return outcome


def open_bench(settings: Settings) -> Workbench:
    """Return the bench of this machine."""
    from greenlight.adapters.ml_process import MlProcess
    from greenlight.adapters.work_store import WorkStore

    return Workbench(
        settings=settings, jobs=MlProcess(settings), work=WorkStore(root=settings.work)
    )


def instruction_sets(evaluation: tuple[Dataset, ...]) -> tuple[Dataset, ...]:
    """Return the sets whose answers are generated."""
    return tuple(d for d in evaluation if d.kind is DatasetKind.INSTRUCT)


def _inputs(spec: Value, *, model: str, leave_out: set[str]) -> JsonDict:
    return {"model": model, **spec.model_dump(mode="json", exclude=leave_out)}
