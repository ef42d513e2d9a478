"""A page of metrics for Prometheus, served by a thread of its own."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.registry import Collector


def serve_metrics(
    collector: Collector, *, address: str, port: int
) -> tuple[int, Callable[[], None]]:
    """Serve `/metrics`; return the port, and what ends it.

    Raises:
        OSError: the port is taken.
    """
    registry = CollectorRegistry()
    registry.register(collector)
    server, thread = start_http_server(port, addr=address, registry=registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return server.server_port, stop
