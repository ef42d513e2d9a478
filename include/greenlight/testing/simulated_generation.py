"""One answer of a simulated engine on its way out, token by token.

Every token has an instant at which it is due, drawn when the request comes; a loop that is late
sends what is due at once and does not push the rest back.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from greenlight.testing.simulated_answers import Mishap, Wire, answer_to
from greenlight.testing.simulated_metrics import EngineMetrics
from greenlight.testing.simulated_requests import Ask
from greenlight.testing.simulation import Simulation

STREAM_HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}


class Generation:
    """One answer. `arrived` by `time.monotonic`; `may_go_on` returns when the engine isn't hung."""

    def __init__(
        self,
        ask: Ask,
        settings: Simulation,
        *,
        metrics: EngineMetrics,
        draw: random.Random,
        arrived: float,
        may_go_on: Callable[[], Awaitable[None]],
    ) -> None:
        self._ask, self._settings, self._metrics, self._draw = ask, settings, metrics, draw
        self._arrived, self._may_go_on = arrived, may_go_on
        self._answer = answer_to(ask, settings)
        self._wire = Wire(ask, self._answer)
        self._due = self._instants(len(self._answer.pieces))

    async def send(self, request: web.Request) -> web.StreamResponse:
        """Answer in the way that was asked for."""
        self._metrics.prompt_tokens.inc(self._ask.prompt_tokens)
        return await (self._stream(request) if self._ask.stream else self._unary())

    async def _unary(self) -> web.Response:
        await self._until(self._due[-1])
        first = self._due[0]
        self._metrics.first_token.observe(first - self._arrived)
        self._count(self._answer.finish, tokens=len(self._due), first=first)
        return web.json_response(self._wire.unary(usage=not self._settings.without_usage))

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Send the tokens at their instants; those due at the same time in one write."""
        script = self._wire.script(
            self._mishap(), usage=self._ask.include_usage and not self._settings.without_usage
        )
        response = web.StreamResponse(headers=STREAM_HEADERS)
        await response.prepare(request)
        ready = [script.opening]
        first = previous = self._arrived
        for number, (instant, event) in enumerate(zip(self._due, script.tokens, strict=False)):
            if instant > time.monotonic():
                await _write(response, ready)
                await self._until(instant)
            now = time.monotonic()
            if number:
                self._metrics.between_tokens.observe(now - previous)
            else:
                first = now
                self._metrics.first_token.observe(now - self._arrived)
            previous = now
            ready.append(event)
        await _write(response, [*ready, script.closing])
        await response.write_eof()
        self._count(script.finish, tokens=len(script.tokens), first=first)
        return response

    async def _until(self, instant: float) -> None:
        await asyncio.sleep(max(0.0, instant - time.monotonic()))
        await self._may_go_on()

    def _count(self, finish: str, *, tokens: int, first: float) -> None:
        now = time.monotonic()
        self._metrics.generation_tokens.inc(tokens)
        self._metrics.request.observe(now - self._arrived)
        if tokens > 1:
            self._metrics.per_token.observe((now - first) / (tokens - 1))
        self._metrics.finished(finish)

    def _mishap(self) -> Mishap:
        return Mishap(
            cut=hits(self._settings.cut_stream, self._draw),
            failed=hits(self._settings.stream_error, self._draw),
            lost=hits(self._settings.lost_token, self._draw),
        )

    def _instants(self, count: int) -> list[float]:
        """Return when each token is due."""
        settings = self._settings
        first = settings.first_token_s * settings.slow_first_token
        gap = settings.token_s * settings.slow_tokens
        instant = time.monotonic() + first * self._noise()
        found = [instant]
        for _ in range(count - 1):
            instant += gap * self._noise()
            found.append(instant)
        return found

    def _noise(self) -> float:
        """Return a factor with mean 1 and the jitter as its standard deviation."""
        if not self._settings.jitter:
            return 1.0
        variance = math.log1p(self._settings.jitter**2)
        return self._draw.lognormvariate(-variance / 2, math.sqrt(variance))


def hits(share: float, draw: random.Random) -> bool:
    """Return whether one request is of the share; draws nothing for a share of 0."""
    return share > 0 and draw.random() < share


async def _write(response: web.StreamResponse, ready: list[bytes]) -> None:
    """Write what is ready, and leave it empty."""
    if data := b"".join(ready):
        await response.write(data)
    ready.clear()
