"""How a look is shown, and what the command says without a Prometheus."""

import io
import re
from datetime import UTC, datetime

import pytest
from rich.console import Console
from typer.testing import CliRunner

from greenlight.cli.main import build
from greenlight.cli.top import screen
from greenlight.core.errors import RefusedError, UnavailableError
from greenlight.entrypoints.top import ALL, ENGINES, MODELS, Cell, Row, View
from greenlight.testing.servers import free_port

NOW = datetime(2026, 11, 26, 7, 0, 5, tzinfo=UTC)


def engine(**cells):
    labels = {"fleet": "one", "host": "gpu-1", "colour": "green"}
    found = dict.fromkeys((*ENGINES, Cell.LIVE)) | {Cell(k): v for k, v in cells.items()}
    return Row(labels=labels, cells=found)


def shown(*, engines=(), models=(), colours=False, **everything):
    cells = dict.fromkeys(ALL) | {Cell(name): value for name, value in everything.items()}
    view = View(
        at=NOW, everything=Row(labels={}, cells=cells), models=tuple(models),
        engines=tuple(engines), cost_hour=datetime(2026, 11, 26, 5, tzinfo=UTC),
    )  # fmt: skip
    stream = io.StringIO()
    system = "standard" if colours else None
    made = Console(file=stream, width=140, color_system=system, force_terminal=colours)
    made.print(screen(view))
    return stream.getvalue()


def line(text, word):
    return next(one for one in text.splitlines() if word in one)


def test_numbers_have_their_units():
    text = shown(engines=[engine(
        up=1, live=1, ttft_p50_s=0.12, ttft_p95_s=0.345, tokens_per_s=1234.56, running=7,
        waiting=0, kv_cache=0.5,
    )])  # fmt: skip
    found = line(text, "gpu-1")
    for word in ("green", "serves", "120 ms", "345 ms", "1,234.6", "50 %"):
        assert word in found
    assert "no data" not in found
    assert "2026-11-26 05:00 UTC" in text


def test_every_cell_without_a_number_says_so():
    assert line(shown(engines=[engine(up=1, live=1)]), "gpu-1").count("no data") == 6
    model = Row(labels={"model": "m"}, cells=dict.fromkeys(MODELS))
    assert line(shown(models=[model]), " m ").count("no data") == 6


def test_a_table_without_a_row_says_so():
    assert shown().count("no data") == 6 + 7 + 10  # cells of the gateway, models, engines


def test_a_measured_zero_is_shown_as_one():
    assert "0.00 %" in shown(failed_share=0.0)


@pytest.mark.parametrize(
    ("up", "live", "word"),
    [(1, 1, "serves"), (1, 0, "up"), (1, None, "up"), (0, 0, "off"), (0, 1, "down"),
     (0, None, "down"), (None, 1, "no data")],
)  # fmt: skip
def test_an_engine_that_is_down_is_told_from_one_that_is_off(up, live, word):
    assert word in line(shown(engines=[engine(up=up, live=live, running=1)]), "gpu-1")


def test_what_is_bad_is_red_on_a_terminal_and_plain_in_a_pipe():
    full = [engine(up=1, live=1, kv_cache=0.99, waiting=20)]
    assert re.search(r"\x1b\[31m *99 %", shown(engines=full, colours=True))
    assert "\x1b" not in shown(engines=full)


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setenv("GREENLIGHT_HOME", str(tmp_path / "a home"))
    return lambda *words: CliRunner().invoke(build(), ["top", *words])


def test_without_a_prometheus_it_says_what_to_run(run):
    assert isinstance(run("--once").exception, RefusedError)


def test_one_that_does_not_answer_is_an_error_and_no_empty_table(run, monkeypatch):
    url = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("GREENLIGHT_PROMETHEUS_URL", url)
    for words in (["--once"], ["--json"], []):
        done = run(*words)
        assert isinstance(done.exception, UnavailableError)
        assert done.stdout == ""
