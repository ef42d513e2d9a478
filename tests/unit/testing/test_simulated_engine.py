from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from greenlight.testing.engine_simulator import EngineSimulator
from greenlight.testing.simulated_engine import STRANGE, SimulatedEngine
from greenlight.testing.simulation import Simulation
from greenlight.testing.waiting import wait_for

QUICK = {"first_token_s": 0.0, "token_s": 0.0, "tokens": 4}


@pytest.fixture
def start() -> Iterator[Callable[..., EngineSimulator]]:
    engines: list[EngineSimulator] = []

    def make(**settings: object) -> EngineSimulator:
        engines.append(EngineSimulator(Simulation.model_validate(QUICK | settings)).__enter__())
        return engines[-1]

    yield make
    for engine in engines:
        engine.__exit__()


def body(text: str = "hello", **options: object) -> dict[str, object]:
    return {"model": "simulated", "messages": [{"role": "user", "content": text}], **options}


def ask(engine: EngineSimulator, text: str = "hello", **options: object) -> httpx.Response:
    url = f"{engine.url}/v1/chat/completions"
    return httpx.post(url, json=body(text, **options), timeout=10, trust_env=False)


def get(engine: EngineSimulator, path: str, timeout: float = 10) -> httpx.Response:
    return httpx.get(f"{engine.url}{path}", timeout=timeout, trust_env=False)


def plant(engine: EngineSimulator, **changes: object) -> httpx.Response:
    return httpx.post(f"{engine.url}/simulation", json=changes, timeout=10, trust_env=False)


def text_of(response: httpx.Response) -> str:
    return str(response.json()["choices"][0]["message"]["content"])


def events_of(response: httpx.Response) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def metrics(engine: EngineSimulator) -> dict[str, float]:
    families = text_string_to_metric_families(get(engine, "/metrics").text)
    found = {}
    for sample in (sample for family in families for sample in family.samples):
        if "le" not in sample.labels:
            assert sample.labels["model_name"] == "simulated"
            found[sample.name + sample.labels.get("finished_reason", "")] = sample.value
    return found


def test_an_engine_loads_and_then_is_ready(start: Callable[..., EngineSimulator]) -> None:
    engine = start(load_s=0.3)
    assert get(engine, "/health").status_code == 503
    assert ask(engine).status_code == 503
    wait_for(lambda: get(engine, "/health").status_code == 200)
    assert ask(engine).status_code == 200


def test_an_engine_that_never_gets_ready_does_not(start: Callable[..., EngineSimulator]) -> None:
    engine = start(never_ready=True)
    assert get(engine, "/health").status_code == 503
    plant(engine, never_ready=False)
    assert get(engine, "/health").status_code == 200


def test_the_models_folder_is_read_back(start: Callable[..., EngineSimulator]) -> None:
    engine = start()
    (model,) = get(engine, "/v1/models").json()["data"]
    assert (model["id"], model["root"]) == ("simulated", "/models/simulated")
    plant(engine, strange=True)
    (model,) = get(engine, "/v1/models").json()["data"]
    assert model["root"] == STRANGE


def test_one_object_and_a_stream_say_the_same(start: Callable[..., EngineSimulator]) -> None:
    engine = start()
    whole = ask(engine)
    stream = ask(engine, stream=True, stream_options={"include_usage": True})
    assert stream.headers["content-type"].startswith("text/event-stream")
    *chunks, usage, done = events_of(stream)
    spelled = "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks)
    assert spelled == text_of(whole)
    assert usage["usage"] == whole.json()["usage"]
    assert done == "[DONE]"


def test_a_text_completion_is_answered_too(start: Callable[..., EngineSimulator]) -> None:
    engine = start()
    said = {"model": "simulated", "prompt": "hello", "max_tokens": 2}
    found = httpx.post(f"{engine.url}/v1/completions", json=said, trust_env=False).json()
    assert found["object"] == "text_completion"
    assert found["usage"] == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


@pytest.mark.parametrize(
    ("sent", "status", "kind"),
    [
        (b"{", 400, "BadRequestError"),
        (b"\xff", 400, "BadRequestError"),
        (b'{"model": "simulated"}', 400, "BadRequestError"),
        (json.dumps(body(max_tokens=0)).encode(), 400, "BadRequestError"),
        (json.dumps(body(model="another")).encode(), 404, "NotFoundError"),
    ],
)
def test_bad_input_gets_openais_error_object(
    start: Callable[..., EngineSimulator], sent: bytes, status: int, kind: str
) -> None:
    url = f"{start().url}/v1/chat/completions"
    response = httpx.post(url, content=sent, trust_env=False)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["type"]) == (status, status, kind)
    assert error["message"]


def test_prometheus_is_told_what_vllm_tells(start: Callable[..., EngineSimulator]) -> None:
    engine = start(cut_stream=1)
    ask(engine)
    ask(engine, max_tokens=2)
    ask(engine, stream=True)
    plant(engine, error_rate=1, cut_stream=0)
    ask(engine)
    found = metrics(engine)
    assert found["vllm:prompt_tokens_total"] == 3 * 5
    assert found["vllm:generation_tokens_total"] == 5 + 2 + 2
    for reason in ("stop", "length", "abort", "error"):
        assert found[f"vllm:request_success_total{reason}"] == 1
    assert found["vllm:time_to_first_token_seconds_count"] == 3
    assert found["vllm:inter_token_latency_seconds_count"] == 1
    assert found["vllm:e2e_request_latency_seconds_count"] == 3
    assert found["vllm:num_requests_running"] == found["vllm:num_requests_waiting"] == 0


