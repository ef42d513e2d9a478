"""A recipe that uses everything, and what a quantized folder holds (read without torch)."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from greenlight.core.types import JsonDict
from greenlight.quantize.recipes import ModuleRule

LAYERS = 2
EVERYTHING: dict[str, object] = {
    "act_order": True,
    "gptaq": True,
    "scale_search": 2.4,
    "modules": (
        ModuleRule(match=("qkv",), bits=16, layers=(0,)),
        ModuleRule(match=("v_proj",), bits=8),
        ModuleRule(match=("down",), bits=8, group_size=64),
    ),
}


def header(folder: Path) -> JsonDict:
    """The names, dtypes and shapes in `model.safetensors`."""
    with (folder / "model.safetensors").open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        found: JsonDict = json.loads(file.read(length))
    found.pop("__metadata__", None)
    return found


def bits(folder: Path) -> dict[str, int]:
    """The width of every linear, by module; 16 where it isn't packed."""
    tensors = header(folder)
    found = {}
    for name, tensor in tensors.items():
        module, _, leaf = name.rpartition(".")
        if leaf == "qweight":
            found[module] = tensor["shape"][0] * 32 // tensors[f"{module}.g_idx"]["shape"][0]
        elif leaf == "weight" and "_proj" in module:
            found[module] = 16
    return found


def assert_companions_equal(parent: Path, folder: Path) -> None:
    """Everything but weights and config is the parent's, byte for byte; only the record is new."""
    ours = {"config.json", "model.safetensors"}
    kept = {file.name for file in parent.iterdir()} - ours
    assert {"tokenizer.json", "chat_template.jinja", "generation_config.json"} <= kept
    assert {file.name for file in folder.iterdir()} == kept | ours | {"quantization.json"}
    for name in kept:
        assert (folder / name).read_bytes() == (parent / name).read_bytes(), name


def assert_stored_once_in_16_bit(folder: Path) -> None:
    tensors = header(folder)
    assert "lm_head.weight" not in tensors
    assert not [name for name in tensors if name.endswith(".bias")]
    for name, tensor in tensors.items():
        leaf = name.rpartition(".")[2]
        wanted = {"qweight": "I32", "qzeros": "I32", "g_idx": "I32", "scales": "F16"}
        assert tensor["dtype"] == wanted.get(leaf, "BF16"), name
