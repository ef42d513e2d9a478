"""A page of metrics for Prometheus, served by a thread of its own."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable, Iterable, Mapping
from socketserver import ThreadingMixIn
from threading import Thread
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.registry import Collector

from greenlight.core.errors import GreenlightError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

Page = Callable[[], object]
"""Returns what is served as JSON now."""


def serve_metrics(
    collector: Collector, *, address: str, port: int, pages: Mapping[str, Page] | None = None
) -> tuple[int, Callable[[], None]]:
    """Serve `/metrics`, and other pages by their paths; return the port, and what ends it.

    A page that can't be made is answered with 503, so that who asks keeps what it has.

    Raises:
        OSError: the port is taken.
    """
    registry = CollectorRegistry()
    registry.register(collector)
    app = _with_pages(make_wsgi_app(registry), pages or {})

    class Server(_Threading):
        address_family = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0][0]

    server = make_server(address, port, app, server_class=Server, handler_class=_Quiet)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return server.server_port, stop


def _with_pages(metrics: WSGIApplication, pages: Mapping[str, Page]) -> WSGIApplication:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path not in pages:
            return metrics(environ, start_response)
        try:
            found = pages[path]()
        except GreenlightError as error:
            log.warning("%s can't be made: %s", path, error)
            start_response("503 Service Unavailable", [("Content-Type", "text/plain")])
            return [f"{error}\n".encode()]
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(found).encode()]

    return app


class _Threading(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of requests: who asks, asks every few seconds."""