def test_more_requests_than_fit_have_to_wait(start: Callable[..., EngineSimulator]) -> None:
    engine = start(max_num_seqs=1, first_token_s=0.5)
    threads = [threading.Thread(target=ask, args=(engine,)) for _ in range(2)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    wait_for(lambda: metrics(engine)["vllm:num_requests_waiting"] == 1)
    assert metrics(engine)["vllm:num_requests_running"] == 1
    for thread in threads:
        thread.join(10)
    assert time.monotonic() - began >= 1
    assert engine.most_in_flight == 2


def test_a_client_that_hangs_up_frees_its_place(start: Callable[..., EngineSimulator]) -> None:
    engine = start(first_token_s=60)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{engine.url}/v1/chat/completions", json=body(), timeout=0.2, trust_env=False)
    wait_for(lambda: metrics(engine)["vllm:request_success_totalabort"] == 1)
    assert metrics(engine)["vllm:num_requests_running"] == 0


def test_settings_can_be_read_and_changed_while_it_runs(
    start: Callable[..., EngineSimulator],
) -> None:
    engine = start()
    assert plant(engine, error_rate=0.25).json()["error_rate"] == 0.25
    assert Simulation.model_validate(get(engine, "/simulation").json()).tokens == 4


@pytest.mark.parametrize("change", ['{"tokens": 0}', '{"no_such": 1}', "[]", "{"])
def test_a_change_that_makes_no_sense_changes_nothing(
    start: Callable[..., EngineSimulator], change: str
) -> None:
    engine = start()
    before = get(engine, "/simulation").json()
    response = httpx.post(f"{engine.url}/simulation", content=change, trust_env=False)
    assert response.status_code == 400
    assert get(engine, "/simulation").json() == before


def test_a_wrong_text_is_another_text(start: Callable[..., EngineSimulator]) -> None:
    engine = start()
    right = text_of(ask(engine))
    plant(engine, wrong_text=True)
    assert text_of(ask(engine)) != right


def test_the_error_rate_is_the_share_of_requests(start: Callable[..., EngineSimulator]) -> None:
    engine = start(error_rate=0.5)
    codes = [ask(engine).status_code for _ in range(60)]
    assert set(codes) == {200, 500}
    assert 15 <= codes.count(500) <= 45


def test_a_cut_stream_ends_without_its_last_event(start: Callable[..., EngineSimulator]) -> None:
    engine = start(cut_stream=1)
    events = events_of(ask(engine, stream=True))
    assert len(events) == 1 + 2
    assert all(event["choices"][0]["finish_reason"] is None for event in events)
    assert ask(engine).status_code == 200


def test_a_fault_may_begin_later(start: Callable[..., EngineSimulator]) -> None:
    engine = start(error_rate=1, start_after_s=0.5)
    assert ask(engine).status_code == 200
    wait_for(lambda: ask(engine).status_code == 500)
    plant(engine, start_after_s=60)
    assert ask(engine).status_code == 200


def test_a_hanging_engine_answers_nothing_until_it_is_told_to(
    start: Callable[..., EngineSimulator],
) -> None:
    engine = start(hang_after_s=0)
    for path in ("/health", "/v1/models", "/metrics"):
        with pytest.raises(httpx.ReadTimeout):
            get(engine, path, timeout=0.2)
    answered: list[int] = []
    waiting = threading.Thread(target=lambda: answered.append(ask(engine).status_code))
    waiting.start()
    plant(engine, hang_after_s=None)
    waiting.join(10)
    assert answered == [200]


def test_a_hang_freezes_open_streams(start: Callable[..., EngineSimulator]) -> None:
    engine = start(token_s=0.05, tokens=1000)
    with httpx.stream(
        "POST",
        f"{engine.url}/v1/chat/completions",
        json=body(stream=True),
        timeout=0.5,
        trust_env=False,
    ) as response:
        lines = response.iter_lines()
        next(lines)
        plant(engine, hang_after_s=0)
        with pytest.raises(httpx.ReadTimeout):
            list(lines)


def test_a_crash_breaks_connections_and_leaves_nobody_listening(
    start: Callable[..., EngineSimulator],
) -> None:
    engine = start(first_token_s=60, crash_after_s=0.3)
    with pytest.raises(httpx.RemoteProtocolError):
        ask(engine)
    with pytest.raises(httpx.ConnectError):
        get(engine, "/health")
    engine.change(crash_after_s=None)  # too late, and no wait


def test_memory_is_really_taken(start: Callable[..., EngineSimulator]) -> None:
    engine = start()
    before = psutil.Process().memory_info().rss
    plant(engine, memory_mb=64)
    assert psutil.Process().memory_info().rss - before > 48 * 2**20
    plant(engine, memory_mb=0)


def test_no_more_requests_are_kept_than_a_test_looks_at(tmp_path: Path) -> None:
    engine = SimulatedEngine(Simulation(), names=("m",), root=str(tmp_path), on_crash=lambda: None)
    engine.requests.extend({"n": n} for n in range(5000))
    assert len(engine.requests) == 1000
