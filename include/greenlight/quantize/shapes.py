"""What a model is made of, read from `config.json` and the safetensors headers alone.

No weights are loaded: the header of a safetensors file is a JSON object behind eight bytes of
length, and names, dtypes and shapes are all in it.
"""

from __future__ import annotations

import json
import math
import re
import struct
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from greenlight.core.errors import InputError
from greenlight.core.types import JsonDict, Value

FUSED_GROUPS = MappingProxyType(
    {
        "q_proj": "qkv",
        "k_proj": "qkv",
        "v_proj": "qkv",
        "o_proj": "o",
        "gate_proj": "gate_up",
        "up_proj": "gate_up",
        "down_proj": "down",
    }
)
"""Linears of a decoder layer, and the matrix that engines fuse each of them into."""

KNOWN_ARCHITECTURES = (
    "Gemma2ForCausalLM",
    "Gemma3ForCausalLM",
    "GemmaForCausalLM",
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "SmolLM3ForCausalLM",
)
"""Decoders whose layers hold exactly the linears of `FUSED_GROUPS`."""

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
_LINEAR = re.compile(r"model\.layers\.(\d+)\.(?:self_attn|mlp)\.(\w+_proj)\.weight")
_MAX_HEADER = 100_000_000


class Linear(Value):
    """One linear of one layer. `module` is its full name, without `.weight`."""

    layer: int
    name: str
    module: str
    group: str
    in_features: int
    out_features: int

    @property
    def parameters(self) -> int:
        """The weights, the bias not among them."""
        return self.in_features * self.out_features


class Tensor(Value):
    """A tensor that is not a linear's weight: embedding, head, norms, biases."""

    name: str
    shape: tuple[int, ...]

    @property
    def parameters(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


class ModelShape(Value):
    """Everything about a checkpoint that does not depend on its weights' values.

    `dtype` is that of the embedding as stored (`F32`, `BF16`, `F16`). `tied`: the output head is
    the embedding, stored once.
    """

    architecture: str
    dtype: str
    layers: int
    linears: tuple[Linear, ...]
    others: tuple[Tensor, ...]
    tied: bool
    context_length: int

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the embedding."""
        return sum(t.parameters for t in self.others if t.name == EMBEDDING)

    @property
    def other_parameters(self) -> int:
        """Parameters that are neither a linear's weights nor the embedding."""
        return sum(t.parameters for t in self.others if t.name != EMBEDDING)

    @property
    def parameters(self) -> int:
        """All parameters, shared ones once."""
        linears = sum(linear.parameters for linear in self.linears)
        return linears + self.embedding_parameters + self.other_parameters

    @property
    def groups(self) -> tuple[str, ...]:
        """The fused groups there are, in the order of a forward pass."""
        present = {linear.group for linear in self.linears}
        return tuple(g for g in dict.fromkeys(FUSED_GROUPS.values()) if g in present)


def read_shape(folder: Path) -> ModelShape:
    """Read the shape of an unquantized Hugging Face folder.

    Raises:
        InputError: the architecture is not a known one, the model is quantized already, or a file
            is missing or damaged.
    """
    config = _read_config(folder)
    named = config.get("architectures") or ["(none)"]
    architecture = str(named[0])
    if architecture not in KNOWN_ARCHITECTURES:
        raise InputError(
            f"{folder}: architecture {architecture} is not supported; known are "
            f"{', '.join(KNOWN_ARCHITECTURES)}"
        )
    if config.get("quantization_config"):
        raise InputError(f"{folder} is quantized already; give its unquantized parent")
    headers = _read_headers(folder)
    linears = _linears_of(headers, folder=folder)
    held = {f"{linear.module}.weight" for linear in linears}
    others = tuple(
        Tensor(name=name, shape=tuple(entry["shape"]))
        for name, entry in headers.items()
        if name not in held
    )
    if EMBEDDING not in headers:
        raise InputError(f"{folder} holds no {EMBEDDING}, so it is not a {architecture}")
    return ModelShape(
        architecture=architecture,
        dtype=headers[EMBEDDING]["dtype"],
        layers=len({linear.layer for linear in linears}),
        linears=linears,
        others=others,
        tied=HEAD not in headers,
        context_length=int(config.get("max_position_embeddings") or 0),
    )


def read_header(path: Path) -> JsonDict:
    """Return the header of one safetensors file: name → dtype, shape, data_offsets.

    Raises:
        InputError: the file is too short, or its header is not what the format asks for.
    """
    try:
        with path.open("rb") as file:
            header = json.loads(_header_bytes(file, path=path))
    except (OSError, ValueError, struct.error) as error:
        raise InputError(f"{path} is not a safetensors file: {error}") from error
    header.pop("__metadata__", None)
    end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    missing = end + _data_start(path) - path.stat().st_size
    if missing > 0:
        raise InputError(f"{path} is cut off: {missing} bytes are missing")
    return dict(sorted(header.items()))


def _header_bytes(file: BinaryIO, *, path: Path) -> bytes:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > _MAX_HEADER:
        raise InputError(f"{path} is not a safetensors file: a header of {length} bytes")
    return file.read(length)


def _data_start(path: Path) -> int:
    with path.open("rb") as file:
        return 8 + int(struct.unpack("<Q", file.read(8))[0])


def _read_config(folder: Path) -> JsonDict:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}/config.json cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise InputError(f"{folder}/config.json must hold an object")
    return config


def _read_headers(folder: Path) -> JsonDict:
    headers: JsonDict = {}
    for path in sorted(folder.glob("*.safetensors")):
        headers |= read_header(path)
    if not headers:
        raise InputError(f"{folder} holds no safetensors file with tensors in it")
    return headers


def _linears_of(headers: JsonDict, *, folder: Path) -> tuple[Linear, ...]:
    found = []
    for name, entry in headers.items():
        match = _LINEAR.fullmatch(name)
        if match and match[2] in FUSED_GROUPS:
            rows, columns = entry["shape"]
            found.append(
                Linear(
                    layer=int(match[1]),
                    name=match[2],
                    module=name.removesuffix(".weight"),
                    group=FUSED_GROUPS[match[2]],
                    in_features=columns,
                    out_features=rows,
                )
            )
    if not found:
        raise InputError(f"{folder} holds no decoder layers that could be quantized")
    order = list(FUSED_GROUPS)
    return tuple(sorted(found, key=lambda linear: (linear.layer, order.index(linear.name))))
