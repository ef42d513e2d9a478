"""Model folders that look like real ones and weigh nothing: right headers, random bytes."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path

TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
BYTES = {"F32": 4, "F16": 2, "BF16": 2, "I32": 4}


def safetensors(tensors: Mapping[str, tuple[str, tuple[int, ...]]], *, fill: int = 7) -> bytes:
    """Return a safetensors file with these tensors (dtype, shape), every byte `fill`."""
    header, end = {}, 0
    for name, (dtype, shape) in tensors.items():
        size = math.prod(shape) * BYTES[dtype]
        header[name] = {
            "dtype": dtype,
            "shape": list(shape),
            "data_offsets": [end, end + size],
        }
        end += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes([fill]) * end


def write_llama(
    folder: Path, *, licence: str | None = "apache-2.0", dtype: str = "F32", fill: int = 7
) -> Path:
    """Write a folder that intake accepts and return it; `fill` makes different models."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 8,
        "num_hidden_layers": 1,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text("{}")
    (folder / "tokenizer.json").write_text(json.dumps({"version": "1.0", "model": {"vocab": {}}}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    (folder / "model.safetensors").write_bytes(
        safetensors(
            {
                "model.embed_tokens.weight": (dtype, (16, 8)),
                "model.layers.0.self_attn.q_proj.weight": (dtype, (8, 8)),
            },
            fill=fill,
        )
    )
    if licence is not None:
        (folder / "README.md").write_text(f"---\nlicense: {licence}\n---\n\n# A model\n")
    return folder
