"""Write a quantized model folder: one layout, whoever quantized.

The parent's tokenizer, chat template and generation config are copied byte for byte; `config.json`
is the parent's with the quantization added; tensors that aren't quantized are kept in 16 bit; a
tied head isn't stored twice; what quantizing cost, per linear, lies beside in `quantization.json`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from greenlight.core.errors import InputError
from greenlight.core.types import JsonDict
from greenlight.ml.configs import read_config
from greenlight.ml.packing import PACKED

SHARD_BYTES = 4 * 10**9
SIDECAR = "quantization.json"
HEAD = "lm_head.weight"
WEIGHT_FILES = ("*.safetensors", "*.safetensors.index.json")
SIXTEEN_BIT = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.bfloat16}
"""What unquantized tensors of a checkpoint are kept in. FP32 becomes BF16: the dtype that vLLM's
CPU build serves, and the range of FP32."""


def write_folder(
    folder: Path,
    *,
    parent: Path,
    tensors: Mapping[str, torch.Tensor],
    quantization: JsonDict,
    record: JsonDict,
    dtype: str,
) -> int:
    """Write the folder and return the bytes of its weight files.

    Raises:
        InputError: the parent holds a tied head that the tensors don't match.
    """
    config = read_config(parent)
    kept = dict(_normalised(tensors, tied=bool(config.get("tie_word_embeddings")), dtype=dtype))
    written = write_shards(folder, kept)
    config["quantization_config"] = quantization
    key = "torch_dtype" if "torch_dtype" in config else "dtype"
    config[key] = str(SIXTEEN_BIT[dtype]).removeprefix("torch.")
    folder.joinpath("config.json").write_text(json.dumps(config, indent=2) + "\n")
    folder.joinpath(SIDECAR).write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
    copy_companions(parent, folder)
    return written


def copy_companions(parent: Path, folder: Path) -> None:
    """Copy every file of the parent that is neither weights nor config."""
    weights = {file for pattern in WEIGHT_FILES for file in parent.glob(pattern)}
    for file in sorted(parent.iterdir()):
        if file.is_file() and file not in weights and file.name not in ("config.json", SIDECAR):
            shutil.copyfile(file, folder / file.name)


def write_shards(folder: Path, tensors: Mapping[str, torch.Tensor]) -> int:
    """Write `model.safetensors`, or shards with an index when it would be too large for one file.

    Returns the bytes written. Files are world-readable: another user's engine serves them.
    """
    shards: list[dict[str, torch.Tensor]] = [{}]
    size = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        if size and size + tensor.nbytes > SHARD_BYTES:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
    names = (
        ["model.safetensors"]
        if len(shards) == 1
        else [f"model-{i + 1:05}-of-{len(shards):05}.safetensors" for i in range(len(shards))]
    )
    for name, shard in zip(names, shards, strict=True):
        save_file(shard, folder / name, metadata={"format": "pt"})
        (folder / name).chmod(0o644)
    if len(shards) > 1:
        index = {
            "metadata": {"total_size": sum(t.nbytes for t in tensors.values())},
            "weight_map": {n: f for f, s in zip(names, shards, strict=True) for n in s},
        }
        folder.joinpath("model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    return weight_bytes(folder)


def weight_bytes(folder: Path) -> int:
    """Return the bytes of a folder's safetensors files."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def _normalised(
    tensors: Mapping[str, torch.Tensor], *, tied: bool, dtype: str
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield what is stored: packed integers as they are, scales in FP16, the rest in 16 bit."""
    for name, tensor in tensors.items():
        if tied and name == HEAD:
            continue
        if name.rpartition(".")[2] in PACKED:
            kind = torch.float16 if name.endswith(".scales") else torch.int32
        else:
            kind = SIXTEEN_BIT[dtype]
        if tensor.is_meta:
            raise InputError(f"the quantizer left no data in {name}")
        yield name, tensor.detach().to(device="cpu", dtype=kind).contiguous().clone()
