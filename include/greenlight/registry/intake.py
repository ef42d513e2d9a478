"""Decide whether a model folder may enter, and say every reason why not.

Nothing of the folder is executed or deserialized beyond JSON, YAML front matter and safetensors
headers. Hidden files (`.git`, `.gitattributes`, `.cache`) are left out of the model.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from greenlight.core.errors import InputError
from greenlight.core.types import JsonDict
from greenlight.registry.licences import licence_of
from greenlight.registry.pickles import why_pickle
from greenlight.registry.weights import Weights, missing_shards, read_header, summarize

CODE = frozenset({".py", ".pyc", ".pyd", ".so", ".dll", ".dylib", ".exe", ".sh", ".ipynb"})
REMOTE_CODE_KEYS = frozenset({"auto_map", "trust_remote_code", "custom_pipelines"})
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
TEMPLATES = ("chat_template.jinja", "chat_template.json")
CONFIG, TOKENIZER_CONFIG = "config.json", "tokenizer_config.json"


class Cause(StrEnum):
    """Why a folder is refused."""

    PICKLE = "pickle"
    CODE = "code"
    SYMLINK = "symlink"
    CONFIG = "config"
    ARCHITECTURE = "architecture"
    TOKENIZER = "tokenizer"
    TEMPLATE = "chat-template"
    WEIGHTS = "weights"
    LICENCE = "licence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One reason. `file` is relative to the folder, or empty when it is about the whole."""

    cause: Cause
    reason: str
    file: str = ""

    def __str__(self) -> str:
        """Return the sentence for a person."""
        return f"{self.file}: {self.reason}" if self.file else self.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeReport:
    """What was found. The description is as good as the folder: `None` where it is silent."""

    folder: Path
    refusals: tuple[Refusal, ...]
    left_out: tuple[str, ...]
    architecture: str | None
    licence: str | None
    licence_source: str | None
    weights: Weights | None
    quantization: str | None
    """The method a checkpoint is quantized with already; then `weights.parameters` means little."""

    def require_accepted(self) -> None:
        """Do nothing if the folder may enter.

        Raises:
            InputError: it may not; the message lists every reason.
        """
        if self.refusals:
            reasons = "".join(f"\n  - {refusal}" for refusal in self.refusals)
            raise InputError(f"{self.folder} cannot be imported:{reasons}")

    def to_json(self) -> JsonDict:
        """Return plain JSON for the CLI and the DAG."""
        return {
            "folder": str(self.folder),
            "accepted": not self.refusals,
            "refusals": [
                {"cause": str(r.cause), "file": r.file, "reason": r.reason} for r in self.refusals
            ],
            "left_out": list(self.left_out),
            "architecture": self.architecture,
            "licence": self.licence,
            "licence_source": self.licence_source,
            "parameters": self.weights.parameters if self.weights else None,
            "dtype": self.weights.dtype if self.weights else None,
            "weight_bytes": self.weights.total_bytes if self.weights else None,
            "quantization": self.quantization,
        }


def check_folder(
    folder: Path,
    *,
    known_architectures: Collection[str],
    licences: Collection[str],
    licence: str | None = None,
) -> IntakeReport:
    """Look at a Hugging Face folder.

    `licences` are the SPDX identifiers that may enter; `licence` is what the operator says it is.

    Raises:
        InputError: there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    names = sorted(_listing(folder))
    files = [name for name in names if not _is_hidden(name)]
    links = list(_check_links(folder, files))
    outside = {refusal.file for refusal in links}
    readable = [name for name in files if name not in outside]
    config, config_refusals = _read_config(folder, readable)
    weights, weight_refusals = _check_weights(folder, readable)
    found = licence_of(folder, said=licence)
    return IntakeReport(
        folder=folder,
        refusals=(
            *links,
            *_check_executables(folder, readable),
            *config_refusals,
            *_check_architecture(config, known=known_architectures),
            *_check_tokenizer(folder, readable),
            *weight_refusals,
            *_check_licence(folder, licence, allowed=licences),
        ),
        left_out=tuple(name for name in names if _is_hidden(name)),
        architecture=_architecture(config),
        licence=found.spdx if found else None,
        licence_source=found.source if found else None,
        weights=weights,
        quantization=_quantization(config),
    )


def _listing(folder: Path) -> Iterator[str]:
    """Yield every file, and every link to a folder, which is never followed."""
    for root, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        for name in (*files, *links):
            yield (Path(root) / name).relative_to(folder).as_posix()


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _check_links(folder: Path, files: list[str]) -> Iterator[Refusal]:
    inside = folder.resolve()
    for name in files:
        path = folder / name
        target = path.resolve()
        if not path.is_symlink():
            continue
        if not target.is_relative_to(inside):
            reason = f"is a symbolic link out of the folder, to {target}"
        elif not target.is_file():
            reason = "is a symbolic link to something that is not a file"
        else:
            continue
        yield Refusal(cause=Cause.SYMLINK, file=name, reason=reason)


def _check_executables(folder: Path, files: list[str]) -> Iterator[Refusal]:
    for name in files:
        path = folder / name
        if path.suffix.lower() in CODE:
            reason = "is code; models are data here"
            yield Refusal(cause=Cause.CODE, file=name, reason=reason)
        elif not _is_sound(path) and (why := why_pickle(path)):
            yield Refusal(cause=Cause.PICKLE, file=name, reason=f"{why}; convert it to safetensors")
        elif path.suffix == ".json" and "config" in path.name:
            yield from _check_remote_code(path, name)


def _is_sound(path: Path) -> bool:
    """Tell whether a file is safetensors through and through, whose length may look like magic."""
    if path.suffix != ".safetensors":
        return False
    try:
        read_header(path)
    except InputError:
        return False
    return True


def _check_remote_code(path: Path, name: str) -> Iterator[Refusal]:
    value = _json_or_none(path)
    if value is None:
        return
    for key in sorted(set(_keys_of(value)) & REMOTE_CODE_KEYS):
        reason = f"{key} asks for code of the model's author to be run"
        yield Refusal(cause=Cause.CODE, file=name, reason=reason)


def _keys_of(value: object) -> Iterator[str]:
    """Yield the keys of every object in a JSON value whose own value is not false or null."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if inner not in (None, False):
                yield str(key)
            yield from _keys_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys_of(inner)


