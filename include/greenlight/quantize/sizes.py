"""How large a recipe will make a model, before it is made.

The layout is GPTQ's: for a linear of `i` inputs and `o` outputs at `b` bits in `g` groups, packed
int32 weights (`i·o·b` bits), int32 group numbers (`i`), FP16 scales (`g·o`) and packed zero points
(`g·o·b` bits); everything else in 16 bit, a tied head once. The header is written out and measured.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

from greenlight.quantize.precisions import Precision, precision_of
from greenlight.quantize.recipes import Recipe
from greenlight.quantize.shapes import EMBEDDING, Linear, ModelShape

BYTES = {"F32": 4, "BF16": 2, "F16": 2, "I32": 4, "I8": 1}
_Entry = tuple[str, str, tuple[int, ...]]


def predict_bytes(recipe: Recipe, shape: ModelShape) -> int:
    """Return the bytes of the safetensors files that `recipe` leaves."""
    return _file_bytes(list(_quantized_entries(recipe, shape)))


def plain_bytes(shape: ModelShape, *, dtype: str) -> int:
    """Return the bytes of the safetensors files of the unquantized model in `dtype` (`F32`, …)."""
    entries: list[_Entry] = [(t.name, dtype, t.shape) for t in shape.others]
    entries += [_plain(linear, dtype=dtype) for linear in shape.linears]
    return _file_bytes(entries)


def _quantized_entries(recipe: Recipe, shape: ModelShape) -> Iterator[_Entry]:
    for linear in shape.linears:
        precision = precision_of(linear, recipe)
        if precision.quantized:
            yield from _packed(linear, precision)
        else:
            yield _plain(linear, dtype="BF16")
    for tensor in shape.others:
        if tensor.name == EMBEDDING and recipe.embedding_bits == 8:
            yield (tensor.name, "I8", tensor.shape)
            yield (f"{tensor.name}_scale", "F16", tensor.shape[:1])
        else:
            yield (tensor.name, "BF16", tensor.shape)


def _packed(linear: Linear, precision: Precision) -> Iterator[_Entry]:
    inputs, outputs, bits = linear.in_features, linear.out_features, precision.bits
    groups = precision.groups_of(linear)
    yield (f"{linear.module}.qweight", "I32", (-(-inputs * bits // 32), outputs))
    yield (f"{linear.module}.qzeros", "I32", (groups, -(-outputs * bits // 32)))
    yield (f"{linear.module}.scales", "F16", (groups, outputs))
    yield (f"{linear.module}.g_idx", "I32", (inputs,))


def _plain(linear: Linear, *, dtype: str) -> _Entry:
    return (f"{linear.module}.weight", dtype, (linear.out_features, linear.in_features))


def _file_bytes(entries: list[_Entry]) -> int:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, dtype, shape in entries:
        end = offset + BYTES[dtype] * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, end]}
        offset = end
    written = len(json.dumps(header, separators=(",", ":")).encode())
    return 8 + -(-written // 8) * 8 + offset
