from pathlib import Path

import numpy as np
import pytest

from greenlight.core.errors import InputError

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
MINUTE = np.timedelta64(1, "m")


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Write text into a file of a folder with spaces, and return what is read."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import series_files

    folder = tmp_path / "some series"
    folder.mkdir()

    def read_text(text, name="a b.csv"):
        path = folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return series_files.read_series(path, name=name)

    read_text.folder = folder
    read_text.module = series_files
    return read_text


GOOD = "timestamp,value\n2026-03-02 00:00:00,1\n2026-03-02 00:05:00,2.5\n"


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        GOOD.replace("timestamp,value", "Time,CPU %"),
        GOOD.replace("timestamp,value\n", ""),
        GOOD.replace(",", ";"),
        GOOD.replace("2026-03-02 00", "2026/03/02 00"),
        GOOD.replace(":00,", ":00+00:00,"),
        GOOD.replace("2026-03-02 00:", "2026-03-02T02:").replace(":00,", ":00+02:00,"),
        "value,timestamp,host\n1,2026-03-02 00:00:00,a\n2.5,2026-03-02 00:05:00,a\n",
        "ts,usage\n1772409600,1\n1772409900,2.5\n",
        "ts,usage\n1772409600000,1\n1772409900000,2.5\n",
        "\ufeff" + GOOD.replace("\n", "\r\n"),
        GOOD + "\n\n",
        "when,bytes\n2026-03-02 00:00:00,1\n2026-03-02 00:05:00,2.5\n",
    ],
)
def test_a_file_with_usual_columns_and_times_is_read(read, text):
    found = read(text)
    assert (
        found.series.times.tolist()
        == np.array(["2026-03-02T00:00", "2026-03-02T00:05"], dtype="datetime64[us]").tolist()
    )
    assert found.series.values.tolist() == [1.0, 2.5]
    assert found.notes == ()


def test_missing_values_stay_missing_and_odd_ones_are_counted(read):
    lines = [
        f"2026-03-02 00:{minute:02}:00,{value}"
        for minute, value in enumerate(
            ["1", "", "NaN", "null", "-3", "inf", "2", "2", "2", "2", "2", "2"]
        )
    ]
    found = read("timestamp,value\n" + "\n".join(lines) + "\n2026-03-02 00:06:00,9\n")
    assert found.series.values.tolist() == [1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    assert found.notes == (
        "2 negative or infinite values left out",
        "1 rows with a time that was there already",
        "3 values missing",
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no rows"),
        ("timestamp,value\n", "no rows"),
        ("a,b\nx,y\n", "no column of times"),
        (GOOD + "soon,3\n", "line 4: 'soon' is not a time"),
        (GOOD + "2026-03-02 00:10:00,much\n", "line 4: 'much' is not a number"),
        ("timestamp,cpu,memory\n2026-03-02 00:00:00,1,2\n", "2 columns of numbers"),
        ("timestamp,name\n2026-03-02 00:00:00,x\n", "0 columns of numbers"),
        ("timestamp,value\n2026-03-02 00:00:00,nan\n", "not one value is there"),
        ("timestamp,value\n2026-03-02 00:00:00,-1\n", "not a usage"),
    ],
)
def test_a_file_that_is_no_series_says_why(read, text, says):
    with pytest.raises(InputError, match=says):
        read(text)


def test_one_broken_file_does_not_stop_the_others(read):
    read(GOOD)
    (read.folder / "broken.CSV").write_bytes(b"\xff\xfe\x00binary")
    (read.folder / "notes.txt").write_text("no series")
    (read.folder / "sub").mkdir()
    (read.folder / "sub/c.csv").write_text(GOOD)
    files, unreadable = read.module.read_folder(read.folder)
    assert [file.name for file in files] == ["a b", "sub/c"]
    assert [file.name for file in unreadable] == ["broken"]


def test_a_folder_without_series_is_refused(read, tmp_path):
    for folder in (read.folder, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="SERIES_DIR="):
            read.module.read_folder(folder)