def _read_config(folder: Path, files: list[str]) -> tuple[JsonDict, tuple[Refusal, ...]]:
    if CONFIG not in files:
        return {}, (Refusal(cause=Cause.CONFIG, reason=f"{CONFIG} is missing"),)
    config = _json_or_none(folder / CONFIG)
    if not isinstance(config, dict):
        return {}, (Refusal(cause=Cause.CONFIG, file=CONFIG, reason="is not a JSON object"),)
    return config, ()


def _check_architecture(config: JsonDict, *, known: Collection[str]) -> Iterator[Refusal]:
    if config and _architecture(config) not in known:
        named = _architecture(config) or "none"
        yield Refusal(
            cause=Cause.ARCHITECTURE,
            file=CONFIG,
            reason=f"architecture {named} is not known; known: {', '.join(sorted(known))}",
        )


def _architecture(config: JsonDict) -> str | None:
    named = config.get("architectures")
    return str(named[0]) if isinstance(named, list) and len(named) == 1 else None


def _quantization(config: JsonDict) -> str | None:
    found = config.get("quantization_config")
    return str(found.get("quant_method", "unknown")) if isinstance(found, dict) else None


def _check_tokenizer(folder: Path, files: list[str]) -> Iterator[Refusal]:
    if not any(name in files for name in TOKENIZERS):
        yield Refusal(
            cause=Cause.TOKENIZER, reason=f"no tokenizer: none of {', '.join(TOKENIZERS)}"
        )
    if "tokenizer.json" in files and _json_or_none(folder / "tokenizer.json") is None:
        yield Refusal(cause=Cause.TOKENIZER, file="tokenizer.json", reason="is not JSON")
    config = _json_or_none(folder / TOKENIZER_CONFIG) if TOKENIZER_CONFIG in files else None
    if not isinstance(config, dict):
        what = "is missing or not a JSON object"
        yield Refusal(cause=Cause.TOKENIZER, file=TOKENIZER_CONFIG, reason=what)
        config = {}
    beside = any(name in files and (folder / name).stat().st_size for name in TEMPLATES)
    if not beside and not config.get("chat_template"):
        yield Refusal(
            cause=Cause.TEMPLATE,
            reason=f"no chat template: neither in {TOKENIZER_CONFIG} nor as {TEMPLATES[0]}",
        )


def _check_weights(folder: Path, files: list[str]) -> tuple[Weights | None, tuple[Refusal, ...]]:
    names = [name for name in files if name.endswith(".safetensors")]
    if not names:
        return None, (Refusal(cause=Cause.WEIGHTS, reason="no safetensors file"),)
    refusals = []
    for name in names:
        try:
            summarize([folder / name])
        except InputError as error:
            refusals.append(Refusal(cause=Cause.WEIGHTS, file=name, reason=f"is damaged: {error}"))
    try:
        missing = missing_shards(folder)
    except InputError as error:
        refusals.append(Refusal(cause=Cause.WEIGHTS, reason=str(error)))
        missing = ()
    for name in missing:
        refusals.append(
            Refusal(cause=Cause.WEIGHTS, file=name, reason="is named by the index but missing")
        )
    if refusals:
        return None, tuple(refusals)
    return summarize([folder / name for name in names]), ()


def _check_licence(
    folder: Path, said: str | None, *, allowed: Collection[str]
) -> Iterator[Refusal]:
    found = licence_of(folder, said=said)
    listed = ", ".join(sorted(allowed))
    if found is None:
        reason = "no licence is stated in README.md or a licence file; say it with --licence"
        yield Refusal(cause=Cause.LICENCE, reason=reason)
    elif found.conflict:
        reason = f"--licence says {found.spdx!r}, but {found.conflict}"
        yield Refusal(cause=Cause.LICENCE, reason=reason)
    elif found.spdx not in allowed:
        reason = f"licence {found.spdx!r} ({found.source} so) is not on the list: {listed}"
        yield Refusal(cause=Cause.LICENCE, reason=reason)


def _json_or_none(path: Path) -> object | None:
    try:
        value: object = json.loads(path.read_bytes())
    except ValueError:
        return None
    return value
