"""Read the headers of safetensors files, without any library that executes or allocates.

A file is an 8-byte little-endian length, a JSON header with name, dtype, shape and byte offsets of
every tensor, and the bytes (github.com/huggingface/safetensors, "Format").
"""

from __future__ import annotations

import json
import math
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from greenlight.core.errors import InputError
from greenlight.core.types import JsonDict

HEADER_LIMIT = 100_000_000
"""Bytes; the reference implementation refuses more, too."""
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F4": 4,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64,
}  # fmt: skip
NAMES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What the headers say. `parameters` counts elements of floating-point tensors only."""

    parameters: int
    dtype: str
    total_bytes: int


def read_header(path: Path) -> JsonDict:
    """Return the tensors of one file by name.

    Raises:
        InputError: the file is cut off, or its header contradicts itself or the file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(HEADER_LIMIT, size - 8):
            raise InputError(f"a header of {length} bytes does not fit a file of {size} bytes")
        text = file.read(length)
    try:
        header = json.loads(text)
    except ValueError as error:
        raise InputError(f"the header is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise InputError("the header is not a JSON object")
    header.pop("__metadata__", None)
    _check_offsets(header, room=size - 8 - length)
    return header


def summarize(files: Sequence[Path]) -> Weights:
    """Add the headers of several files up.

    Raises:
        InputError: see `read_header`.
    """
    elements: Counter[str] = Counter()
    for path in files:
        for tensor in read_header(path).values():
            elements[tensor["dtype"]] += math.prod(tensor["shape"])
    floats = {dtype: n for dtype, n in elements.items() if dtype in NAMES}
    main = max(floats, key=lambda dtype: floats[dtype], default="")
    return Weights(
        parameters=sum(floats.values()),
        dtype=NAMES.get(main, "none"),
        total_bytes=sum(path.stat().st_size for path in files),
    )


def missing_shards(folder: Path) -> tuple[str, ...]:
    """Return the files that the index names and the folder lacks.

    Raises:
        InputError: the index is not the JSON it should be.
    """
    index = folder / INDEX
    if not index.is_file():
        return ()
    try:
        named = set(json.loads(index.read_bytes())["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"the index is damaged: {type(error).__name__}: {error}") from error
    return tuple(sorted(str(name) for name in named if not (folder / str(name)).is_file()))


def _check_offsets(header: JsonDict, *, room: int) -> None:
    """Refuse gaps, overlaps and tensors outside the file: together they fill it exactly."""
    try:
        spans = [(*t["data_offsets"], name, _bytes_of(t)) for name, t in header.items()]
        spans.sort()
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"a tensor is described wrongly: {error}") from error
    end = 0
    for begin, stop, name, expected in spans:
        if begin != end or stop - begin != expected:
            raise InputError(
                f"tensor {name} is said to lie at bytes {begin} to {stop}, but should take "
                f"{expected} bytes from {end} on"
            )
        end = stop
    if end != room:
        raise InputError(f"the tensors take {end} bytes, but the file holds {room}")


def _bytes_of(tensor: JsonDict) -> int:
    dtype, shape = tensor["dtype"], tensor["shape"]
    if dtype not in BITS:
        raise ValueError(f"unknown dtype {dtype!r}")
    if any(not isinstance(n, int) or n < 0 for n in shape):
        raise ValueError(f"shape {shape!r} is not a list of sizes")
    return math.prod(shape) * BITS[dtype] // 8
