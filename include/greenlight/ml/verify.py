"""Load a model folder and run one token through it: what loads here loads elsewhere."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from transformers import AutoTokenizer

from greenlight.core.errors import InputError
from greenlight.ml.dequantize import load_model
from greenlight.ml.tokens import load_tokenizer
from greenlight.quantize.jobs import VerifyModelResult, VerifyModelSpec

CHECKPOINT_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


def run(spec: VerifyModelSpec) -> VerifyModelResult:
    """Return what loading showed.

    Raises:
        InputError: the folder or its tokenizer doesn't load, or it computes something that isn't a
            number.
    """
    try:
        AutoTokenizer.from_pretrained(spec.model)
    except (OSError, ValueError) as error:
        raise InputError(f"{spec.model} has no tokenizer that loads: {error}") from error
    return describe(spec.model, device=spec.device)


def describe(folder: Path, *, device: str = "cpu") -> VerifyModelResult:
    """Load `folder`, run one token and return what it is; in either environment.

    Raises:
        InputError: the folder doesn't load, or computes something that isn't a number.
    """
    load_tokenizer(folder)
    model = load_model(folder, device=device)
    with torch.inference_mode():
        logits = model(torch.zeros((1, 1), dtype=torch.long, device=model.device)).logits
    if not bool(torch.isfinite(logits).all()):
        raise InputError(f"{folder} loads, but its answer to one token isn't a finite number")
    return VerifyModelResult(
        architecture=type(model).__name__,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        dtype=checkpoint_dtype(folder),
        vocabulary=model.config.vocab_size,
        context=model.config.max_position_embeddings,
    )


def checkpoint_dtype(folder: Path) -> str:
    """Return the dtype of the embedding as stored, such as `float32`.

    Read from the tensors, not from `config.json`: the two can disagree, and the engine believes
    the tensors.

    Raises:
        InputError: no embedding found, or stored in a dtype that isn't a plain float.
    """
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a dict
                if name.endswith("embed_tokens.weight"):
                    stored = tensors.get_slice(name).get_dtype()
                    if stored in CHECKPOINT_DTYPES:
                        return CHECKPOINT_DTYPES[stored]
                    raise InputError(f"{folder} stores its embedding as {stored}, not as a float")
    raise InputError(f"{folder} holds no embedding (embed_tokens.weight) in its safetensors")
