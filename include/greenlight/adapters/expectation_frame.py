"""The table that expectations are checked on: one row a row of the file, as it is in the file."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pandas as pd
from pydantic import ValidationError

from greenlight.adapters.expectation_run import ROW
from greenlight.adapters.expectation_suites import CHOICE_COLUMNS, FIELDS, OPTIONAL
from greenlight.core.digest import digest_bytes, short
from greenlight.core.errors import InputError
from greenlight.core.types import JsonDict
from greenlight.quantize.answers import reference_rows
from greenlight.quantize.datasets import Check, InstructRow
from greenlight.quantize.inspection import inspect
from greenlight.quantize.jobs import Dataset, DatasetKind


def frame_of(dataset: Dataset, *, lengths: list[int] | None) -> pd.DataFrame:
    """Return the fields of every row, and facts about it.

    Raises:
        InputError: the file is empty, was edited, isn't JSONL, or there are more or fewer lengths
            than rows.
    """
    rows = _read(dataset)
    if lengths is not None and len(lengths) != len(rows):
        raise InputError(
            f"data set {dataset.name} has {len(rows)} rows, but {len(lengths)} lengths in tokens"
        )
    frame = pd.DataFrame(
        [_with_facts(row, dataset.kind, line=line) for line, row in enumerate(rows, 1)],
        dtype=object,
    )
    if lengths is not None:
        frame["tokens"] = lengths
    for name in frame.columns.difference([*FIELDS[dataset.kind], "sql_problem"]):
        frame[name] = frame[name].infer_objects()
    return frame


def columns_of(kind: DatasetKind, *, with_tokens: bool) -> tuple[str, ...]:
    """Return the columns that a frame has when every row of its file has the kind's fields."""
    example = _with_facts(dict.fromkeys(FIELDS[kind], ""), kind, line=1)
    return (*example, "tokens") if with_tokens else tuple(example)


def _read(dataset: Dataset) -> list[JsonDict]:
    try:
        data = dataset.path.read_bytes()
    except OSError as error:
        raise InputError(f"data set {dataset.name}: {dataset.path} cannot be read") from error
    if (found := digest_bytes(data)) != dataset.digest:
        raise InputError(
            f"data set {dataset.name} version {dataset.version} was registered with digest "
            f"{short(dataset.digest)}, but {dataset.path} now has {short(found)}"
        )
    try:
        rows = [json.loads(line) for line in data.decode().split("\n") if line.strip()]
    except ValueError as error:
        raise InputError(f"data set {dataset.name}: {dataset.path} isn't JSONL: {error}") from error
    if not rows:
        raise InputError(f"data set {dataset.name} holds no row, so there is nothing to check")
    if not all(isinstance(row, dict) for row in rows):
        raise InputError(f"data set {dataset.name}: every line of {dataset.path} must be an object")
    return rows


def _with_facts(row: JsonDict, kind: DatasetKind, *, line: int) -> dict[str, Any]:
    fields = OPTIONAL[kind] | row
    facts = asdict(inspect(_text(fields, kind), identity=_identity(fields, kind)))
    named = {ROW: str(fields.get("id") or f"line {line}")}
    return fields | named | facts | _facts_of_kind(fields, kind)


def _facts_of_kind(fields: JsonDict, kind: DatasetKind) -> dict[str, Any]:
    match kind:
        case DatasetKind.CHOICE:
            choices = _choices(fields)
            padded = [*choices, *[None] * len(CHOICE_COLUMNS)]
            return {
                "choice_count": len(choices),
                **dict(zip(CHOICE_COLUMNS, padded, strict=False)),
            }
        case DatasetKind.INSTRUCT:
            return {"sql_problem": _sql_problem(fields)}
        case DatasetKind.TEXT:
            return {}


def _sql_problem(fields: JsonDict) -> str | None:
    if fields.get("check") != Check.SQL:
        return "a schema without check: sql" if fields.get("schema") else None
    try:
        reference_rows(InstructRow.model_validate(fields))
    except ValidationError as error:
        return str(error)
    except InputError as error:
        return str(error)
    return None


def _text(fields: JsonDict, kind: DatasetKind) -> str:
    parts = {
        DatasetKind.TEXT: [fields.get("text")],
        DatasetKind.CHOICE: [fields.get("question"), *_choices(fields)],
        DatasetKind.INSTRUCT: [fields.get(name) for name in ("instruction", "input", "output")],
    }[kind]
    return "\n".join(str(part) for part in parts if part is not None)


def _identity(fields: JsonDict, kind: DatasetKind) -> str:
    """Return what must not occur twice: of an instruction, all but its answer."""
    if kind is DatasetKind.INSTRUCT:
        return f"{fields.get('instruction')}\n{fields.get('input')}"
    return _text(fields, kind)


def _choices(fields: JsonDict) -> list[Any]:
    choices = fields.get("choices")
    return choices if isinstance(choices, list) else []
