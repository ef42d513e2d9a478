"""Is the candidate the same model to its callers? Quantizing may change weights, nothing else.

A changed tokenizer, chat template or end token leaves perplexity on plain text alone and breaks
every client. So these files must be equal byte for byte; settings that tools rewrite in passing
(versions, key order) are compared by value.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from greenlight.core.digest import digest_file, short
from greenlight.core.errors import InputError
from greenlight.core.types import JsonDict
from greenlight.quantize.measurements import Metric

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
)
TEMPLATE_FOLDER = "additional_chat_templates"
GENERATION = "generation_config.json"
CONFIG = "config.json"
CONFIG_KEYS = (
    "architectures",
    "vocab_size",
    "max_position_embeddings",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
)
WRITTEN_IN_PASSING = frozenset({"transformers_version", "_from_model_config"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing a caller would notice. `field` is empty when whole files differ.

    `parent` and `candidate` are readable values, or the start of the files' digests; `absent` where
    there is none.
    """

    file: str
    field: str
    parent: str
    candidate: str

    def __str__(self) -> str:
        """Return it as a sentence."""
        what = f"{self.file}: {self.field}" if self.field else self.file
        return f"{what} is {self.candidate}, the parent's {self.parent}"


def compare_interface(parent: Path, candidate: Path) -> tuple[Difference, ...]:
    """Compare two model folders; empty means identical to every caller.

    Raises:
        InputError: a folder or its config.json is missing, or a JSON file is damaged.
    """
    return (
        *_files(parent, candidate),
        *_values(parent, candidate, file=GENERATION, keys=None),
        *_values(parent, candidate, file=CONFIG, keys=CONFIG_KEYS),
    )


def interface_metric(parent: Path, candidate: Path) -> Metric:
    """Return `interface_differences`: their number, with the differences as its method.

    Raises:
        InputError: as `compare_interface`.
    """
    differences = compare_interface(parent, candidate)
    return Metric(
        name="interface_differences",
        value=len(differences),
        unit="count",
        n=1,
        method="; ".join(map(str, differences)) or "files equal byte for byte",
        baseline="parent",
    )


def _files(parent: Path, candidate: Path) -> tuple[Difference, ...]:
    for folder in (parent, candidate):
        if not (folder / CONFIG).is_file():
            raise InputError(f"{folder} holds no {CONFIG}: not a model folder")
    templates = {
        path.relative_to(folder).as_posix()
        for folder in (parent, candidate)
        for path in folder.glob(f"{TEMPLATE_FOLDER}/*.jinja")
    }
    found = []
    for name in (*TOKENIZER_FILES, *sorted(templates)):
        left, right = _digest(parent / name), _digest(candidate / name)
        if left != right:
            found.append(Difference(file=name, field="", parent=left, candidate=right))
    return tuple(found)


def _digest(path: Path) -> str:
    return short(digest_file(path)) if path.is_file() else "absent"


def _values(
    parent: Path, candidate: Path, *, file: str, keys: tuple[str, ...] | None
) -> tuple[Difference, ...]:
    left, right = _read(parent / file), _read(candidate / file)
    names = keys if keys is not None else sorted((left.keys() | right.keys()) - WRITTEN_IN_PASSING)
    return tuple(
        Difference(file=file, field=name, parent=_show(left, name), candidate=_show(right, name))
        for name in names
        if left.get(name) != right.get(name)
    )


def _read(path: Path) -> JsonDict:
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} must hold an object, not {type(values).__name__}")
    return values


def _show(values: JsonDict, name: str) -> str:
    return json.dumps(values[name]) if name in values else "absent"
