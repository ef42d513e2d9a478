"""A strict stand-in for Elasticsearch's `_bulk`: a real HTTP server that refuses what it would.

A wrong content type, a body without its last line end, an action that a data stream doesn't take, a
document that the index template doesn't have every field of. It can be busy (429), for whole
requests and for single documents. It is no Elasticsearch: what passes here has passed the rules
that are written down in `elastic_documents`, and no more.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from greenlight.core.types import JsonDict
from greenlight.testing.elastic_documents import refusal, run_pipeline
from greenlight.testing.http_server import HttpThread, QuietHandler

TYPES = ("application/x-ndjson", "application/json")
MOST_BYTES = 100 * 1024 * 1024
CREATED, BAD, BUSY = 201, 400, 429


class ElasticSink(HttpThread):
    """`kept` and `refused` grow; `busy_requests` and `busy_documents` count down."""

    def __init__(
        self,
        *,
        stream: str,
        mappings: Mapping[str, Any],
        pipeline: Mapping[str, Any],
        login: tuple[str, str] | None = None,
        port: int = 0,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        """Serve one data stream. `login`: name and password that must be given. `port`: 0: any."""
        self.kept: list[JsonDict] = []
        self.refused: list[tuple[str, JsonDict]] = []
        """Why, and the document as it came."""
        self.busy_requests = self.busy_documents = 0
        self.requests = 0
        self._stream, self._mappings, self._pipeline = stream, mappings, pipeline
        self._login, self._most_bytes = login, most_bytes
        self._lock = threading.Lock()
        sink = self

        class Handler(QuietHandler):
            def do_GET(self) -> None:
                """Say that it is there; shippers ask before they send."""
                self._answer(HTTPStatus.OK, {"status": "green", "version": {"number": "8.17.0"}})

            do_HEAD = do_GET

            def do_POST(self) -> None:
                """Take documents."""
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self._answer(*sink.take(self.path, dict(self.headers), body))

            def _answer(self, status: int, found: JsonDict) -> None:
                body = json.dumps(found).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

        super().__init__(Handler, port=port)

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, JsonDict]:
        """Return status and answer to a request."""
        with self._lock:
            self.requests += 1
            if refused := self._refused(path.partition("?")[0], headers, body):
                return refused
            if self.busy_requests:
                self.busy_requests -= 1
                return BUSY, _error(BUSY, "es_rejected_execution_exception")
            try:
                lines = [json.loads(line) for line in body.splitlines()]
            except ValueError as error:
                return BAD, _error(BAD, f"illegal_argument_exception: {error}")
            pairs = list(zip(lines[::2], lines[1::2], strict=False))
            if len(lines) % 2 or not all(_is_action(action) for action, _ in pairs):
                return BAD, _error(BAD, "illegal_argument_exception: Malformed action/metadata")
            items = [self._item(action, document, path) for action, document in pairs]
        statuses = [result["status"] for item in items for result in item.values()]
        return 200, {"took": 1, "errors": max(statuses) > CREATED, "items": items}

    def _refused(
        self, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, JsonDict] | None:
        given = {name.lower(): value for name, value in headers.items()}
        if self._login is not None:
            wanted = "Basic " + base64.b64encode(":".join(self._login).encode()).decode()
            if given.get("authorization") != wanted:
                return 401, _error(401, "security_exception")
        if path not in ("/_bulk", f"/{self._stream}/_bulk"):
            return 404, _error(404, f"no handler found for uri [{path}]")
        if given.get("content-type", "").partition(";")[0] not in TYPES:
            return 406, _error(406, "Content-Type header is not supported")
        if len(body) > self._most_bytes:
            return 413, _error(413, "content_too_long_exception")
        if not body.endswith(b"\n"):
            return BAD, _error(BAD, "The bulk request must be terminated by a newline [\\n]")
        return None

    def _item(self, action: JsonDict, document: Any, path: str) -> JsonDict:
        ((kind, about),) = action.items()
        index = about.get("_index") or path.strip("/").rpartition("/")[0]
        status, why = self._judged(kind, index, document)
        result: JsonDict = {"_index": index, "status": status}
        if why is not None:
            result["error"] = {"type": why.partition(":")[0], "reason": why}
        if status == BAD:
            self.refused.append((str(why), document))
        return {kind: result}

    def _judged(self, kind: str, index: str, document: Any) -> tuple[int, str | None]:
        if self.busy_documents:
            self.busy_documents -= 1
            return BUSY, "es_rejected_execution_exception: rejected execution of coordinating"
        if index != self._stream:
            return 404, f"index_not_found_exception: no such index [{index}]"
        if kind != "create":
            return BAD, "illegal_argument_exception: only write ops with an op_type of create"
        if not isinstance(document, dict):
            return BAD, "document_parsing_exception: the document is no object"
        made = run_pipeline(self._pipeline, document)
        why = refusal(made, self._mappings)
        if why is None and "@timestamp" not in made:
            why = "document_parsing_exception: data stream timestamp field [@timestamp] is missing"
        if why is not None:
            return BAD, why
        self.kept.append(made)
        return CREATED, None


@contextmanager
def elastic_sink(**options: Any) -> Iterator[ElasticSink]:
    """Yield a sink on a port that the kernel chose."""
    sink = ElasticSink(**options)
    try:
        yield sink
    finally:
        sink.close()


def _is_action(action: Any) -> bool:
    return isinstance(action, dict) and list(action) in (["create"], ["index"], ["update"])


def _error(status: int, reason: str) -> JsonDict:
    return {"error": {"type": reason.partition(":")[0], "reason": reason}, "status": status}
