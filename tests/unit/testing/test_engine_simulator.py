from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.testing.engine_simulator import CRASHED, EngineSimulator, read_arguments, run
from greenlight.testing.servers import free_port
from greenlight.testing.simulation import FILE, Simulation
from greenlight.testing.waiting import wait_for

Start = Callable[..., tuple[subprocess.Popen[bytes], str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A starter of simulators as processes; gives the process and its address."""
    processes: list[subprocess.Popen[bytes]] = []

    def make(*flags: str) -> tuple[subprocess.Popen[bytes], str]:
        url = f"http://127.0.0.1:{(port := free_port())}"
        command = [sys.executable, "-m", "greenlight.testing.engine_simulator"]
        command += ["--model", str(tmp_path), "--served-model-name", "m", "alias"]
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), *flags], stderr=subprocess.PIPE
        )
        processes.append(process)
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:
            try:
                httpx.get(f"{url}/v1/models", timeout=5, trust_env=False)
                break
            except httpx.TransportError:
                time.sleep(0.05)
        return process, url

    yield make
    for process in processes:
        process.kill()
        process.communicate(timeout=10)


def ask(url: str, **options: object) -> dict[str, Any]:
    return {
        "method": "POST",
        "url": f"{url}/v1/chat/completions",
        "json": {"model": "alias", "messages": [{"role": "user", "content": "hello"}], **options},
        "timeout": 20,
    }


def test_it_serves_in_vllms_place(start: Start, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"tokens": 3, "first_token_s": 0}')
    vllms = ("--dtype", "float32", "--max-model-len", "512", "--enforce-eager")
    _, url = start(*vllms, "--tokens", "5", "--wrong-text")
    models = httpx.get(f"{url}/v1/models", trust_env=False).json()["data"]
    assert [(m["id"], m["root"]) for m in models] == [
        ("m", str(tmp_path)),
        ("alias", str(tmp_path)),
    ]
    settings = httpx.get(f"{url}/simulation", trust_env=False).json()
    assert (settings["tokens"], settings["first_token_s"]) == (5, 0)
    assert settings["wrong_text"]
    answer = httpx.request(**ask(url)).json()
    assert answer["usage"]["completion_tokens"] == 6


def test_sigterm_lets_open_streams_end(start: Start) -> None:
    process, url = start("--shutdown-timeout", "20", "--tokens", "30", "--token-s", "0.03")
    with httpx.stream(**ask(url, stream=True)) as response:
        lines = response.iter_lines()
        next(lines)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/health", trust_env=False)
        assert [line for line in lines if line][-1] == "data: [DONE]"
    assert process.wait(10) == 0


def test_sigterm_loses_no_answer(start: Start) -> None:
    """Forty answers that end around the time of the signal: all are written."""
    process, url = start("--shutdown-timeout", "20", "--first-token-s", "2", "--jitter", "0.1")
    with httpx.Client(trust_env=False) as client, ThreadPoolExecutor(40) as threads:
        asked = [threads.submit(client.request, **ask(url)) for _ in range(40)]
        running = 'num_requests_running{engine="0",model_name="m"} 40.0'
        wait_for(lambda: running in client.get(f"{url}/metrics").text, seconds=20)
        wait_for(lambda: any(future.done() for future in asked), seconds=20)
        process.send_signal(signal.SIGTERM)
        assert [future.result(20).status_code for future in asked] == [200] * 40
    assert process.wait(10) == 0


def test_streams_that_take_too_long_are_cut(start: Start) -> None:
    process, url = start("--shutdown-timeout", "0.3", "--tokens", "1000", "--token-s", "0.1")
    with httpx.stream(**ask(url, stream=True)) as response:
        lines = response.iter_lines()
        next(lines)
        process.send_signal(signal.SIGTERM)
        with pytest.raises(httpx.RemoteProtocolError):
            list(lines)
    assert process.wait(10) == 0


def test_an_engine_without_requests_stops_at_once(start: Start) -> None:
    process, url = start("--shutdown-timeout", "60")
    httpx.get(f"{url}/health", trust_env=False)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_a_crash_ends_the_process(start: Start) -> None:
    process, url = start("--first-token-s", "60")
    httpx.post(f"{url}/simulation", json={"crash_after_s": 0.2}, trust_env=False)
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.request(**ask(url))
    assert process.wait(10) == CRASHED


def test_a_death_says_its_words_and_fails(start: Start) -> None:
    process, _ = start("--death", "ValueError: no such quantization")
    assert process.wait(10) == 1
    assert process.stderr is not None
    assert b"ValueError: no such quantization" in process.stderr.read()


def test_a_setting_out_of_range_does_not_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--model", str(tmp_path), "--error-rate", "2"]
    assert run(lambda: read_arguments(flags)) == 2
    assert "error_rate" in capsys.readouterr().err


def test_flags_win_over_the_folders_settings(tmp_path: Path) -> None:
    stored = {"tokens": 3, "wrong_text": True, "answers": {"a": "b"}, "jitter": 0.1}
    (tmp_path / FILE).write_text(json.dumps(stored))
    flags = ["--model", str(tmp_path), "--tokens", "5", "--no-wrong-text", "--port", "81"]
    simulation, serving = read_arguments(flags)
    assert simulation == Simulation(tokens=5, answers={"a": "b"}, jitter=0.1)
    assert (serving.names, serving.port) == ((str(tmp_path),), 81)


@pytest.mark.parametrize("name", sorted(set(Simulation.model_fields) - {"answers"}))
def test_every_setting_but_the_answers_has_a_flag(tmp_path: Path, name: str) -> None:
    switch = Simulation.model_fields[name].annotation is bool
    flags = [f"--{name.replace('_', '-')}", *([] if switch else ["1"])]
    simulation, _ = read_arguments(["--model", str(tmp_path), *flags])
    assert simulation == Simulation().changed({name: True if switch else "1"})


def test_in_a_thread_it_is_changed_from_the_test() -> None:
    with EngineSimulator(Simulation(first_token_s=0, token_s=0), model="alias") as engine:
        assert httpx.request(**ask(engine.url)).status_code == 200
        engine.change(error_rate=1)
        assert httpx.request(**ask(engine.url)).status_code == 500
        httpx.post(f"{engine.url}/simulation", json={"tokens": 1})
        engine.change(error_rate=0)
        assert httpx.request(**ask(engine.url)).json()["usage"]["completion_tokens"] == 2
        with pytest.raises(ConfigError, match="no_such"):
            engine.change(no_such=1)
    assert [request["model"] for request in engine.requests] == ["alias"] * 3


def test_what_is_not_started_has_no_requests() -> None:
    with pytest.raises(UnavailableError, match="not started"):
        _ = EngineSimulator().requests
