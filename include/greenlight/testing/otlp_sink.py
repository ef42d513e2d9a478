"""A collector for tests: takes spans over OTLP/HTTP as protobuf, and keeps them."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # it has no stubs
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from greenlight.testing.http_server import HttpThread, QuietHandler

PATH = "/v1/traces"
PROTOBUF = "application/x-protobuf"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldSpan:
    """A span as it arrived; ids in lower-case hexadecimals, times in nanoseconds."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    state: str
    began_ns: int
    ended_ns: int
    facts: dict[str, str]
    failed: bool


class OtlpSink(HttpThread):
    """Answers as a collector does; `status` may be changed to refuse."""

    def __init__(self) -> None:
        self.spans: list[ToldSpan] = []
        self.raw = b""
        """All bodies, to look for what must not be in them."""
        self.status = 200
        sink = self

        class Handler(QuietHandler):
            def do_POST(self) -> None:
                """Take what is told."""
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                right = self.path == PATH and self.headers["Content-Type"] == PROTOBUF
                status = sink.take(body) if right else 404
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(status)
                self.send_header("Content-Type", PROTOBUF)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        super().__init__(Handler)

    def take(self, body: bytes) -> int:
        """Keep the spans of a request; return the status to answer with."""
        if self.status != 200:
            return self.status
        try:
            request = ExportTraceServiceRequest.FromString(body)
        except DecodeError:
            return 400
        self.raw += body
        self.spans += _spans(request)
        return 200


@contextmanager
def otlp_sink() -> Iterator[OtlpSink]:
    """Yield a collector on a port that the kernel chose."""
    sink = OtlpSink()
    try:
        yield sink
    finally:
        sink.close()


def _spans(request: ExportTraceServiceRequest) -> Iterator[ToldSpan]:
    for group in request.resource_spans:
        service = _facts(group.resource.attributes)["service.name"]
        for span in (span for scope in group.scope_spans for span in scope.spans):
            yield ToldSpan(
                service=service,
                name=span.name,
                trace_id=span.trace_id.hex(),
                span_id=span.span_id.hex(),
                parent_id=span.parent_span_id.hex(),
                state=span.trace_state,
                began_ns=span.start_time_unix_nano,
                ended_ns=span.end_time_unix_nano,
                facts=_facts(span.attributes),
                failed=span.status.code == span.status.STATUS_CODE_ERROR,
            )


def _facts(attributes: Iterator[KeyValue]) -> dict[str, str]:
    return {
        one.key: str(getattr(one.value, str(one.value.WhichOneof("value")))) for one in attributes
    }
