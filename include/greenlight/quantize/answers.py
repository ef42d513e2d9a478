"""Whether a generated answer is right.

SQL is judged by executing it, as Spider does (Yu et al., 2018, arXiv 1809.08887): the answer is
right when it returns the rows of the reference query. It comes from a model, so it runs on a
database in memory, may only read, and is stopped after a number of steps.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections import Counter
from collections.abc import Callable

from greenlight.core.errors import InputError
from greenlight.quantize.datasets import Check, InstructRow

MAX_STEPS = 2_000_000
"""SQLite virtual machine instructions one query may take: a few tenths of a second."""
STEPS_BETWEEN_LOOKS = 1_000
MAX_SECONDS = 5.0
MAX_ROWS = 10_000
MAX_VALUE_BYTES = 1_000_000

_READ_ONLY = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}
_REACHES_OUT = {sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_PRAGMA}

SqlRow = tuple[object, ...]


def is_correct(row: InstructRow, text: str) -> bool:
    """Return whether `text` answers the row.

    `exact`: equal after trimming spaces, surrounding quotes and one final period, upper and lower
    case apart. `contains`: the reference occurs as whole words, in any case. `sql`: see the module.

    Raises:
        InputError: the row's own schema or reference query fails; that isn't the model's fault.
    """
    match row.check:
        case Check.EXACT:
            return trimmed(text) == trimmed(row.output)
        case Check.CONTAINS:
            pattern = rf"(?<!\w){re.escape(row.output.strip().casefold())}(?!\w)"
            return re.search(pattern, text.casefold()) is not None
        case Check.SQL:
            expected = reference_rows(row)
            found = _attempt(row.sql_schema or "", sql_in(text))
            return found is not None and _same(found, expected, ordered=_is_ordered(row.output))


def trimmed(text: str) -> str:
    """Return the text without outer spaces, one final period, and the quotes around it."""
    return text.strip().removesuffix(".").strip("\"'`").removesuffix(".").strip()


def sql_in(text: str) -> str:
    """Return the first statement of an answer, out of its code fence if it has one."""
    fenced = re.search(r"```(?:sql\w*)?\s*(.*?)(?:```|\Z)", text, flags=re.DOTALL | re.IGNORECASE)
    statement = fenced[1] if fenced else text
    return statement.split(";")[0].strip()


def reference_rows(row: InstructRow) -> list[SqlRow]:
    """Run the reference query of a row whose `check` is sql.

    Raises:
        InputError: its schema or its query fails, writes, or doesn't end.
    """
    try:
        return run_query(row.sql_schema or "", row.output)
    except sqlite3.Error as error:
        raise InputError(f"row {row.id}: its SQL does not run on SQLite: {error}") from error


def run_query(
    schema: str,
    query: str,
    *,
    max_steps: int = MAX_STEPS,
    max_seconds: float = MAX_SECONDS,
    monotonic: Callable[[], float] = time.monotonic,
) -> list[SqlRow]:
    """Set a database up in memory and return the rows of one reading query.

    Raises:
        sqlite3.Error: the SQL is wrong, does anything but read, or went over a limit.
    """
    connection = sqlite3.connect(":memory:")
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
        deadline, looks = monotonic() + max_seconds, 0

        def over_limit() -> bool:
            nonlocal looks
            looks += 1
            return looks * STEPS_BETWEEN_LOOKS > max_steps or monotonic() > deadline

        connection.set_progress_handler(over_limit, STEPS_BETWEEN_LOOKS)
        connection.set_authorizer(_stays_in_memory)
        connection.executescript(schema)
        connection.set_authorizer(_only_reads)
        rows: list[SqlRow] = connection.execute(query).fetchmany(MAX_ROWS + 1)
        if len(rows) > MAX_ROWS:
            raise sqlite3.OperationalError(f"more than {MAX_ROWS} rows")
        return rows
    finally:
        connection.close()


def _stays_in_memory(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    loads = action == sqlite3.SQLITE_FUNCTION and second == "load_extension"
    denied = loads or action in _REACHES_OUT
    return sqlite3.SQLITE_DENY if denied else sqlite3.SQLITE_OK


def _only_reads(action: int, first: str | None, second: str | None, *rest: str | None) -> int:
    if action not in _READ_ONLY:
        return sqlite3.SQLITE_DENY
    return _stays_in_memory(action, first, second, *rest)


def _attempt(schema: str, query: str) -> list[SqlRow] | None:
    """Return the rows of the model's query, or `None` when it doesn't run."""
    try:
        return run_query(schema, query)
    except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError):
        return None


def _is_ordered(query: str) -> bool:
    return re.search(r"\border\s+by\b", query, flags=re.IGNORECASE) is not None


def _same(left: list[SqlRow], right: list[SqlRow], *, ordered: bool) -> bool:
    lefts, rights = [_rounded(row) for row in left], [_rounded(row) for row in right]
    return lefts == rights if ordered else Counter(lefts) == Counter(rights)


def _rounded(row: SqlRow) -> SqlRow:
    return tuple(round(value, 6) if isinstance(value, float) else value for value in row)
