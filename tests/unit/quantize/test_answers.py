import sqlite3

import pytest

from greenlight.core.errors import InputError
from greenlight.quantize.answers import is_correct, reference_rows, run_query, sql_in
from greenlight.quantize.datasets import Check, InstructRow

SCHEMA = "CREATE TABLE t (a INTEGER, b REAL); INSERT INTO t VALUES (1, 0.5), (2, 1.5);"
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n) SELECT COUNT(*) FROM n"


def a_row(output: str, check: Check, **other) -> InstructRow:
    return InstructRow(id="a", instruction="Do.", output=output, check=check, **other)


def a_query(output: str, schema: str = SCHEMA) -> InstructRow:
    return a_row(output, Check.SQL, schema=schema)


@pytest.mark.parametrize(
    ("text", "right"),
    [("blue", True), (' "blue". ', True), ("Blue", False), ("It is blue", False), ("", False)],
)
def test_exact_is_equal_but_for_quotes_and_a_period(text, right):
    assert is_correct(a_row("blue", Check.EXACT), text) is right


@pytest.mark.parametrize(
    ("text", "right"),
    [("It is 5.", True), ("15", False), ("5th", False), ("five", False), ("", False)],
)
def test_contains_wants_whole_words(text, right):
    assert is_correct(a_row("5", Check.CONTAINS), text) is right


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("SELECT a FROM t", True),
        ("Sure:\n```sql\nselect t.a from t;\n```\nDone.", True),
        ("SELECT a FROM t ORDER BY a DESC", True),
        ("SELECT a FROM t WHERE a = 1", False),
        ("SELECT b FROM t", False),
        ("SELECT nothing FROM t", False),
        ("DROP TABLE t", False),
        ("I do not know", False),
        ("", False),
        ("SELECT a FROM t\0", False),
        (ENDLESS, False),
    ],
)
def test_sql_is_judged_by_the_rows_it_returns(text, right):
    assert is_correct(a_query("SELECT a FROM t"), text) is right


def test_order_counts_where_the_reference_orders():
    row = a_query("SELECT a FROM t ORDER BY a")
    assert is_correct(row, "SELECT a FROM t ORDER BY 1")
    assert not is_correct(row, "SELECT a FROM t ORDER BY a DESC")


def test_a_query_leaves_the_machine_alone(tmp_path):
    for query in (f"ATTACH '{tmp_path}/x.db' AS x", "PRAGMA writable_schema=1", "DELETE FROM t"):
        with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
            run_query(SCHEMA, query)
    assert list(tmp_path.iterdir()) == []


def test_a_schema_stays_in_memory_too(tmp_path):
    with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
        run_query(f"ATTACH '{tmp_path}/x.db' AS x", "SELECT 1")


def test_a_query_is_stopped_when_its_time_is_over():
    seconds = iter(range(0, 10_000, 3))
    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        run_query("", ENDLESS, max_steps=10**12, monotonic=lambda: next(seconds))


@pytest.mark.parametrize(
    "row", [a_query("SELECT z FROM t"), a_query("SELECT 1", schema="CREATE"), a_query(ENDLESS)]
)
def test_a_reference_that_does_not_run_is_not_the_models_fault(row):
    with pytest.raises(InputError, match="row a: its SQL does not run"):
        is_correct(row, "SELECT 1")
    with pytest.raises(InputError, match="does not run"):
        reference_rows(row)


def test_the_first_statement_is_the_answer():
    assert sql_in("```sql\nSELECT 1; SELECT 2\n```") == "SELECT 1"
