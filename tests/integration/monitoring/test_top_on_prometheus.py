"""`greenlight top` on a real Prometheus that holds ten minutes of samples."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from greenlight.testing.prometheus_servers import (
    open_metrics,
    prometheus_program,
    prometheus_server,
)

PROGRAM = Path(sys.executable).with_name("greenlight")
pytestmark = pytest.mark.skipif(prometheus_program() is None, reason="Prometheus is missing")
GREEN = {"fleet": "one", "host": "gpu-1", "colour": "green", "job": "engine"}
BLUE = GREEN | {"colour": "blue"}
EVERY_S, SINCE_S, AHEAD_S = 15, 600, 1800
"""Samples go on into the future: a busy machine takes its time until it asks."""
TTFT = "vllm:time_to_first_token_seconds_bucket"


def samples(now: float) -> str:
    times = [now - SINCE_S + n * EVERY_S for n in range((SINCE_S + AHEAD_S) // EVERY_S)]

    def steady(value: float) -> list[tuple[float, float]]:
        return [(at, value) for at in times]

    def growing(each_s: float) -> list[tuple[float, float]]:
        return [(at, each_s * (at - times[0])) for at in times]

    asked = {"endpoint": "/v1/chat/completions", "method": "POST"}
    return open_metrics(
        [
            ("up", GREEN, steady(1)),
            ("up", BLUE, steady(0)),
            (
                "greenlight_live_version",
                {"fleet": "one", "colour": "green", "model": "m"},
                steady(3),
            ),
            ("vllm:generation_tokens_total", GREEN, growing(50)),
            ("vllm:num_requests_waiting", GREEN, steady(2)),
            ("vllm:gpu_cache_usage_perc", GREEN, steady(0.25)),  # its older name
            (TTFT, GREEN | {"le": "0.1"}, growing(2)),
            (TTFT, GREEN | {"le": "0.2"}, growing(4)),
            (TTFT, GREEN | {"le": "+Inf"}, growing(4)),
            ("http_requests_total", asked | {"status": "200"}, growing(4)),
            ("greenlight_cost_per_hour", {"part": "serving"}, steady(1.5)),
            ("greenlight_cost_per_hour", {"part": "idle"}, steady(0.5)),
            ("greenlight_cost_model_per_hour", {"model": "m"}, steady(1.5)),
            ("greenlight_cost_newest_hour_timestamp_seconds", {}, steady(now - now % 3600 - 7200)),
        ]
    )


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("top") / "a folder with spaces"
    with prometheus_server(folder, samples(time.time())) as found:
        yield found


def top(url: str, home: Path, *words: str) -> str:
    variables = {"GREENLIGHT_PROMETHEUS_URL": url, "GREENLIGHT_HOME": str(home)}
    done = subprocess.run(
        [PROGRAM, "top", *words], env=os.environ | variables, capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    return done.stdout


def test_it_is_what_prometheus_holds(url: str, tmp_path: Path) -> None:
    found: dict[str, Any] = json.loads(top(url, tmp_path, "--json"))
    blue, green = found["engines"]
    assert (green["colour"], green["up"], green["live"]) == ("green", 1, 1)
    assert green["tokens_per_s"] == pytest.approx(50, rel=0.05)
    assert green["ttft_p50_s"] == pytest.approx(0.1, rel=0.05)
    assert (green["waiting"], green["kv_cache"]) == (2, 0.25)
    assert green["running"] is None  # nobody measured it
    assert (blue["up"], blue["live"], blue["tokens_per_s"]) == (0, 0, None)
    everything = found["gateway"]
    assert everything["requests_per_s"] == pytest.approx(4, rel=0.05)
    assert everything["failed_share"] == 0  # some were asked, and none failed
    assert everything["cost_per_hour"] == pytest.approx(2)
    assert (everything["cache_hit_share"], everything["ttft_p95_s"]) == (None, None)
    (model,) = found["models"]
    assert (model["model"], model["cost_per_hour"]) == ("m", 1.5)
    assert found["cost_hour"] is not None


def test_into_a_pipe_it_prints_once_and_without_colours(url: str, tmp_path: Path) -> None:
    said = top(url, tmp_path)
    assert "\x1b" not in said
    for word in ("gpu-1", "serves", "off", "no data", " ms"):
        assert word in said


def test_an_empty_prometheus_has_no_data_for_every_cell(tmp_path: Path) -> None:
    with prometheus_server(tmp_path / "empty", open_metrics([("x", {}, [(1.0, 1.0)])])) as empty:
        found = json.loads(top(empty, tmp_path, "--json"))
    assert set(found["gateway"].values()) == {None}
    assert (found["engines"], found["models"]) == ([], [])


def test_on_a_terminal_it_looks_again_until_it_is_interrupted(url: str, tmp_path: Path) -> None:
    variables = {
        "GREENLIGHT_PROMETHEUS_URL": url, "GREENLIGHT_HOME": str(tmp_path),
        "TERM": "xterm-256color", "COLUMNS": "130", "LINES": "40",
    }  # fmt: skip
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [PROGRAM, "top", "--every", "0.5"], env=os.environ | variables, stdin=theirs,
        stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    said = b""
    try:
        while said.count(b"Greenlight at") < 2:
            said += os.read(ours, 65536)
        process.send_signal(signal.SIGINT)
        while piece := read_some(ours):
            said += piece
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert b"gpu-1" in said
    assert b"\x1b[32m" in said  # colours
    assert said.endswith(b"\x1b[?1049l")  # the screen is given back


def read_some(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""
