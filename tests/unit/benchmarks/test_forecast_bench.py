import importlib
import json
import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture
def bench(monkeypatch, tmp_path):
    """Run the benchmark on a folder of CSV files."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.delitem(sys.modules, "forecast", raising=False)
    folder = tmp_path / "my series"
    folder.mkdir()
    monkeypatch.setenv("SERIES_DIR", str(folder))
    return importlib.import_module("forecast"), folder


def write(folder, name, values, *, step=timedelta(hours=1)):
    start = datetime(2026, 1, 5)  # noqa: DTZ001 - files without a zone are UTC
    rows = [f"{start + i * step},{value}" for i, value in enumerate(values)]
    (folder / name).write_text("\n".join(["timestamp,value", *rows]))


def test_the_last_line_has_every_series_and_says_which_is_too_short(bench, capsys):
    module, folder = bench
    hours = np.arange(10 * 24)
    noise = np.random.default_rng(1).normal(0, 0.3, hours.size)
    write(folder, "days.csv", 10 + 5 * np.sin(hours * 2 * np.pi / 24) + noise)
    write(folder, "short.csv", np.ones(30))
    write(folder, "months.csv", np.ones(12), step=timedelta(days=30))
    assert module.main() == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(found) == {f"my series/{name}" for name in ("days", "short", "months")}
    days = found["my series/days"]
    assert 0 < days["wape"] < days["naive_wape"] < 0.2
    assert 0.5 < days["coverage80"] <= 1
    assert days["model"] in days["models"]
    assert found["my series/short"]["wape"] is None
    assert "at least 5.0 are needed" in found["my series/short"]["too_little_history"]
    assert "every 30.0 days" in found["my series/months"]["too_little_history"]


def test_a_folder_that_is_none_is_named(bench, monkeypatch, capsys, tmp_path):
    module, _ = bench
    monkeypatch.setenv("SERIES_DIR", str(tmp_path / "nowhere"))
    assert module.main() == 2
    assert "nowhere is not a folder" in capsys.readouterr().err
