"""Spans over OTLP/HTTP, by OpenTelemetry's SDK: in batches, from a thread beside the work.

A collector that is away costs spans and lines in the log, never a request: the queue is bounded and
what doesn't fit is dropped. The SDK reads the standard variables (endpoint, headers, certificate,
sampler, sizes of batches) by itself.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import datetime

from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from greenlight.core.traces import Fact, Span, SpanKind, TraceContext

WAIT_S = 3.0
"""How long what waits may take to be sent, when a process must go on or end."""
KINDS = {SpanKind.SERVER: otel.SpanKind.SERVER, SpanKind.INTERNAL: otel.SpanKind.INTERNAL}
ERROR_TYPE = "error.type"
_WANTED: ContextVar[TraceContext | None] = ContextVar("wanted", default=None)


class _Ids(RandomIdGenerator):
    """Random ids, except for a span whose ids others know already."""

    def generate_trace_id(self) -> int:
        wanted = _WANTED.get()
        return super().generate_trace_id() if wanted is None else int(wanted.trace_id, 16)

    def generate_span_id(self) -> int:
        wanted = _WANTED.get()
        return super().generate_span_id() if wanted is None else int(wanted.span_id, 16)


class OtlpSpan:
    """Implements `core.traces.Span`."""

    def __init__(self, span: otel.Span, *, state: str) -> None:
        self._span = span
        found = span.get_span_context()
        self.context = TraceContext(
            trace_id=f"{found.trace_id:032x}",
            span_id=f"{found.span_id:016x}",
            sampled=found.trace_flags.sampled,
            state=state,
        )

    def end(self, facts: Mapping[str, Fact], *, failed: str | None = None) -> None:
        """Hand it to the thread that sends."""
        self._span.set_attributes(dict(facts))
        if failed is not None:
            self._span.set_attribute(ERROR_TYPE, failed)
            self._span.set_status(otel.Status(otel.StatusCode.ERROR))
        self._span.end()


class OtlpTracer:
    """Implements `core.traces.Tracer`."""

    def __init__(self, service: str) -> None:
        """Begin the thread; nobody is asked yet. `service`: the name that viewers show."""
        self._provider = TracerProvider(
            resource=Resource.create({SERVICE_NAME: service}),
            id_generator=_Ids(),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("greenlight")
        atexit.register(self.close)

    def begin(
        self, name: str, *, parent: TraceContext | None, kind: SpanKind = SpanKind.INTERNAL
    ) -> Span:
        """Begin a span; whether it is told is the sampler's choice."""
        span = self._tracer.start_span(name, context=_context(parent), kind=KINDS[kind])
        return OtlpSpan(span, state="" if parent is None else parent.state)

    def tell(
        self,
        context: TraceContext,
        name: str,
        *,
        began: datetime,
        facts: Mapping[str, Fact],
        failed: str | None = None,
    ) -> None:
        """Tell of a span that ends now and has these ids."""
        token = _WANTED.set(context)
        try:
            span = self._tracer.start_span(
                name, context=Context(), start_time=int(began.timestamp() * 1e9)
            )
        finally:
            _WANTED.reset(token)
        OtlpSpan(span, state="").end(facts, failed=failed)

    def flush(self) -> None:
        """Send what waits, for three seconds at most."""
        _for_a_moment(self._provider.force_flush)

    def close(self) -> None:
        """Send what waits, for three seconds at most, and end; twice is fine."""
        atexit.unregister(self.close)
        _for_a_moment(self._provider.shutdown)


def _context(parent: TraceContext | None) -> Context:
    if parent is None:
        return Context()
    remote = otel.SpanContext(
        int(parent.trace_id, 16),
        int(parent.span_id, 16),
        is_remote=True,
        trace_flags=otel.TraceFlags(int(parent.sampled)),
        trace_state=otel.TraceState.from_header([parent.state]) if parent.state else None,
    )
    return otel.set_span_in_context(otel.NonRecordingSpan(remote), Context())


def _for_a_moment(work: Callable[[], object]) -> None:
    """Wait for the SDK, whose own limits are half a minute, no longer than we can afford."""
    thread = threading.Thread(target=work, name="otlp", daemon=True)
    thread.start()
    thread.join(WAIT_S)
