"""One trace from the client through the gateway and a real HAProxy to the engine, and its spans."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from greenlight.adapters.otlp import OtlpTracer
from greenlight.core.clock import SystemClock
from greenlight.core.errors import ResourceError
from greenlight.core.logs import EcsFormatter
from greenlight.core.traces import Tracer, Untraced, read_trace
from greenlight.deploy.colours import Colour
from greenlight.deploy.ports import ServerMode
from greenlight.testing.engine_simulator import EngineSimulator
from greenlight.testing.gateway_worlds import (
    KEY,
    MODEL,
    GatewayWorld,
    gateway_file,
    write_tokenizer,
)
from greenlight.testing.haproxy_worlds import LONG, a_fleet, haproxy_program, haproxy_router
from greenlight.testing.memory_limits import MemoryLimits
from greenlight.testing.otlp_sink import OtlpSink, ToldSpan, otlp_sink
from greenlight.testing.servers import free_port
from greenlight.testing.simulation import Simulation
from greenlight.testing.waiting import wait_for

pytestmark = pytest.mark.skipif(haproxy_program() is None, reason="HAProxy is not installed")
eventually = partial(wait_for, seconds=10)
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALLER = f"00-{TRACE}-{SPAN}-01"
PROMPT, ANSWER = "a prompt that nobody may read", "an answer that nobody may read"
GREEN = Colour.GREEN


class World:
    """A gateway before a router before one engine, which answers by heart."""

    def __init__(self, gateway: GatewayWorld, engine: EngineSimulator, router_log: Path) -> None:
        self.gateway, self.engine, self.router_log = gateway, engine, router_log

    def ask(self, **headers: str) -> httpx.Response:
        given = [("Authorization", f"Bearer {KEY}"), *headers.items()]
        return self.send([(name.replace("_", "-"), value) for name, value in given])

    def send(self, headers: list[tuple[str, str]], **changes: Any) -> httpx.Response:
        body = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}]} | changes
        url = f"{self.gateway.url}/v1/chat/completions"
        return httpx.post(url, json=body, headers=headers, timeout=30)

    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = eventually(lambda: self.gateway.records)[-1]
        return found


@contextmanager
def a_world(folder: Path, tracer: Tracer) -> Iterator[World]:
    quick = Simulation(first_token_s=0.01, token_s=0.001, tokens=8, answers={PROMPT: ANSWER})
    with ExitStack() as stack:
        engine = stack.enter_context(EngineSimulator(quick, model=MODEL))
        port = int(engine.url.rpartition(":")[2])
        fleet = a_fleet({("gpu-1", Colour.BLUE): free_port(), ("gpu-1", GREEN): port})
        router = stack.enter_context(haproxy_router(fleet, folder))
        router.set_modes({("gpu-1", GREEN): ServerMode.READY}, fence=1)
        eventually(lambda: any(server.up for server in router.state().of(GREEN)))
        router.shift({GREEN: 100}, fence=1)
        file = gateway_file(
            f"http://127.0.0.1:{fleet.router.port}", write_tokenizer(folder / "tokenizer")
        )
        limits = MemoryLimits(SystemClock())
        gateway = stack.enter_context(GatewayWorld(file, limits=limits, tracer=tracer))
        yield World(gateway, engine, folder / LONG / "router")


@pytest.fixture
def sink() -> Iterator[OtlpSink]:
    with otlp_sink() as found:
        yield found


@pytest.fixture
def tracer(sink: OtlpSink, monkeypatch: pytest.MonkeyPatch) -> Iterator[OtlpTracer]:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.url)
    made = OtlpTracer("greenlight-gateway")
    yield made
    made.close()


@pytest.fixture
def world(tmp_path: Path, tracer: OtlpTracer) -> Iterator[World]:
    with a_world(tmp_path, tracer) as found:
        yield found


def told(sink: OtlpSink, tracer: OtlpTracer, number: int = 1) -> list[ToldSpan]:
    def spans() -> list[ToldSpan]:
        tracer.flush()
        return sink.spans if len(sink.spans) >= number else []

    return list(eventually(spans))


def test_client_gateway_and_engine_are_in_one_trace(
    world: World, sink: OtlpSink, tracer: OtlpTracer
) -> None:
    answer = world.ask(traceparent=CALLER, tracestate="vendor=1")
    assert answer.status_code == 200
    (span,) = told(sink, tracer)
    assert (span.trace_id, span.parent_id, span.state) == (TRACE, SPAN, "vendor=1")
    (sent,) = world.engine.traceparents
    asked = read_trace(sent)
    assert asked is not None
    assert (asked.trace_id, asked.span_id) == (TRACE, span.span_id)
    assert world.record()["trace_id"] == TRACE


def test_the_span_says_what_became_of_the_request_and_nothing_of_its_text(
    world: World, sink: OtlpSink, tracer: OtlpTracer
) -> None:
    answer = world.ask()
    assert ANSWER in answer.text
    (span,) = told(sink, tracer)
    assert span.name == "POST /v1/chat/completions"
    assert span.facts["http.response.status_code"] == "200"
    assert span.facts["gen_ai.request.model"] == MODEL
    assert span.facts["greenlight.colour"] == "green"
    assert int(span.facts["gen_ai.usage.output_tokens"]) > 0
    assert not span.failed
    for secret in (PROMPT, ANSWER, KEY):
        assert secret.encode() not in sink.raw
        assert secret not in json.dumps(world.gateway.records)


def test_the_answer_says_nothing_of_the_trace(world: World) -> None:
    headers = world.ask(traceparent=CALLER).headers
    assert not {"traceparent", "tracestate", "traceresponse"} & set(headers)


@pytest.mark.parametrize(
    "headers",
    [
        [("traceparent", f"00-{TRACE.upper()}-{SPAN}-01")],
        [("traceparent", f"00-{'0' * 32}-{SPAN}-01")],
        [("traceparent", f"ff-{TRACE}-{SPAN}-01")],
        [("traceparent", CALLER + "-more")],
        [("traceparent", CALLER), ("traceparent", CALLER)],
        [("traceparent", "x" * 4000)],
        [("tracestate", "vendor=1")],
    ],
)
def test_a_trace_that_breaks_the_format_is_not_the_callers(
    world: World, headers: list[tuple[str, str]]
) -> None:
    answer = world.send([("Authorization", f"Bearer {KEY}"), *headers])
    assert answer.status_code == 200
    asked = read_trace(world.engine.traceparents[-1])
    assert asked is not None
    assert asked.trace_id != TRACE
    assert world.record()["trace_id"] == asked.trace_id


def test_a_state_beyond_its_limits_goes_no_further(
    world: World, sink: OtlpSink, tracer: OtlpTracer
) -> None:
    world.ask(traceparent=CALLER, tracestate=",".join(f"k{n}=1" for n in range(33)))
    (span,) = told(sink, tracer)
    assert (span.trace_id, span.state) == (TRACE, "")


def test_who_is_refused_is_told_with_the_code_and_no_engine_is_asked(
    world: World, sink: OtlpSink, tracer: OtlpTracer
) -> None:
    assert world.send([("Authorization", "Bearer stranger")]).status_code == 401
    (span,) = told(sink, tracer)
    assert span.facts["http.response.status_code"] == "401"
    assert not span.failed  # what a client does wrong is no failure of ours
    assert world.engine.traceparents == []


def test_an_engine_that_fails_is_a_failed_span_and_the_router_logs_the_trace(
    world: World, sink: OtlpSink, tracer: OtlpTracer
) -> None:
    world.engine.change(error_rate=1.0)
    assert world.ask(traceparent=CALLER).status_code == 500
    (span,) = told(sink, tracer)
    assert span.failed
    assert span.facts["error.type"] == "500"

    def logged() -> bool:
        return any(CALLER[:35] in file.read_text() for file in world.router_log.glob("*.log"))

    eventually(logged)


def test_lines_that_are_logged_for_a_request_are_found_by_its_trace(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise ResourceError("the disk is full")

    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(EcsFormatter("greenlight-gateway"))
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    monkeypatch.setattr(type(world.gateway.trail), "record", full)
    assert world.ask(traceparent=CALLER).status_code == 200
    eventually(stream.getvalue)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    (line,) = [line for line in lines if line["log.level"] == "error"]
    assert "the disk is full" in line["message"]
    assert line["trace.id"] == TRACE


def test_a_dead_collector_changes_nothing_for_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    tracer = OtlpTracer("greenlight-gateway")
    with a_world(tmp_path, tracer) as world:
        for _ in range(20):
            answer = world.ask()
            assert answer.status_code == 200
            assert answer.elapsed.total_seconds() < 5
    tracer.close()


def test_untraced_the_callers_place_goes_on_to_the_engine_as_it_is(tmp_path: Path) -> None:
    with a_world(tmp_path, Untraced()) as world:
        world.ask(traceparent=CALLER)
        world.ask()
        first, second = world.engine.traceparents
        assert first == CALLER
        assert read_trace(second)
        assert second != CALLER
