"""Measure a model's quality item by item: dequantized, in FP32, independent of any kernel.

What is measured and why: `docs/reference/evaluation.md`. The folder: `quantize.items`.
"""

from __future__ import annotations

import importlib.metadata
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from greenlight.core.files import folder_in_the_making, write_json
from greenlight.core.types import JsonDict
from greenlight.ml.dequantize import load_dequantized
from greenlight.ml.evaluate_answers import answer
from greenlight.ml.evaluate_choices import pick
from greenlight.ml.evaluate_text import score
from greenlight.ml.rounding import round_weights_
from greenlight.ml.tokens import load_tokenizer
from greenlight.quantize.datasets import read_choices, read_instructions, read_texts
from greenlight.quantize.items import ANSWERS, ITEMS, SUMMARY
from greenlight.quantize.jobs import Dataset, DatasetKind, EvaluateResult, EvaluateSpec

KEPT = "logits"
PACKAGES = ("transformers", "torch", "tokenizers", "numpy")


def run(spec: EvaluateSpec) -> EvaluateResult:
    """Measure every data set, and let the folder appear when all are done.

    Raises:
        InputError: the model, a data set or the parent's evaluation can't be used.
        ConfigError: `round_to` doesn't fit the model.
    """
    started = time.monotonic()
    model, chat = load_dequantized(spec.model, spec.device.value)
    if spec.round_to is not None:
        round_weights_(model, spec.round_to)
    arrays: dict[str, Any] = {}
    answers: list[JsonDict] = []
    seconds: dict[str, float] = {}
    with folder_in_the_making(spec.output) as folder, torch.inference_mode():
        for dataset in spec.datasets:
            with _timed(dataset.name, seconds):
                found = _measure(dataset, spec, model=model, chat=chat, folder=folder)
            answers += found.pop("answers", [])
            arrays |= {f"{kind}/{dataset.name}": values for kind, values in found.items()}
        np.savez_compressed(folder / ITEMS, **arrays)
        lines = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in answers)
        folder.joinpath(ANSWERS).write_text(lines, encoding="utf-8")
        tokens = sum(int(a.size) for name, a in arrays.items() if name.startswith("nll/"))
        tools = {name: importlib.metadata.version(name) for name in PACKAGES}
        write_json(
            folder / SUMMARY,
            {
                "tokens": tokens,
                "seconds": seconds,
                "protocol": spec.protocol.model_dump(mode="json"),
                "architecture": type(model).__name__,
                "tools": tools,
            },
        )
    return EvaluateResult(
        folder=spec.output, tokens=tokens, seconds=time.monotonic() - started, tools=tools
    )


def _measure(
    dataset: Dataset, spec: EvaluateSpec, *, model: PreTrainedModel, chat: Any, folder: Path
) -> dict[str, Any]:
    """Return the arrays of one data set by kind, or its `answers`."""
    protocol = spec.protocol
    if dataset.kind is DatasetKind.TEXT:
        return score(
            model,
            load_tokenizer(spec.model),
            read_texts(dataset),
            name=dataset.name,
            window=protocol.window,
            max_tokens=protocol.max_tokens_per_set,
            parent=spec.parent / KEPT if spec.parent else None,
            keep=folder / KEPT if spec.keep_logits else None,
        )
    if dataset.kind is DatasetKind.CHOICE:
        rows = read_choices(dataset)[: protocol.max_choice_items]
        return pick(model, load_tokenizer(spec.model), rows, name=dataset.name)
    instructions = read_instructions(dataset)[: protocol.max_answers]
    return {"answers": answer(model, chat, instructions, name=dataset.name, protocol=protocol)}


@contextmanager
def _timed(name: str, seconds: dict[str, float]) -> Iterator[None]:
    began = time.monotonic()
    yield
    seconds[name] = round(time.monotonic() - began, 3)
