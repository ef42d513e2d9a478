"""An ML environment that answers at once: `quantize.ports.JobRunner` without torch.

Results have the shape and the statistics of real ones (paired items, noise that grows as bits
shrink), so that the gates judge them for real. `loss` maps a recipe's name to the log-perplexity it
costs; a recipe that is not listed costs nothing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from greenlight.core.digest import digest_json, manifest_of
from greenlight.core.errors import GreenlightError
from greenlight.core.files import folder_in_the_making, write_json
from greenlight.core.types import JsonDict, Value
from greenlight.quantize.items import ANSWERS, ITEMS, SUMMARY
from greenlight.quantize.jobs import (
    Backend,
    CountTokensSpec,
    Dataset,
    DatasetKind,
    EvaluateSpec,
    GenerateSpec,
    Job,
    MeasureLoadSpec,
    Outcome,
    Progress,
    QuantizeSpec,
    SensitivitySpec,
    Usage,
)
from greenlight.quantize.ports import OnProgress

WINDOWS, WINDOW = 40, 64
NOISE = 0.02
RECIPE_FILE = "recipe.json"
PARENT_WEIGHTS, QUANTIZED_WEIGHTS = 4096, 1024


@dataclass(slots=True, kw_only=True)
class FakeJobs:
    """Runs nothing, remembers what was asked. `errors` are raised by job, once each."""

    loss: Mapping[str, float] = field(default_factory=dict)
    errors: dict[Job, GreenlightError] = field(default_factory=dict)
    asked: list[Job] = field(default_factory=list)

    def run(
        self,
        job: Job,
        spec: Value,
        *,
        backend: Backend = Backend.GPTQMODEL,
        on_progress: OnProgress | None = None,
    ) -> Outcome:
        """Return an outcome at once."""
        del backend
        self.asked.append(job)
        if job in self.errors:
            raise self.errors.pop(job)
        if on_progress:
            on_progress(Progress(stage="all of it", done=1, total=1))
        usage = Usage(seconds=0.1, cpu_seconds=0.1, peak_rss_bytes=1 << 20)
        return Outcome(result=self._result(spec), usage=usage)

    def _result(self, spec: Value) -> JsonDict:
        match spec:
            case CountTokensSpec():
                return {"lengths": {d.name: [200] * d.rows for d in spec.datasets}}
            case SensitivitySpec():
                return {"kl": {"qkv": 0.06, "o": 0.01, "gate_up": 0.02, "down": 0.02}, "seconds": 1}
            case QuantizeSpec():
                return _quantize(spec)
            case EvaluateSpec():
                return self._evaluate(spec)
            case MeasureLoadSpec():
                return _load(spec)
            case GenerateSpec():
                return _generate(spec)
        raise NotImplementedError(type(spec).__name__)

    def _evaluate(self, spec: EvaluateSpec) -> JsonDict:
        made = spec.model / RECIPE_FILE
        name = spec.round_to.name if spec.round_to else None
        if name is None and made.exists():
            name = json.loads(made.read_text())["name"]
        with folder_in_the_making(spec.output) as folder:
            arrays: dict[str, Any] = {}
            answers: list[JsonDict] = []
            for dataset in spec.datasets:
                seed = int(dataset.digest[:8], 16)
                cost = None if name is None else self.loss.get(name, 0.0)
                _fill(arrays, answers, dataset, seed=seed, cost=cost)
            np.savez(folder / ITEMS, **arrays)
            folder.joinpath(ANSWERS).write_text("".join(json.dumps(a) + "\n" for a in answers))
            write_json(folder / SUMMARY, {})
        return {"folder": str(spec.output), "tokens": 1, "seconds": 1.0, "tools": {}}


def _fill(
    arrays: dict[str, Any],
    answers: list[JsonDict],
    dataset: Dataset,
    *,
    seed: int,
    cost: float | None,
) -> None:
    """Add one data set's items; `cost` none: the parent's own."""
    own = np.random.default_rng(seed)
    other = np.random.default_rng([seed, int(digest_json(cost)[:8], 16)])
    name, size = dataset.name, WINDOWS * WINDOW
    if dataset.kind is DatasetKind.TEXT:
        nll = own.gamma(2.0, 1.5, size)
        noise = 0.0 if cost is None else cost + other.normal(0, NOISE, size)
        arrays[f"nll/{name}"] = (nll + noise).astype(np.float32)
        arrays[f"block/{name}"] = np.repeat(np.arange(WINDOWS), WINDOW).astype(np.int32)
        if cost is not None:
            arrays[f"kl/{name}"] = other.gamma(1.0, 0.01 + cost, size).astype(np.float32)
            arrays[f"agree/{name}"] = other.random(size) > 0.05 + cost
    elif dataset.kind is DatasetKind.CHOICE:
        gold = own.integers(0, 4, dataset.rows)
        right = own.random(dataset.rows) < 0.7
        if cost is not None:
            right ^= other.random(dataset.rows) < 0.01
            right &= other.random(dataset.rows) >= cost
        arrays[f"gold/{name}"] = gold.astype(np.int32)
        arrays[f"picked/{name}"] = np.where(right, gold, (gold + 1) % 4).astype(np.int32)
    else:
        for i in range(dataset.rows):
            answers.append(
                {
                    "dataset": name,
                    "id": f"{i}",
                    "text": "yes",
                    "tokens": 5 + i % 7,
                    "finish": "stop",
                    "correct": i % 3 > 0,
                    "repeat_equal": True,
                }
            )


def _quantize(spec: QuantizeSpec) -> JsonDict:
    with folder_in_the_making(spec.output) as folder:
        for path in spec.model.iterdir():
            if path.suffix != ".safetensors":
                shutil.copy(path, folder / path.name)
        write_json(folder / RECIPE_FILE, spec.recipe.model_dump(mode="json"))
        folder.joinpath("model.safetensors").write_bytes(_weights(spec.recipe.digest))
    size = Path(spec.output, "model.safetensors").stat().st_size
    return {
        "weight_bytes": size,
        "calibration_tokens": 1000,
        "losses": [{"module": "model.layers.0.mlp.up_proj", "bits": 4, "loss": 0.1}],
        "seconds": 1.0,
        "tools": {"fake": "1"},
    }


def _weights(text: str) -> bytes:
    return text.encode().ljust(QUANTIZED_WEIGHTS, b"\0")


def _load(spec: MeasureLoadSpec) -> JsonDict:
    quantized = spec.model.joinpath(RECIPE_FILE).exists()
    return {
        "dtype": spec.dtype,
        "load_seconds": 0.5,
        "resident_weight_bytes": QUANTIZED_WEIGHTS if quantized else PARENT_WEIGHTS,
        "imports_rss_bytes": 1 << 20,
        "peak_rss_bytes": 2 << 20,
        "tokens_per_second": 30.0,
    }


def _generate(spec: GenerateSpec) -> JsonDict:
    """Say something that follows from the prompt and from every byte of the folder."""
    model = manifest_of(spec.model).digest
    made = []
    for prompt in spec.prompts:
        seed = int(digest_json([model, prompt])[:8], 16)
        made.append(np.random.default_rng(seed).integers(0, 512, spec.new_tokens).tolist())
    return {"tokens": made, "texts": [" ".join(map(str, tokens)) for tokens in made]}
