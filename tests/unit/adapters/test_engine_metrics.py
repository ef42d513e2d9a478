from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from greenlight.adapters.engine_metrics import HttpEngineMetrics, first_tokens_of
from greenlight.deploy.counters import FirstTokens, Unread
from greenlight.deploy.ports import EngineMetrics
from greenlight.testing.engine_simulator import EngineSimulator
from greenlight.testing.servers import free_ports
from greenlight.testing.simulation import Simulation

TWO_ENGINES = """
# HELP vllm:time_to_first_token_seconds Histogram of time to first token in seconds.
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{engine="0",le="2.5",model_name="m"} 3.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="m"} 4.0
vllm:time_to_first_token_seconds_count{engine="0",model_name="m"} 4.0
vllm:time_to_first_token_seconds_sum{engine="0",model_name="m"} 9.5
vllm:time_to_first_token_seconds_bucket{engine="1",le="2.5",model_name="m"} 1.0
vllm:time_to_first_token_seconds_bucket{engine="1",le="+Inf",model_name="m"} 1.0
vllm:time_to_first_token_seconds_count{engine="1",model_name="m"} 1.0
vllm:time_to_first_token_seconds_sum{engine="1",model_name="m"} 0.1
vllm:something_else_bucket{le="2.5"} 7.0
"""


@contextmanager
def simulator(**settings: object) -> Iterator[EngineSimulator]:
    quick = {"first_token_s": 0.0, "token_s": 0.0, "tokens": 4}
    with EngineSimulator(Simulation.model_validate(quick | settings)) as engine:
        yield engine


def ask(engine: EngineSimulator, *, stream: bool) -> None:
    body = {"model": engine.model, "messages": [{"role": "user", "content": "x"}], "stream": stream}
    httpx.post(f"{engine.url}/v1/chat/completions", json=body).raise_for_status()


def read(*urls: str, timeout_s: float = 5.0) -> list[FirstTokens | Unread]:
    metrics: EngineMetrics = HttpEngineMetrics(timeout_s=timeout_s)
    found = metrics.first_tokens(urls)
    return [found[url] for url in urls]


def test_every_request_of_an_engine_is_counted_streamed_or_not() -> None:
    with simulator(first_token_s=0.3) as slow, simulator() as quick:
        for engine, times in ((slow, 1), (quick, 2)):
            for _ in range(times):
                ask(engine, stream=True)
                ask(engine, stream=False)
        found = read(slow.url, quick.url)
    assert [reading.n for reading in found if isinstance(reading, FirstTokens)] == [2, 4]
    of_slow, of_quick = found
    assert isinstance(of_slow, FirstTokens)
    assert isinstance(of_quick, FirstTokens)
    assert (of_slow.later_than(0.25), of_quick.later_than(0.25)) == (2, 0)
    assert of_slow.bounds[-1] == math.inf


def test_an_engine_that_nobody_asked_has_counted_none() -> None:
    with simulator() as engine:
        (found,) = read(engine.url)
    assert isinstance(found, FirstTokens)
    assert found.n == 0


def test_an_engine_that_hangs_or_is_gone_is_unread_beside_one_that_answers() -> None:
    gone = f"http://127.0.0.1:{free_ports(1)[0]}"
    with simulator() as well, simulator(hang_after_s=0) as ill:
        answers, hangs, away = read(well.url, ill.url, gone, timeout_s=1.0)
        assert isinstance(answers, FirstTokens)
        assert hangs == Unread(reason=f"{ill.url}/metrics did not answer within 1 s")
    assert isinstance(away, Unread)
    assert gone in away.reason


async def _serve(text: bytes, status: str, metrics: HttpEngineMetrics) -> FirstTokens | Unread:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + text)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return (await asyncio.to_thread(metrics.first_tokens, [url]))[url]


@pytest.mark.parametrize(
    ("text", "status", "reason"),
    [
        (b"up 1\n", "200 OK", "has no vllm:time_to_first_token_seconds"),
        (b"", "404 Not Found", "HTTP 404"),
        (b'vllm:time_to_first_token_seconds_bucket{le="1"} many\n', "200 OK", "text format"),
        (b"\xff vllm:time_to_first_token_seconds", "200 OK", "text format"),
    ],
)
def test_an_engine_without_such_a_histogram_is_unread_and_says_why(
    text: bytes, status: str, reason: str
) -> None:
    found = asyncio.run(_serve(text, status, HttpEngineMetrics()))
    assert isinstance(found, Unread)
    assert reason in found.reason


def test_copies_of_an_engine_behind_one_address_are_added_up() -> None:
    assert first_tokens_of(TWO_ENGINES) == FirstTokens(bounds=(2.5, math.inf), within=(4, 5))


def test_other_metrics_are_not_this_one() -> None:
    assert first_tokens_of('vllm:e2e_request_latency_seconds_bucket{le="+Inf"} 3.0\n') is None
