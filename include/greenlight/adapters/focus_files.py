"""FOCUS rows as Parquet files, one an hour, and as CSV for who wants that.

    ROOT/billing_period=2026-11-01/day=2026-11-24/hour=10.parquet

An hour is written whole under a temporary name and renamed, so that a reader sees the old hour or
the new one, and writing it again changes nothing. The folders are Hive partitions, as query engines
expect them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from greenlight.core.errors import InputError
from greenlight.core.files import write_atomically
from greenlight.cost.bill import require_hour
from greenlight.cost.focus.columns import COLUMNS, VERSION, Type
from greenlight.cost.focus.conformance import check
from greenlight.cost.focus.rows import Cell, Row, billing_period

NAMED = 5
"""How many breaches a refusal names."""
_TYPES = {
    Type.TEXT: pa.string(),
    Type.DECIMAL: pa.decimal128(38, 18),
    Type.TIME: pa.timestamp("us", tz="UTC"),
    Type.TAGS: pa.map_(pa.string(), pa.string()),
    Type.WHOLE: pa.int64(),
}
SCHEMA = pa.schema(
    [pa.field(column.name, _TYPES[column.type], nullable=column.nullable) for column in COLUMNS],
    metadata={"FOCUS_VERSION": VERSION},
)


class FocusFiles:
    """A folder of hours."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def write_hour(self, hour: datetime, rows: Sequence[Row]) -> Path | None:
        """Replace an hour; without rows it has no file.

        Raises:
            InputError: a row isn't of that hour, or breaks a rule of FOCUS; the message names row,
                column and rule.
        """
        require_hour(hour)
        path = self.path_of(hour)
        if not rows:
            path.unlink(missing_ok=True)
            return None
        if strange := [row for row in rows if row.get("ChargePeriodStart") != hour]:
            raise InputError(
                f"{len(strange)} rows are not of {hour}, the first is of "
                f"{strange[0].get('ChargePeriodStart')}: write each hour by itself"
            )
        if breaches := check(rows):
            more = f" and {len(breaches) - NAMED} more" if len(breaches) > NAMED else ""
            named = "; ".join(map(str, breaches[:NAMED]))
            raise InputError(f"{hour} is not FOCUS {VERSION}: {named}{more}")
        table = pa.Table.from_pylist([dict(row) for row in rows], schema=SCHEMA)
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        write_atomically(path, buffer.getvalue())
        return path

    def path_of(self, hour: datetime) -> Path:
        """Return where an hour is, or would be."""
        period, _ = billing_period(hour)
        return (
            self._root
            / f"billing_period={period:%Y-%m-%d}"
            / f"day={hour:%Y-%m-%d}"
            / f"hour={hour:%H}.parquet"
        )

    def hours(self) -> tuple[datetime, ...]:
        """Return the hours that have a file, oldest first."""
        found = self._root.glob("billing_period=*/day=*/hour=*.parquet")
        return tuple(sorted(_hour_of(path) for path in found))

    def read(self, start: datetime, end: datetime) -> Iterator[Row]:
        """Yield the rows of the hours in `[start, end)`, hour by hour.

        Raises:
            InputError: a file can't be read as Parquet.
        """
        for hour in self.hours():
            if start <= hour < end:
                yield from _read(self.path_of(hour))

    def to_csv(self, path: Path, *, start: datetime, end: datetime) -> int:
        """Write the rows of `[start, end)` as CSV, replacing the file; return how many they are."""
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=[column.name for column in COLUMNS])
        writer.writeheader()
        count = 0
        for row in self.read(start, end):
            writer.writerow({name: _text(cell) for name, cell in row.items()})
            count += 1
        write_atomically(path, text.getvalue().encode())
        return count


def _hour_of(path: Path) -> datetime:
    day = path.parent.name.removeprefix("day=")
    return datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(hours=int(path.stem[5:]))


def _read(path: Path) -> Iterable[Row]:
    try:
        table = pq.read_table(path, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} can't be read as Parquet: {error}; compute its hour again") from (
            error
        )
    return [{name: _cell(name, cell) for name, cell in row.items()} for row in table.to_pylist()]


_TAGS = frozenset(column.name for column in COLUMNS if column.type is Type.TAGS)


def _cell(name: str, cell: Cell) -> Cell:
    if name in _TAGS and cell is not None:
        return dict(cell)  # type: ignore[arg-type] # pairs of a map
    if isinstance(cell, Decimal):
        return cell.normalize() + 0
    return cell


def _text(cell: Cell) -> str:
    """Return a cell as FOCUS wants it in text: ISO 8601 in UTC, plain decimals, JSON for tags."""
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        return f"{cell.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    if isinstance(cell, Decimal):
        return f"{cell:f}"
    if isinstance(cell, str | int):
        return str(cell)
    return json.dumps(dict(cell), sort_keys=True)
