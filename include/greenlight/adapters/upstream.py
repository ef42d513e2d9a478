"""Ask a fleet's router: bounded connections, retries while nothing was sent on, a circuit.

A request is sent again only when no byte of an answer has come: the connection failed or closed, or
the router itself said 502 or 503. HAProxy retries on another engine already; this covers HAProxy's
own restart. What an engine answers, 4xx and 5xx alike, is passed on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from yarl import URL

from greenlight.core.clock import Clock, SystemClock
from greenlight.core.errors import UnavailableError
from greenlight.gateway.gateway_file import UpstreamSettings
from greenlight.gateway.refusals import Refusal, try_again
from greenlight.gateway.resilience import Breaker, Circuit, RetryBudget

COLOUR = "X-Greenlight-Colour"
"""The router's header that says who answered."""
KEEP_ALIVE_S = 60.0
"""Shorter than the router's (120 s): it is we who close an idle connection."""
FAILED = range(500, 600)
AGAIN = frozenset({502, 503})
FIRST_PAUSE_S = 0.05
READ_BYTES = 256 * 1024


@dataclass(slots=True, kw_only=True)
class UpstreamCounts:
    """What became of requests so far."""

    retries: int = 0
    retries_refused: int = 0
    """Not sent again: the budget was spent."""
    opened: int = 0
    """Requests refused by an open circuit."""
    no_connection: int = 0
    """Requests that got no connection in time."""


class Upstream:
    """One fleet's router, from one worker."""

    def __init__(
        self,
        url: str,
        settings: UpstreamSettings,
        *,
        clock: Clock = SystemClock(),  # noqa: B008 - stateless
    ) -> None:
        """Make it inside the event loop."""
        self.url = url.rstrip("/")
        self.counts = UpstreamCounts()
        self._settings, self._clock = settings, clock
        self._addresses: dict[str, URL] = {}
        self._breaker = Breaker(failures=settings.breaker_failures, open_s=settings.breaker_open_s)
        self._budget = RetryBudget(share=settings.retry_budget)
        self._connector = aiohttp.TCPConnector(
            limit=settings.connections, keepalive_timeout=KEEP_ALIVE_S, enable_cleanup_closed=False
        )
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=READ_BYTES,
            timeout=aiohttp.ClientTimeout(
                total=settings.total_s,
                connect=settings.acquire_s,
                sock_connect=settings.connect_s,
                sock_read=settings.first_byte_s,
            ),
            trust_env=False,  # proxies of the environment are not for engines
        )

    @property
    def circuit(self) -> Circuit:
        """The state of the circuit."""
        return self._breaker.state(self._clock.monotonic())

    @property
    def busy_connections(self) -> int:
        """Connections that carry a request now."""
        return len(self._connector._acquired)  # aiohttp has no public count

    @asynccontextmanager
    async def post(
        self, path: str, body: bytes, *, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse | Refusal]:
        """Yield the answer, whose body has not been read, or why there is none."""
        now = self._clock.monotonic()
        if not self._breaker.admits(now):
            self.counts.opened += 1
            yield try_again(
                "circuit_open",
                "the engines have failed too often just now; nothing is sent to them for a moment",
                after_s=self._breaker.wait_s(now),
            )
            return
        response: aiohttp.ClientResponse | Refusal | None = None
        try:
            response = await self._send(path, body, headers)
            self._judge(response)
            yield response
        finally:
            if response is None:
                self._breaker.abandoned()
            if isinstance(response, aiohttp.ClientResponse):
                # Read to its end, the connection is free again; else it is closed, and the engine
                # stops working for nobody.
                response.release() if response.content.at_eof() else response.close()

    async def is_ready(self, *, within_s: float) -> bool:
        """Return whether an engine really answers through the router."""
        try:
            async with self._session.get(
                self._address("/v1/models"), timeout=aiohttp.ClientTimeout(total=within_s)
            ) as response:
                await response.read()
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def _send(
        self, path: str, body: bytes, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse | Refusal:
        self._budget.earn()
        tries_left = self._settings.retries
        pause = FIRST_PAUSE_S
        while True:
            found = await self._once(path, body, headers)
            status = found.status
            if status not in AGAIN or tries_left == 0:
                return found
            if not self._budget.spend():
                self.counts.retries_refused += 1
                return found
            if isinstance(found, aiohttp.ClientResponse):
                found.close()
            tries_left -= 1
            self.counts.retries += 1
            await asyncio.sleep(pause)
            pause *= 2

    async def _once(
        self, path: str, body: bytes, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse | Refusal:
        try:
            return await self._session.post(
                self._address(path), data=body, headers=headers, allow_redirects=False
            )
        except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError) as error:
            if isinstance(error, aiohttp.ConnectionTimeoutError):
                self.counts.no_connection += 1
            return try_again("no_connection", "no connection to the engines is free")
        except (aiohttp.ServerTimeoutError, TimeoutError):
            return try_again(
                "upstream_timeout",
                f"the engine sent nothing for {self._settings.first_byte_s:g} s",
                status=504,
            )
        except (aiohttp.ClientError, OSError):
            return try_again("upstream_failed", "the connection to the engines broke", status=502)

    def _address(self, path: str) -> URL:
        """Return where a path is; there are few, and reading one takes long."""
        if (found := self._addresses.get(path)) is None:
            found = self._addresses[path] = URL(f"{self.url}{path}")
        return found

    def _judge(self, response: aiohttp.ClientResponse | Refusal) -> None:
        if response.status in FAILED:
            self._breaker.failed(self._clock.monotonic())
        else:
            self._breaker.succeeded()


async def read_all(response: aiohttp.ClientResponse) -> bytes:
    """Return an answer in one piece.

    Raises:
        UnavailableError: it broke off.
    """
    try:
        return await response.read()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise UnavailableError(f"the answer broke off: {error}") from error


async def pieces(response: aiohttp.ClientResponse, *, idle_s: float) -> AsyncIterator[bytes]:
    """Yield an answer as it comes.

    Raises:
        UnavailableError: it broke off, or nothing came for `idle_s` seconds.
    """
    content = response.content
    try:
        while True:
            async with asyncio.timeout(idle_s):
                chunk = await content.readany()
            if not chunk:
                return
            yield chunk
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise UnavailableError(f"the stream broke off: {error or type(error).__name__}") from error
