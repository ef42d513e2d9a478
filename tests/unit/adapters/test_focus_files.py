import csv
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow.parquet as pq
import pytest

from greenlight.adapters.focus_files import FocusFiles
from greenlight.core.errors import InputError
from greenlight.cost.claims import Part
from greenlight.cost.focus.columns import COLUMNS
from greenlight.cost.focus.conformance import check
from greenlight.cost.focus.rows import Account, rows_of
from greenlight.testing.costs_contract import a_line

FIRST = datetime(2026, 11, 30, 22, tzinfo=UTC)
HOURS = [FIRST + n * timedelta(hours=1) for n in range(4)]
ACCOUNT = Account(id="1", name="ML", provider="AWS", publisher="AWS", issuer="AWS")


def rows(hour=FIRST, **changes):
    return rows_of([a_line(hour, **changes), a_line(hour, Part.IDLE)], ACCOUNT)


@pytest.fixture
def files(tmp_path):
    return FocusFiles(tmp_path / "focus rows")


def test_rows_are_read_back_as_they_were_written(files):
    files.write_hour(FIRST, rows())
    found = list(files.read(FIRST, FIRST + timedelta(hours=1)))
    assert found == [dict(row) for row in rows()]
    assert check(found) == ()


def test_an_hour_has_one_file_under_its_billing_period_and_day(files, tmp_path):
    for hour in HOURS:
        files.write_hour(hour, rows(hour))
    root = tmp_path / "focus rows"
    assert [str(p.relative_to(root)) for p in sorted(root.rglob("*.parquet"))] == [
        "billing_period=2026-11-01/day=2026-11-30/hour=22.parquet",
        "billing_period=2026-11-01/day=2026-11-30/hour=23.parquet",
        "billing_period=2026-12-01/day=2026-12-01/hour=00.parquet",
        "billing_period=2026-12-01/day=2026-12-01/hour=01.parquet",
    ]
    assert files.hours() == tuple(HOURS)


def test_query_engines_find_the_whole_folder_as_one_table(files, tmp_path):
    for hour in HOURS:
        files.write_hour(hour, rows(hour))
    table = pq.read_table(tmp_path / "focus rows")
    assert table.num_rows == 8
    assert {"BilledCost", "billing_period", "day"} <= set(table.column_names)
    meta = pq.read_schema(files.path_of(FIRST)).metadata
    assert meta[b"FOCUS_VERSION"] == b"1.2"


def test_writing_an_hour_again_replaces_it_and_leaves_nothing_else(files):
    files.write_hour(FIRST, rows())
    files.write_hour(FIRST, rows(cost=7))
    files.write_hour(FIRST, rows(cost=7))
    found = list(files.read(FIRST, FIRST + timedelta(hours=1)))
    assert [row["BilledCost"] for row in found] == [Decimal("7E-9"), Decimal("0.54")]
    assert [p.name for p in files.path_of(FIRST).parent.iterdir()] == ["hour=22.parquet"]


def test_an_hour_that_lost_its_rows_loses_its_file(files):
    files.write_hour(FIRST, rows())
    assert files.write_hour(FIRST, []) is None
    assert files.hours() == ()
    assert files.write_hour(FIRST, []) is None


def test_a_time_is_read_from_its_first_hour_and_not_to_its_last(files):
    for hour in HOURS:
        files.write_hour(hour, rows(hour))
    found = files.read(HOURS[1], HOURS[3])
    assert {row["ChargePeriodStart"] for row in found} == {HOURS[1], HOURS[2]}


def test_rows_that_break_a_rule_are_not_written(files):
    broken = dict(rows()[0]) | {"BillingCurrency": "dollars", "ServiceName": ""}
    with pytest.raises(InputError, match="row 1: ServiceName must not be empty text"):
        files.write_hour(FIRST, [rows()[1], broken])
    assert files.hours() == ()


def test_rows_of_another_hour_are_refused(files):
    with pytest.raises(InputError, match=r"2 rows are not of 2026-11-30 22"):
        files.write_hour(FIRST, rows(HOURS[1]))


def test_a_damaged_file_is_named_with_what_to_do(files):
    path = files.write_hour(FIRST, rows())
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"hour=22\.parquet can't be read.*compute its hour again"):
        list(files.read(FIRST, HOURS[-1]))


def test_csv_has_the_same_rows_as_text(files, tmp_path):
    files.write_hour(FIRST, rows(cost=7))
    path = tmp_path / "out put.csv"
    assert files.to_csv(path, start=FIRST, end=HOURS[1]) == 2
    with path.open(newline="") as file:
        first, second = csv.DictReader(file)
    assert list(first) == [column.name for column in COLUMNS]
    assert first["BilledCost"] == "0.000000007"
    assert first["ChargePeriodStart"] == "2026-11-30T22:00:00Z"
    assert json.loads(first["Tags"]) == {"environment": "production"}
    assert (first["ChargeClass"], first["x_OutputTokens"], second["x_Model"]) == ("", "", "")


def test_no_rows_make_a_csv_with_its_columns(files, tmp_path):
    assert files.to_csv(tmp_path / "none.csv", start=FIRST, end=HOURS[1]) == 0
    assert (tmp_path / "none.csv").read_text().startswith("BilledCost,BillingAccountId")
