"""Spans to a real OTLP/HTTP server, and what happens when it is away."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from greenlight.adapters import otlp
from greenlight.adapters.otlp import OtlpTracer
from greenlight.core.traces import TraceContext, read_trace, trace_of
from greenlight.testing.otlp_sink import otlp_sink
from greenlight.testing.servers import free_port

CALLER = TraceContext(trace_id="a" * 32, span_id="b" * 16, state="k=1")


@pytest.fixture
def sink():
    with otlp_sink() as found:
        yield found


@pytest.fixture
def tracer(sink, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.url)
    made = OtlpTracer("tested")
    yield made
    made.close()


def test_a_span_is_told_with_its_parent_its_facts_and_its_service(sink, tracer):
    span = tracer.begin("work", parent=CALLER)
    span.end({"n": 2, "model": "m"})
    tracer.flush()
    (told,) = sink.spans
    assert (told.service, told.name, told.failed) == ("tested", "work", False)
    assert (told.trace_id, told.parent_id, told.state) == (CALLER.trace_id, CALLER.span_id, "k=1")
    assert told.facts == {"n": "2", "model": "m"}
    assert span.context.span_id == told.span_id != CALLER.span_id
    assert span.context.state == CALLER.state
    assert read_trace(span.context.traceparent).trace_id == CALLER.trace_id


def test_without_a_parent_a_trace_begins(sink, tracer):
    first, second = tracer.begin("a", parent=None), tracer.begin("b", parent=None)
    assert first.context.trace_id != second.context.trace_id
    first.end({})
    tracer.flush()
    assert sink.spans[0].parent_id == ""


def test_what_failed_is_told_by_its_code(sink, tracer):
    tracer.begin("work", parent=None).end({}, failed="circuit_open")
    tracer.flush()
    assert sink.spans[0].failed
    assert sink.spans[0].facts == {"error.type": "circuit_open"}


def test_a_span_whose_ids_are_known_is_told_with_them(sink, tracer):
    root, began = trace_of("rollout", "r1"), datetime.now(UTC) - timedelta(hours=2)
    tracer.begin("step", parent=root).end({})
    tracer.tell(root, "all", began=began, facts={})
    tracer.flush()
    step, whole = sink.spans
    assert (whole.trace_id, whole.span_id, whole.parent_id) == (root.trace_id, root.span_id, "")
    assert step.parent_id == whole.span_id
    assert whole.began_ns == pytest.approx(began.timestamp() * 1e9, abs=2000)
    assert whole.ended_ns - whole.began_ns >= 7200 * 10**9
    assert tracer.begin("next", parent=None).context.span_id != root.span_id


def test_who_was_not_sampled_is_not_told_of_and_stays_unsampled(sink, tracer):
    caller = TraceContext(trace_id="c" * 32, span_id="d" * 16, sampled=False)
    span = tracer.begin("work", parent=caller)
    assert span.context.traceparent.endswith("-00")
    assert span.context.trace_id == caller.trace_id
    span.end({"n": 1})
    tracer.flush()
    assert sink.spans == []


def test_a_dead_collector_costs_a_moment_when_a_process_ends_and_nothing_before(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr(otlp, "WAIT_S", 0.3)
    tracer = OtlpTracer("tested")
    began = time.monotonic()
    for _ in range(5000):  # more than the queue holds
        tracer.begin("work", parent=None).end({"n": 1})
    assert time.monotonic() - began < 5
    ending = time.monotonic()
    tracer.close()
    assert time.monotonic() - ending < 2


def test_a_collector_that_refuses_is_no_concern_of_the_work(sink, tracer):
    sink.status = 400
    tracer.begin("work", parent=None).end({})
    tracer.flush()
    sink.status = 200
    tracer.begin("work", parent=None).end({})
    tracer.flush()
    assert len(sink.spans) == 1
