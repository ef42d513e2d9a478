"""Rows of data sets: their shape, how they are read, and the text they hold."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import AliasChoices, Field, ValidationError, model_validator

from greenlight.core.digest import digest_bytes, short
from greenlight.core.errors import InputError
from greenlight.core.types import Value
from greenlight.quantize.jobs import Dataset, DatasetKind

CHOICES = 4

Id = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(min_length=1)]


class TextRow(Value):
    """One document. Evaluation windows never cross from one into the next."""

    id: Id
    text: Text


class ChoiceRow(Value):
    """One question with four choices; `answer` is the index of the right one."""

    id: Id
    question: Text
    choices: Annotated[tuple[Text, ...], Field(min_length=CHOICES, max_length=CHOICES)]
    answer: Annotated[int, Field(ge=0, lt=CHOICES)]


class Check(StrEnum):
    """How an answer is compared with `output`; `quantize.answers` does it."""

    EXACT = "exact"
    CONTAINS = "contains"
    SQL = "sql"


class InstructRow(Value):
    """One instruction with its reference `output`.

    `input` may be empty. `sql_schema` (in the file: `schema`) sets up the SQLite database that the
    answer and the reference query run on; it belongs to `check: sql` and to nothing else.
    """

    id: Id
    instruction: Text
    input: str = ""
    output: str
    check: Check = Check.EXACT
    sql_schema: str | None = Field(
        default=None,
        validation_alias=AliasChoices("schema", "sql_schema"),
        serialization_alias="schema",
    )

    @property
    def prompt(self) -> str:
        """What the model is asked: the instruction, and the input below it."""
        return f"{self.instruction}\n\n{self.input}" if self.input else self.instruction

    @model_validator(mode="after")
    def _schema_belongs_to_sql(self) -> Self:
        if (self.check is Check.SQL) != (self.sql_schema is not None):
            raise ValueError("`schema` is needed when `check` is sql, and only then")
        return self


Row = TextRow | ChoiceRow | InstructRow

ROWS: dict[DatasetKind, type[Row]] = {
    DatasetKind.TEXT: TextRow,
    DatasetKind.CHOICE: ChoiceRow,
    DatasetKind.INSTRUCT: InstructRow,
}


def read_dataset(path: Path, kind: DatasetKind) -> tuple[Row, ...]:
    """Read a JSONL file.

    Raises:
        InputError: the file can't be read as UTF-8 JSONL, holds no row, repeats an id, or a row
            has another shape; the message names file, line and field.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    return parse_rows(data, kind, where=str(path))


def read_texts(dataset: Dataset) -> tuple[TextRow, ...]:
    """Read a verified set of kind `text`. Raises `InputError` as `read_verified`."""
    return tuple(row for row in read_verified(dataset) if isinstance(row, TextRow))


def read_choices(dataset: Dataset) -> tuple[ChoiceRow, ...]:
    """Read a verified set of kind `choice`. Raises `InputError` as `read_verified`."""
    return tuple(row for row in read_verified(dataset) if isinstance(row, ChoiceRow))


def read_instructions(dataset: Dataset) -> tuple[InstructRow, ...]:
    """Read a verified set of kind `instruct`. Raises `InputError` as `read_verified`."""
    return tuple(row for row in read_verified(dataset) if isinstance(row, InstructRow))


def read_verified(dataset: Dataset) -> tuple[Row, ...]:
    """Read a data set whose bytes are still those of its digest.

    Raises:
        InputError: the file changed since it was registered (both digests are named), or as
            `read_dataset`.
    """
    try:
        data = dataset.path.read_bytes()
    except OSError as error:
        raise InputError(f"data set {dataset.name}: {dataset.path} cannot be read") from error
    found = digest_bytes(data)
    if found != dataset.digest:
        raise InputError(
            f"data set {dataset.name} version {dataset.version} was registered with digest "
            f"{short(dataset.digest)}, but {dataset.path} now has {short(found)}; "
            "add the edited file as a new version instead"
        )
    return parse_rows(data, dataset.kind, where=str(dataset.path))


def parse_rows(data: bytes, kind: DatasetKind, *, where: str) -> tuple[Row, ...]:
    """Parse JSONL. Raises `InputError` as `read_dataset`; `where` names the file in messages."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(f"{where}, line {line}: not UTF-8 ({error.reason})") from error
    # Not splitlines(): a U+2028 inside a JSON string doesn't end the line.
    lines = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise InputError(f"{where} holds no row; a {kind} set needs at least one")
    rows = tuple(_parse(line, kind, where=f"{where}, line {number}") for number, line in lines)
    _refuse_repeated_ids(
        [(row.id, number) for row, (number, _) in zip(rows, lines, strict=True)], where=where
    )
    return rows


def _parse(line: str, kind: DatasetKind, *, where: str) -> Row:
    try:
        values = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: not JSON ({error.msg} at column {error.colno})") from error
    if not isinstance(values, dict):
        raise InputError(f"{where}: must be an object with fields, not {type(values).__name__}")
    try:
        return ROWS[kind].model_validate(values)
    except ValidationError as error:
        problems = "; ".join(
            f"field {'.'.join(map(str, p['loc'])) or '(row)'}: {p['msg']}" for p in error.errors()
        )
        raise InputError(f"{where}: {problems}") from error


def _refuse_repeated_ids(ids: Iterable[tuple[str, int]], *, where: str) -> None:
    seen: dict[str, int] = {}
    for name, line in ids:
        if name in seen:
            raise InputError(
                f"{where}, line {line}: field id: {name!r} is also on line {seen[name]}"
            )
        seen[name] = line


def to_jsonl(rows: Sequence[Row]) -> bytes:
    """Return the rows as JSONL; the same rows are the same bytes."""
    lines = (
        json.dumps(
            row.model_dump(mode="json", by_alias=True, exclude_none=True), ensure_ascii=False
        )
        for row in rows
    )
    return "".join(f"{line}\n" for line in lines).encode()


def text_of(row: Row) -> str:
    """Return everything a model would read in a row, for leak and language checks."""
    match row:
        case TextRow():
            return row.text
        case ChoiceRow():
            return "\n".join((row.question, *row.choices))
        case InstructRow():
            return "\n".join(part for part in (row.instruction, row.input, row.output) if part)
