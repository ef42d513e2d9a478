from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from greenlight.adapters.load_plan import GoldenPrompt
from greenlight.adapters.timed_requests import Exchange, FailureKind, TimedRequests
from greenlight.testing.engine_simulator import EngineSimulator
from greenlight.testing.simulation import Simulation

QUICK = {"first_token_s": 0.0, "token_s": 0.0, "tokens": 4}
HELLO = GoldenPrompt(id=0, text="hello", max_tokens=100)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def send(url: str, *, stream: bool, timeout_s: float = 10, late_s: float = 0) -> Exchange:
    async with TimedRequests(timeout_s=timeout_s) as requests:
        began = time.monotonic() - late_s
        return await requests.send(url, model="simulated", prompt=HELLO, stream=stream, began=began)


def ask(
    settings: dict[str, object], *, stream: bool, timeout_s: float = 10, late_s: float = 0
) -> Exchange:
    with EngineSimulator(Simulation.model_validate(QUICK | settings)) as engine:
        return asyncio.run(send(engine.url, stream=stream, timeout_s=timeout_s, late_s=late_s))


def ask_handler(handler: Handler, *, stream: bool = True) -> Exchange:
    """Ask a server that answers with a function of the test."""

    async def run() -> Exchange:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            return await send(f"http://127.0.0.1:{runner.addresses[0][1]}", stream=stream)
        finally:
            await runner.cleanup()

    return asyncio.run(run())


def sse(*events: str) -> Handler:
    async def handler(_: web.Request) -> web.StreamResponse:
        text = "".join(f"data: {event}\n\n" for event in events)
        return web.Response(text=text, content_type="text/event-stream")

    return handler


def piece(text: str, finish: str | None = None, ids: str = "") -> str:
    ended = f'"{finish}"' if finish else "null"
    return f'{{"choices": [{{"delta": {{"content": "{text}"}}, "finish_reason": {ended}{ids}}}]}}'


def usage(tokens: int) -> str:
    return f'{{"choices": [], "usage": {{"completion_tokens": {tokens}}}}}'


def kind_of(exchange: Exchange) -> FailureKind | None:
    return exchange.failure.kind if exchange.failure else None


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_has_its_text_its_tokens_and_why_it_ended(stream: bool) -> None:
    found = ask({"answers": {"hello": "good morning"}}, stream=stream)
    assert found.failure is None
    assert (found.text, found.tokens, found.finish) == ("good morning", 3, "stop")


def test_a_streams_times_follow_the_engines_speed() -> None:
    found = ask({"first_token_s": 0.3, "token_s": 0.1}, stream=True)
    assert found.ttft_s is not None
    assert found.gap_s is not None
    assert found.total_s is not None
    assert 0.3 <= found.ttft_s < 0.45
    assert found.gap_s == pytest.approx(0.1, abs=0.03)
    assert found.total_s == pytest.approx(found.ttft_s + 4 * found.gap_s, abs=0.05)


def test_one_object_has_only_its_whole_time() -> None:
    found = ask({"first_token_s": 0.3}, stream=False)
    assert (found.ttft_s, found.gap_s) == (None, None)
    assert found.total_s is not None
    assert 0.3 <= found.total_s < 0.5


def test_time_counts_from_when_the_request_should_have_been_sent() -> None:
    found = ask({}, stream=True, late_s=2)
    assert found.ttft_s is not None
    assert found.ttft_s >= 2


