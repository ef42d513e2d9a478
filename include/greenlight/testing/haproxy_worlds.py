"""A real HAProxy in a folder with a long name, a fleet on kernel-chosen ports, health pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from greenlight.adapters.haproxy.router import HaproxyRouter
from greenlight.adapters.haproxy.runtime import RuntimeApi
from greenlight.adapters.processes import find_program
from greenlight.deploy.colours import Colour
from greenlight.deploy.fleet import Fleet
from greenlight.deploy.shares import ServerKey
from greenlight.testing.http_server import HttpThread, QuietHandler
from greenlight.testing.servers import free_port

HEALTH_S = 0.1
LONG = "a home with spaces and a very long name " * 3
"""As part of a path, longer than a socket's path may be."""


def haproxy_program() -> str | None:
    """Return where HAProxy is installed, or `None`."""
    return find_program("haproxy")


class _Handler(QuietHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()


class HealthPage(HttpThread):
    """Answers 200 to every GET until it is killed, on a port that the kernel chose."""

    def __init__(self) -> None:
        super().__init__(_Handler)

    def kill(self) -> None:
        """Close the port; twice is fine."""
        self.close()


@contextmanager
def health_pages(hosts: Iterable[str]) -> Iterator[dict[ServerKey, HealthPage]]:
    """Yield a page for every slot of these hosts."""
    with ExitStack() as stack:
        pages = {}
        for key in [(host, colour) for host in hosts for colour in Colour]:
            pages[key] = HealthPage()
            stack.callback(pages[key].kill)
        yield pages


def a_fleet(
    ports: Mapping[ServerKey, int], *, address: str = "127.0.0.1", **router: object
) -> Fleet:
    """Make a fleet of engines on these ports; keywords change settings of its router."""
    hosts = dict.fromkeys(host for host, _ in ports)
    return Fleet.model_validate(
        {
            "name": "lab",
            "model": "tiny",
            "engine": {"kind": "simulator"},
            "router": {"port": free_port(), "health_interval_s": HEALTH_S} | router,
            "hosts": [
                {
                    "name": host,
                    "root": f"hosts/{host}",
                    "address": address,
                    "slots": {str(c): {"port": ports[host, c]} for c in Colour},
                }
                for host in hosts
            ],
        }
    )


@contextmanager
def haproxy_router(
    fleet: Fleet,
    folder: Path,
    *,
    runtime: type[RuntimeApi] = RuntimeApi,
) -> Iterator[HaproxyRouter]:
    """Yield a router whose HAProxy runs somewhere below `folder`, and end it."""
    path = folder / LONG / "router"
    router = HaproxyRouter(fleet, folder=path, runtime=runtime(path))
    router.ensure_running()
    try:
        yield router
    finally:
        router.stop(grace_s=0)
