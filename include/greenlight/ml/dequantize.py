"""Load any model folder as a plain FP32 model: what is judged must not depend on a kernel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import torch
import transformers
from safetensors import SafetensorError, safe_open
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from greenlight.core.errors import InputError
from greenlight.core.types import JsonDict
from greenlight.ml.configs import legacy_layout, read_config
from greenlight.ml.packing import PACKED, dequantize

HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


def load_dequantized(
    folder: Path, device: str = "cpu"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return the model of a Hugging Face or GPTQ folder in FP32, and its tokenizer.

    Weights are unpacked by `ml.packing`, whoever packed them, and set into the plain architecture:
    no quantization kernel runs. 16-bit weights are widened.

    Raises:
        InputError: the folder isn't a whole model of its config.
    """
    return load_model(folder, device=device), AutoTokenizer.from_pretrained(folder)


def load_model(folder: Path, *, device: str = "cpu") -> PreTrainedModel:
    """Return the model alone, in FP32 and in evaluation mode.

    Raises:
        InputError: the folder isn't a whole model of its config.
    """
    return build_model(load_config(folder), dict(weights(folder)), source=folder).to(device)


def load_config(folder: Path) -> PretrainedConfig:
    """Return the architecture's config, without anything about quantization.

    Raises:
        InputError: it's missing, or this transformers doesn't know the architecture.
    """
    values = read_config(folder)
    values.pop("quantization_config", None)
    if int(transformers.__version__.split(".")[0]) < 5:
        values = legacy_layout(values)
    try:
        return AutoConfig.for_model(**values)
    except (ValueError, KeyError) as error:
        raise InputError(f"{folder}/config.json names no known architecture: {error}") from error


def build_model(
    config: PretrainedConfig, tensors: dict[str, torch.Tensor], *, source: Path
) -> PreTrainedModel:
    """Return the architecture of `config` with `tensors` in place.

    Raises:
        InputError: a weight is missing, left over, or of another shape. `from_pretrained` would
            warn and go on with random numbers.
    """
    config.dtype = torch.float32
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").float()
    if config.tie_word_embeddings:
        tensors.pop(HEAD, None)
    try:
        missing, left_over = model.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise InputError(f"the weights of {source} don't fit its config: {error}") from error
    model.tie_weights()
    absent = set(missing) - ({HEAD} if config.tie_word_embeddings else set())
    if absent or left_over:
        raise InputError(
            f"the weights of {source} don't fit its config: missing {sorted(absent)[:5]}, "
            f"left over {sorted(left_over)[:5]}"
        )
    return model.eval()


def weights(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield every weight of the folder's safetensors by name, in FP32, packed linears unpacked.

    Raises:
        InputError: a file can't be read, or there is none.
    """
    packed: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in stored_tensors(folder):
        module, _, leaf = name.rpartition(".")
        if leaf not in PACKED:
            yield name, tensor.to(torch.float32)
            continue
        parts = packed.setdefault(module, {})
        parts[leaf] = tensor
        if len(parts) == len(PACKED):
            yield f"{module}.weight", dequantize(**packed.pop(module))
    if packed:
        raise InputError(f"{folder} holds only a part of the packed linear {min(packed)}")


def stored_tensors(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield every stored tensor of a folder's safetensors, as it is.

    Raises:
        InputError: a file can't be read, or there is none.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise InputError(f"{folder} holds no safetensors file")
    for file in files:
        try:
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118 - not a dict
                    yield name, opened.get_tensor(name)
        except (SafetensorError, OSError, json.JSONDecodeError) as error:
            raise InputError(f"{file} is not a readable safetensors file: {error}") from error


def quantization_of(folder: Path) -> JsonDict | None:
    """Return the folder's quantization config, or `None` for plain weights."""
    found: JsonDict | None = read_config(folder).get("quantization_config")
    return found
