"""What is expected of the rows of each kind of data set, as Great Expectations' expectations.

The suites judge the columns that `expectation_frame` makes: the fields of the file, and facts about
each row. Facts are counts, so that the data docs hold no personal data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from great_expectations import expectations as gxe

from greenlight.quantize.datasets import CHOICES, Check
from greenlight.quantize.jobs import DatasetKind

FIELDS: dict[DatasetKind, tuple[str, ...]] = {
    DatasetKind.TEXT: ("id", "text"),
    DatasetKind.CHOICE: ("id", "question", "choices", "answer"),
    DatasetKind.INSTRUCT: ("id", "instruction", "input", "output", "check", "schema"),
}
OPTIONAL: dict[DatasetKind, dict[str, str | None]] = {
    DatasetKind.TEXT: {},
    DatasetKind.CHOICE: {},
    DatasetKind.INSTRUCT: {"input": "", "check": Check.EXACT.value, "schema": None},
}
"""Fields that a row may leave out, and what they are then."""
TEXT_FIELDS: dict[DatasetKind, tuple[str, ...]] = {
    DatasetKind.TEXT: ("id", "text"),
    DatasetKind.CHOICE: ("id", "question"),
    DatasetKind.INSTRUCT: ("id", "instruction", "input", "output", "check"),
}
MAY_BE_EMPTY = frozenset({"input"})
CHOICE_COLUMNS = tuple(f"choice_{number}" for number in range(1, CHOICES + 1))

TOKENS: dict[DatasetKind, tuple[int, int]] = {
    DatasetKind.TEXT: (1, 200_000),
    DatasetKind.CHOICE: (4, 1024),
    DatasetKind.INSTRUCT: (1, 1024),
}
"""Bounds of a row, in tokens of the model. 1024: what an engine under test can hold."""
MIN_ASCII_SHARE = 0.5
PERSONAL = {
    "e_mails": "e-mail addresses",
    "phones": "telephone numbers",
    "cards": "payment card numbers",
    "keys": "keys or tokens",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """An expectation, and what to say of the rows that don't meet it. `warns`: it only warns."""

    expectation: gxe.Expectation
    complaint: str
    warns: bool = False


def suite_of(kind: DatasetKind, *, columns: Sequence[str], with_tokens: bool) -> list[Expected]:
    """Return what is expected of a set; `columns` are those that a frame must have."""
    return [
        Expected(
            expectation=gxe.ExpectTableColumnsToMatchSet(column_set=list(columns)),
            complaint=f"its fields must be {', '.join(FIELDS[kind])}",
        ),
        *_fields(kind),
        *_texts(kind, with_tokens=with_tokens),
        *(_choices() if kind is DatasetKind.CHOICE else ()),
        *(_instructions() if kind is DatasetKind.INSTRUCT else ()),
        *_personal(),
    ]


def _fields(kind: DatasetKind) -> Iterator[Expected]:
    for field in FIELDS[kind]:
        if field != "schema":
            yield Expected(
                expectation=gxe.ExpectColumnValuesToNotBeNull(column=field),
                complaint=f"have no {field}",
            )
    for field in TEXT_FIELDS[kind]:
        yield Expected(
            expectation=gxe.ExpectColumnValuesToBeOfType(column=field, type_="str"),
            complaint=f"have a {field} that is not text",
        )
        if field not in MAY_BE_EMPTY:
            yield _not_empty(field, complaint=f"have an empty {field}")
    yield Expected(
        expectation=gxe.ExpectColumnValuesToBeUnique(column="id"),
        complaint="share their id with another",
    )


def _texts(kind: DatasetKind, *, with_tokens: bool) -> Iterator[Expected]:
    yield Expected(
        expectation=gxe.ExpectColumnValuesToBeUnique(column="fingerprint"),
        complaint="say the same as another, apart from case and white space",
    )
    yield Expected(
        expectation=gxe.ExpectColumnValuesToBeBetween(column="damaged", max_value=0),
        complaint="hold damaged text: U+FFFD or control characters",
    )
    yield Expected(
        expectation=gxe.ExpectColumnValuesToBeBetween(
            column="ascii_share", min_value=MIN_ASCII_SHARE
        ),
        complaint=f"have fewer than {MIN_ASCII_SHARE:.0%} ASCII letters among their letters",
    )
    if with_tokens:
        low, high = TOKENS[kind]
        yield Expected(
            expectation=gxe.ExpectColumnValuesToBeBetween(
                column="tokens", min_value=low, max_value=high
            ),
            complaint=f"have fewer than {low} or more than {high} tokens",
        )


def _choices() -> Iterator[Expected]:
    yield Expected(
        expectation=gxe.ExpectColumnValuesToBeInSet(column="choice_count", value_set=[CHOICES]),
        complaint=f"have more or fewer than {CHOICES} choices",
    )
    yield Expected(
        expectation=gxe.ExpectColumnValuesToBeInSet(
            column="answer", value_set=list(range(CHOICES))
        ),
        complaint=f"have an answer that is not 0 to {CHOICES - 1}",
    )
    for column in CHOICE_COLUMNS:
        yield _not_empty(column, complaint=f"have an empty {column.replace('_', ' ')}")
    yield Expected(
        expectation=gxe.ExpectSelectColumnValuesToBeUniqueWithinRecord(
            column_list=list(CHOICE_COLUMNS), ignore_row_if="never"
        ),
        complaint="offer the same choice twice",
    )


def _instructions() -> Iterator[Expected]:
    yield Expected(
        expectation=gxe.ExpectColumnValuesToBeInSet(
            column="check", value_set=[check.value for check in Check]
        ),
        complaint=f"have a check that is not {', '.join(Check)}",
    )
    yield Expected(
        expectation=gxe.ExpectColumnValuesToBeNull(column="sql_problem"),
        complaint="have SQL that does not run on SQLite",
    )


def _personal() -> Iterator[Expected]:
    for column, what in PERSONAL.items():
        yield Expected(
            expectation=gxe.ExpectColumnValuesToBeBetween(
                column=column, max_value=0, severity="warning"
            ),
            complaint=f"may hold {what}",
            warns=True,
        )


def _not_empty(column: str, *, complaint: str) -> Expected:
    return Expected(
        expectation=gxe.ExpectColumnValuesToMatchRegex(column=column, regex=r"\S"),
        complaint=complaint,
    )