@pytest.mark.parametrize(
    ("fault", "stream", "kind", "said"),
    [
        ({"error_rate": 1}, False, FailureKind.STATUS, "HTTP 500: .*engine has failed"),
        ({"error_rate": 1}, True, FailureKind.STATUS, "HTTP 500: .*engine has failed"),
        ({"never_ready": True}, True, FailureKind.STATUS, "HTTP 503"),
        ({"cut_stream": 1}, True, FailureKind.TRUNCATED, r"2 tokens came, but no \[DONE\]"),
        ({"stream_error": 1}, True, FailureKind.REPORTED, "Out of blocks"),
        ({"lost_token": 1}, True, FailureKind.MISCOUNTED, "4 tokens came.* usage says 5"),
        ({"without_usage": True}, True, FailureKind.MISCOUNTED, "no usage"),
        ({"without_usage": True}, False, FailureKind.MISCOUNTED, "no usage"),
        ({"crash_after_s": 0.2, "token_s": 9}, True, FailureKind.TRUNCATED, "ClientPayloadError"),
        ({"crash_after_s": 0.2, "token_s": 9}, False, FailureKind.CONNECTION, "Disconnected"),
    ],
)
def test_a_broken_answer_is_a_failure_with_its_reason(
    fault: dict[str, object], stream: bool, kind: FailureKind, said: str
) -> None:
    found = ask(fault, stream=stream)
    assert found.failure is not None
    assert found.failure.kind is kind
    assert re.search(said, found.failure.reason)


@pytest.mark.parametrize("fault", [{"hang_after_s": 0}, {"token_s": 60}])
def test_an_answer_that_takes_too_long_is_given_up(fault: dict[str, object]) -> None:
    began = time.monotonic()
    found = ask(fault, stream=True, timeout_s=0.5)
    assert kind_of(found) is FailureKind.TIMEOUT
    assert time.monotonic() - began < 5


def test_a_timeout_counts_from_when_the_request_should_have_been_sent() -> None:
    assert kind_of(ask({"first_token_s": 1}, stream=True, timeout_s=3, late_s=2.5)) is (
        FailureKind.TIMEOUT
    )


def test_an_engine_that_is_away_is_a_failure() -> None:
    found = asyncio.run(send("http://127.0.0.1:9", stream=True))
    assert kind_of(found) is FailureKind.CONNECTION


@pytest.mark.parametrize(
    ("text", "stream"),
    [("no json", True), ('{"choices": [{}]}', True), ("[]", True), ("{}", False), ("x", False)],
)
def test_an_answer_of_another_shape_is_a_failure(text: str, stream: bool) -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(text=f"data: {text}\n\n" if stream else text)

    assert kind_of(ask_handler(handler, stream=stream)) is FailureKind.MALFORMED


def test_several_tokens_in_one_event_are_all_counted() -> None:
    events = (
        piece("a", ids=', "token_ids": [1]'),
        piece("b c", ids=', "token_ids": [2, 3]'),
        piece("", "stop", ids=', "token_ids": [4]'),
        usage(4),
        "[DONE]",
    )
    found = ask_handler(sse(*events))
    assert found.failure is None
    assert (found.text, found.tokens) == ("ab c", 4)


def test_without_token_ids_a_piece_is_a_token_and_stop_is_one() -> None:
    found = ask_handler(sse(piece("a"), piece("b"), piece("", "stop"), usage(3), "[DONE]"))
    assert (kind_of(found), found.tokens) == (None, 3)
    found = ask_handler(sse(piece("a"), piece("b", "length"), usage(2), "[DONE]"))
    assert (kind_of(found), found.tokens) == (None, 2)
    found = ask_handler(sse(piece("a"), piece("", "stop"), usage(3), "[DONE]"))
    assert kind_of(found) is FailureKind.MISCOUNTED


def test_an_answer_that_does_not_say_why_it_ended_is_cut() -> None:
    assert kind_of(ask_handler(sse(piece("a"), usage(1), "[DONE]"))) is FailureKind.TRUNCATED


def test_events_may_come_in_any_pieces_and_between_comments() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        events = (piece("ä"), piece("b", "length"), usage(2), "[DONE]")
        text = ": keep-alive\r\n\r\n" + "".join(f"data: {event}\r\n\r\n" for event in events)
        for byte in text.encode():
            await response.write(bytes([byte]))
        return response

    found = ask_handler(handler)
    assert (kind_of(found), found.text) == (None, "äb")


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert ask({}, stream=True).failure is None
