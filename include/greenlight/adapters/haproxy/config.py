"""Render HAProxy's configuration from the fleet and what its servers should do."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template

from greenlight.adapters.haproxy.desired import Desired
from greenlight.core.errors import ConfigError
from greenlight.deploy.fleet import Fleet, RouterSettings

BACKEND = "engines"
TEMPLATE = Path(__file__).with_name("haproxy.cfg.j2")
HEADER_BYTES = 16384
"""Room in HAProxy's buffer beside a request's body."""
LEAST_IDLE_S = 600
SLOW_CHECK = 5
"""How many health intervals an answer to a health check may take."""

_ADDRESS = re.compile(r"[A-Za-z0-9._:\[\]-]+")
_ERRORS = {
    502: "the engine failed while it answered; try again",
    503: "no engine can answer now; try again",
    504: "the engine did not answer in time",
}


def render(fleet: Fleet, desired: Desired) -> str:
    """Return the whole file.

    A drained server is written as one in maintenance: HAProxy has no word for it, and after a
    restart there is no stream left to drain.

    Raises:
        ConfigError: an address holds something that HAProxy would read as more than an address.
    """
    router = fleet.router
    servers = (server.address for server in desired.servers)
    for address in (router.address, router.metrics_address, *servers):
        plain_address(address)
    return _template().render(
        fleet=fleet.name,
        router=router,
        servers=desired.servers,
        backend=BACKEND,
        header_bytes=HEADER_BYTES,
        idle_s=max(LEAST_IDLE_S, round(fleet.engine.drain_s)),
        check_ms=_ms(router.health_interval_s * SLOW_CHECK),
        server_options=server_options(router),
        errors=_ERRORS,
    )


def server_options(router: RouterSettings) -> str:
    """Return what holds for every server, in the words of HAProxy's `server` lines.

    A refused connection takes a server down at once, until it passes a check: when all five
    engines of a colour crashed, waiting for failed checks cost 88 of 1,300 requests all their
    retries.
    Idle connections are dropped after about a second: a server that still has some can't be taken
    out, and an engine closes them itself soon.
    """
    interval = _ms(router.health_interval_s)
    return (
        f"check inter {interval}ms fall {router.health_fall} rise {router.health_rise} "
        "observe layer4 error-limit 1 on-error mark-down pool-purge-delay 1s"
    )


def plain_address(address: str) -> str:
    """Return an address that is safe in the configuration and in a runtime command.

    Raises:
        ConfigError: it is neither an IP address nor a host name.
    """
    if not _ADDRESS.fullmatch(address):
        raise ConfigError(f"address {address!r} is neither an IP address nor a host name")
    return address


@cache
def _template() -> Template:
    """Compiled once: a shift of traffic renders it, and compiling takes longer than the shift."""
    # Not HTML: nothing is to be escaped.
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)  # noqa: S701
    return environment.from_string(TEMPLATE.read_text())


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
