"""Series from other people's CSV files: what can be read is read, what can't is said.

Files need a column of times and one of values. Columns called timestamp and value (or another
usual name) are taken, else the only one that fits. Times are ISO 8601 or Unix seconds (also in
milli-, micro- or nanoseconds); without a zone they are UTC. Empty and NaN values are missing, which
isn't zero; infinite and negative ones are left out as untrusted and counted.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from greenlight.core.errors import InputError
from greenlight.cost.rightsizing.series import Floats, Resource, Times, UsageSeries

TIME_NAMES = ("timestamp", "time", "datetime", "date", "ts", "ds", "@timestamp")
VALUE_NAMES = ("value", "values", "usage", "val", "y")
MISSING = {"", "nan", "null", "none", "na", "n/a", "-"}
UNTRUSTED_AT_MOST = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesFile:
    """A file's series. `notes`: what was left out of it."""

    name: str
    series: UsageSeries
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A file that holds no series, and why."""

    name: str
    why: str


def read_folder(folder: Path) -> tuple[list[SeriesFile], list[Unreadable]]:
    """Read every CSV file of a folder and its subfolders.

    Raises:
        InputError: it isn't a folder, or holds no CSV file.
    """
    if not folder.is_dir():
        raise InputError(f"SERIES_DIR={folder} is not a folder: name one with CSV files in it")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() == ".csv" and p.is_file())
    if not paths:
        raise InputError(f"SERIES_DIR={folder} holds no *.csv file")
    read: list[SeriesFile] = []
    unreadable: list[Unreadable] = []
    for path in paths:
        name = path.relative_to(folder).with_suffix("").as_posix()
        try:
            read.append(read_series(path, name=name))
        except (InputError, OSError, UnicodeDecodeError, csv.Error) as error:
            unreadable.append(Unreadable(name=name, why=str(error)))
    return read, unreadable


def read_series(path: Path, *, name: str) -> SeriesFile:
    """Return the series of one file.

    Raises:
        InputError: it has no rows, no columns that fit, or a value that is not a number.
    """
    header, rows = _table(path.read_text("utf-8-sig"))
    if not rows:
        raise InputError("no rows")
    time_column, value_column = _columns(header, rows)
    times, values = _samples(rows, time_column, value_column)
    notes = []
    odd = np.isinf(values) | (values < 0)
    if odd.mean() > UNTRUSTED_AT_MOST:
        raise InputError(f"{odd.mean():.0%} of the values are negative or infinite: not a usage")
    if odd.any():
        notes.append(f"{odd.sum()} negative or infinite values left out")
    times, first = np.unique(times, return_index=True)
    if first.size < values.size:
        notes.append(f"{values.size - first.size} rows with a time that was there already")
    values, odd = values[first], odd[first]
    if not np.isfinite(values[~odd]).any():
        raise InputError("not one value is there")
    if (missing := int(np.isnan(values).sum())) > 0:
        notes.append(f"{missing} values missing")
    series = UsageSeries.of(times, values, resource=Resource.CPU, unit="", trusted=~odd)
    return SeriesFile(name=name, series=series, notes=tuple(notes))


def _table(text: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the header, empty where there is none, and the rows with their line numbers."""
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    lines = csv.reader(text.splitlines(), delimiter=delimiter)
    rows = [
        (number, [cell.strip() for cell in row])
        for number, row in enumerate(lines, 1)
        if any(cell.strip() for cell in row)
    ]
    if rows and not any(_time(cell) for cell in rows[0][1]):
        return [cell.lower() for cell in rows[0][1]], rows[1:]
    return [], rows


def _columns(header: Sequence[str], rows: Sequence[tuple[int, list[str]]]) -> tuple[int, int]:
    row = rows[0][1]
    time = next((header.index(name) for name in TIME_NAMES if name in header), None)
    if time is None:
        dates = [i for i, cell in enumerate(row) if _time(cell) and not _is_number(cell)]
        numbers = [i for i, cell in enumerate(row) if _time(cell)]
        if not dates and not numbers:
            raise InputError(f"no column of times (ISO 8601 or Unix) in {header or row}")
        time = (dates or numbers)[0]
    value = next((header.index(name) for name in VALUE_NAMES if name in header), None)
    if value is not None and value != time:
        return time, value
    numeric = [
        i for i in range(len(row)) if i != time and all(_fits(cells, i) for _, cells in rows[:100])
    ]
    if len(numeric) != 1:
        raise InputError(
            f"{len(numeric)} columns of numbers in {header or row}: call one of them value"
        )
    return time, numeric[0]


def _fits(cells: list[str], column: int) -> bool:
    return column >= len(cells) or cells[column].lower() in MISSING or _is_number(cells[column])


def _samples(
    rows: Sequence[tuple[int, list[str]]], time_column: int, value_column: int
) -> tuple[Times, Floats]:
    times, values = [], []
    for number, cells in rows:
        time = _time(cells[time_column]) if time_column < len(cells) else None
        if time is None:
            cell = cells[time_column] if time_column < len(cells) else ""
            raise InputError(f"line {number}: {cell!r} is not a time (ISO 8601 or Unix)")
        cell = cells[value_column] if value_column < len(cells) else ""
        if cell.lower() not in MISSING and not _is_number(cell):
            raise InputError(f"line {number}: {cell!r} is not a number")
        times.append(time)
        values.append(math.nan if cell.lower() in MISSING else float(cell))
    return np.array(times, dtype="datetime64[us]"), np.array(values, dtype=np.float64)


def _time(cell: str) -> datetime | None:
    """Return a time in UTC, without a zone as NumPy has it; `None` where it is none."""
    if _is_number(cell):
        return _unix(float(cell))
    try:
        moment = datetime.fromisoformat(cell.replace("/", "-"))
    except ValueError:
        return None
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _unix(number: float) -> datetime | None:
    """Return the time of a number that is one: seconds since 1970 or thousandths of these."""
    for scale in (1.0, 1e3, 1e6, 1e9):
        if 3e8 <= number / scale < 1e10:  # 1979 to 2286
            return datetime.fromtimestamp(number / scale, UTC).replace(tzinfo=None)
    return None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def notes_of(files: Sequence[SeriesFile], unreadable: Sequence[Unreadable]) -> Iterator[str]:
    """Yield a line for every file of which something was left out."""
    for file in files:
        if file.notes:
            yield f"  {file.name}: {', '.join(file.notes)}"
    for broken in unreadable:
        yield f"  {broken.name}: left out, {broken.why}"
