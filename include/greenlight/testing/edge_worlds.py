"""A real nginx with its firewall in a folder with spaces, an upstream that counts, raw clients."""

from __future__ import annotations

import json
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from greenlight.adapters.nginx.process import Nginx
from greenlight.adapters.stack.certificates import (
    Certificates,
    certificates_in,
    ensure_certificates,
)
from greenlight.core.errors import UnavailableError
from greenlight.gateway.edge import EdgeSettings
from greenlight.testing.http_server import HttpThread, QuietHandler
from greenlight.testing.servers import free_port
from greenlight.testing.waf_corpus import Case, Kind, request_of

ANSWER_S, CONTROL_S = 5.0, 60.0
"""Who sends half a request gets no answer; who sends a good one afterwards must."""
ANSWERED, BROKEN = 200, frozenset({500, 502, 503, 504})
NO_LIMIT = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A request that came through."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return a header's value; joined, if it came more than once."""
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(found) if found else None


class Upstream(HttpThread):
    """Stands where the gateway would, and keeps what reached it.

    `answer` writes the whole answer; none: 200 with an empty object.
    """

    def __init__(self, answer: Callable[[BaseHTTPRequestHandler, Received], None] | None) -> None:
        self.received: list[Received] = []
        upstream = self

        class Handler(QuietHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                """Take one request, whatever its method."""
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                length = int(self.headers.get("Content-Length") or 0)
                received = Received(
                    method=self.command,
                    target=self.path,
                    headers=tuple(self.headers.items()),
                    body=self.rfile.read(length),
                )
                upstream.received.append(received)
                (answer or _answer)(self, received)

        super().__init__(Handler, server=_Server)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep quiet: a client that goes away in the middle is nothing to report here."""


def _answer(handler: BaseHTTPRequestHandler, received: Received) -> None:
    del received
    body = json.dumps({}).encode()
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def an_upstream(
    answer: Callable[[BaseHTTPRequestHandler, Received], None] | None = None,
) -> Iterator[Upstream]:
    """Yield an upstream on a port that the kernel chose."""
    upstream = Upstream(answer)
    try:
        yield upstream
    finally:
        upstream.close()


def certificates_for_tests(folder: Path) -> Certificates:
    """Make a certificate for loopback and the authority that vouches for it."""
    found = certificates_in(folder)
    ensure_certificates(found, now=datetime.now(UTC))
    return found


def edge_settings(
    certificates: Certificates, *, upstream_port: int, **changes: object
) -> EdgeSettings:
    """Return settings on a free port, without a limit on requests; keywords change them."""
    return EdgeSettings.model_validate(
        {
            "port": free_port(),
            "upstream_port": upstream_port,
            "certificate": certificates.server,
            "key": certificates.server,
            "requests_per_second": NO_LIMIT,
            "burst": NO_LIMIT,
            "workers": 1,
        }
        | changes
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeWorld:
    """nginx, what is behind it, and its certificate."""

    nginx: Nginx
    edge: EdgeSettings
    folder: Path
    upstream: Upstream
    certificates: Certificates


@contextmanager
def an_edge(
    folder: Path,
    *,
    answer: Callable[[BaseHTTPRequestHandler, Received], None] | None = None,
    kind: type[Nginx] = Nginx,
    **changes: object,
) -> Iterator[EdgeWorld]:
    """Yield a running nginx in front of an upstream; keywords change its settings.

    `kind`: one that is configured otherwise.
    """
    home = folder / "an edge with spaces"
    certificates = certificates_for_tests(home / "tls")
    with an_upstream(answer) as upstream:
        edge = edge_settings(certificates, upstream_port=upstream.port, **changes)
        nginx = kind(edge, folder=home / "nginx")
        nginx.start()
        try:
            yield EdgeWorld(
                nginx=nginx, edge=edge, folder=home / "nginx", upstream=upstream,
                certificates=certificates,
            )  # fmt: skip
        finally:
            nginx.stop()


def trusting(certificates: Certificates) -> ssl.SSLContext:
    """Return a client's context that trusts this authority alone."""
    return ssl.create_default_context(cafile=str(certificates.ca))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a client read until the connection ended or nothing came any more."""

    raw: bytes

    @property
    def status(self) -> int | None:
        """The status; none: no answer."""
        found = re.match(rb"HTTP/1\.[01] (\d{3}) ", self.raw)
        return int(found[1]) if found else None

    @property
    def body(self) -> bytes:
        """What comes after the headers."""
        return self.raw.partition(b"\r\n\r\n")[2]

    def header(self, name: str) -> list[str]:
        """Return every value of a header."""
        lines = self.raw.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        pairs = [line.partition(":") for line in lines]
        return [value.strip() for key, _, value in pairs if key.lower() == name.lower()]


def send(port: int, data: bytes, context: ssl.SSLContext, *, wait_s: float = ANSWER_S) -> Answer:
    """Send bytes as they are over TLS, and read until the end or until nothing comes."""
    raw = bytearray()
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=wait_s) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
        ):
            secured.sendall(data)
            while piece := secured.recv(65536):
                raw += piece
    except OSError:
        # A server that has refused need not read on: what it said until then counts.
        return Answer(raw=bytes(raw))
    return Answer(raw=bytes(raw))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a case."""

    case: Case
    reached: bool
    """Whether anything arrived at the upstream."""
    status: int | None


def run_corpus(
    cases: Sequence[Case], *, port: int, upstream: Upstream, context: ssl.SSLContext
) -> list[Outcome]:
    """Send every case, one after the other.

    Raises:
        UnavailableError: nginx or the upstream stopped answering: what doesn't arrive then was
            stopped by nobody.
    """
    outcomes = []
    for case in cases:
        upstream.received.clear()
        answer = send(port, request_of(case), context)
        reached = len(upstream.received) > 0
        if answer.status in BROKEN:
            raise UnavailableError(f"line {case.line} got {answer.status}: the upstream is away")
        if answer.status is None:
            reached = _reached_late(case, port=port, upstream=upstream, context=context)
        outcomes.append(Outcome(case=case, reached=reached, status=answer.status))
    return outcomes


def _reached_late(case: Case, *, port: int, upstream: Upstream, context: ssl.SSLContext) -> bool:
    """Return whether a case without an answer arrived, before a request that must."""
    control = request_of(Case(kind=Kind.BENIGN, where="messages", text="control", line=1))
    if send(port, control, context, wait_s=CONTROL_S).status != ANSWERED:
        raise UnavailableError(f"nginx answers nothing any more, line {case.line} or later")
    return len(upstream.received) > 1
