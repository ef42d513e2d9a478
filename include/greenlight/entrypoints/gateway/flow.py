"""A completion from its first byte to its last: admitted, answered, settled, recorded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

import aiohttp
from pydantic_core import from_json, to_json

from greenlight.adapters.upstream import COLOUR, pieces, read_all
from greenlight.core.errors import ResourceError, UnavailableError
from greenlight.core.traces import (
    TRACEPARENT,
    TRACESTATE,
    SpanKind,
    TraceContext,
    read_trace,
    trace_headers,
    within,
)
from greenlight.deploy.colours import Colour
from greenlight.entrypoints.gateway.admission import Admission
from greenlight.entrypoints.gateway.answers import Hit
from greenlight.entrypoints.gateway.caching import BYPASS, MISS, OUTCOME, Caching
from greenlight.entrypoints.gateway.calls import NO_COLOUR, Admitted, Call
from greenlight.entrypoints.gateway.exchange import (
    CLIENT_LEFT,
    JSON,
    ClientLeftError,
    Exchange,
    while_connected,
)
from greenlight.entrypoints.gateway.parts import Parts
from greenlight.gateway.principals import Route
from greenlight.gateway.refusals import Refusal
from greenlight.gateway.stream_meter import StreamMeter, usage_of
from greenlight.gateway.validation import upstream_body

log = logging.getLogger(__name__)

PATHS = {Route.CHAT: "/v1/chat/completions", Route.COMPLETIONS: "/v1/completions"}
SSE = b"text/event-stream; charset=utf-8"
OK, FAILED = 200, 500
COLOURS = frozenset(Colour)
KEPT = frozenset({BYPASS, MISS})
KEPT_FACTOR = 64
"""A stream has so many times the bytes of its answer, at most: every token is framed."""


class Completions:
    """`/v1/chat/completions` and `/v1/completions`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.admission = Admission(parts)
        self._caching = Caching(parts)
        self._settling: set[asyncio.Task[None]] = set()

    async def complete(self, exchange: Exchange, route: Route) -> None:
        """Answer one request, whatever becomes of it, in its caller's trace or in a new one."""
        span = self._parts.tracer.begin(
            f"POST {PATHS[route]}", parent=_trace(exchange), kind=SpanKind.SERVER
        )
        call = Call(route=route)
        try:
            with within(span.context):
                await self._complete(exchange, call, span.context)
        finally:
            status = _status(exchange, call)
            facts = call.facts(path=PATHS[route], status=status)
            span.end(facts, failed=call.failure(status))

    async def drain(self) -> None:
        """Return when everything that was answered is settled."""
        while self._settling:
            await asyncio.wait(self._settling)

    async def _complete(self, exchange: Exchange, call: Call, trace: TraceContext) -> None:
        began = self._parts.clock.monotonic()
        try:
            found = await self.admission.admit(exchange, call)
            if isinstance(found, Refusal):
                call.refusal = found
                await exchange.refuse(found)
            else:
                call.admitted = found
                await while_connected(exchange, self._answer(exchange, call, found))
        except ClientLeftError:
            call.cut = "client"
        finally:
            self._settle(call)
            self._parts.metrics.cache(call.cache)
            seconds = self._parts.clock.monotonic() - began
            self._record(exchange, call, trace_id=trace.trace_id, seconds=seconds)

    async def _answer(self, exchange: Exchange, call: Call, admitted: Admitted) -> None:
        """From the cache, else from an engine."""
        place = self._caching.place(exchange, call, admitted)
        if place is None:
            await self._ask(exchange, call, admitted)
            return
        found = await self._caching.find(place)
        if isinstance(found, Hit) and (shown := self._caching.shown(found, admitted)):
            call.cache, call.colour = f"hit-{found.level}", found.answer.colour
            exchange.extra[OUTCOME] = call.cache
            kind = SSE if admitted.checked.streams else JSON
            await exchange.answer(OK, shown, content_type=kind)
            return
        call.cache = exchange.extra[OUTCOME] = BYPASS if place.fresh else MISS
        answer, client_left = None, False
        try:
            answer = await self._ask(exchange, call, admitted)
        except asyncio.CancelledError:
            client_left = True
            raise
        finally:
            leaving = self._caching.leave(
                place, found, call, admitted, answer=answer, client_left=client_left
            )
            await asyncio.shield(leaving)

    async def _ask(self, exchange: Exchange, call: Call, admitted: Admitted) -> bytes | None:
        """Ask an engine; return its answer as it may be kept, if it came to its end."""
        model, metrics = admitted.model.name, self._parts.metrics
        body = to_json(upstream_body(admitted.checked, admitted.room))
        began = self._parts.clock.monotonic()
        call.asked_engine = True
        metrics.asked(model)
        waits = True
        try:
            async with self._parts.upstreams[model].post(
                PATHS[call.route], body, headers=_headers(exchange)
            ) as response:
                metrics.began_to_answer(model)
                waits = False
                if isinstance(response, Refusal):
                    call.failed, call.refusal = True, response
                    await exchange.refuse(response)
                    return None
                call.colour = _colour(response.headers)
                if response.status != OK:
                    call.failed = True
                    await self._pass_on_failure(exchange, response)
                    return None
                if admitted.checked.streams:
                    whole = await self._stream(exchange, call, admitted, response, began)
                else:
                    whole = await self._one_piece(exchange, call, response)
        finally:
            if waits:
                metrics.began_to_answer(model)
            self._measure(call, admitted, began)
        return whole

    async def _one_piece(
        self, exchange: Exchange, call: Call, response: aiohttp.ClientResponse
    ) -> bytes | None:
        try:
            body = await read_all(response)
        except UnavailableError as error:
            call.cut = "engine"
            await exchange.refuse(_broke_off(str(error)))
            return None
        call.used = usage_of(from_json(body))
        await exchange.answer(OK, body)
        return body

    async def _stream(
        self,
        exchange: Exchange,
        call: Call,
        admitted: Admitted,
        response: aiohttp.ClientResponse,
        began: float,
    ) -> bytes | None:
        """Pass a stream on, event by event. A broken one ends with an error event.

        Returns all of a whole one, unless it is too long to be kept.
        """
        kept, most = bytearray(), KEPT_FACTOR * self._parts.file.cache.answer_bytes
        monotonic = self._parts.clock.monotonic
        meter = StreamMeter(began=began, keep_usage=admitted.checked.asked.wants_usage)
        exchange.extra["cache-control"] = "no-cache"
        await exchange.begin(OK, content_type=SSE)
        try:
            async for chunk in pieces(response, idle_s=self._parts.file.upstream.idle_s):
                if whole := meter.feed(chunk, monotonic()):
                    await exchange.piece(whole)
                call.events, call.used = meter.events, meter.usage
                if call.cache in KEPT and len(kept) <= most:
                    kept += chunk
        except UnavailableError:
            pass  # the end is missing, which is looked at below
        finally:
            self._parts.metrics.streamed(meter, model=admitted.model.name, colour=call.colour)
        if not meter.done:
            call.cut = "engine"
            error = _broke_off("the engine's stream ended before its last event").body()
            await exchange.piece(b"data: " + error + b"\n\n")
        await exchange.piece(b"", more=False)
        return bytes(kept) if meter.done and len(kept) <= most else None

    async def _pass_on_failure(self, exchange: Exchange, response: aiohttp.ClientResponse) -> None:
        """Pass an engine's refusal on as OpenAI's clients read it."""
        try:
            body = await read_all(response)
        except UnavailableError:
            body = b""
        retry = response.headers.get("Retry-After")
        if retry is not None:
            exchange.extra["retry-after"] = retry
        await exchange.answer(response.status, _as_error(response.status, body))

    def _measure(self, call: Call, admitted: Admitted, began: float) -> None:
        if call.failed:
            return
        self._parts.metrics.answered(
            model=admitted.model.name,
            colour=call.colour,
            tenant=admitted.principal.tenant,
            seconds=self._parts.clock.monotonic() - began,
            usage=call.used,
        )

    def _settle(self, call: Call) -> None:
        """Settle beside the next request: the client has its answer already."""
        admitted = call.admitted
        if admitted is None:
            return
        if call.cut is not None:
            self._parts.metrics.cut(admitted.model.name, by=call.cut)
        if admitted.reservation is None:
            return
        settling = asyncio.ensure_future(self._settle_now(admitted, call))
        self._settling.add(settling)
        settling.add_done_callback(self._settling.discard)

    async def _settle_now(self, admitted: Admitted, call: Call) -> None:
        assert admitted.reservation is not None
        try:
            await self._parts.limits.settle(admitted.reservation, call.charge(admitted))
        except UnavailableError as error:
            # What was reserved stays taken until it expires: never too little is counted.
            log.warning("request could not be settled: %s", error)

    def _record(self, exchange: Exchange, call: Call, *, trace_id: str, seconds: float) -> None:
        detail = call.record(
            request_id=exchange.id,
            trace_id=trace_id,
            status=_status(exchange, call),
            seconds=seconds,
        )
        try:
            self._parts.trail.record("request.completion", detail)
        except ResourceError as error:
            # The client has its answer; what was done is in the log of the process, at least.
            log.error("the audit log could not take %s: %s", detail, error)


def _headers(exchange: Exchange) -> dict[str, str]:
    """Return what an engine is told beside the body: nothing of the client's but its trace."""
    return {"Content-Type": "application/json", "X-Request-ID": exchange.id, **trace_headers()}


def _trace(exchange: Exchange) -> TraceContext | None:
    """Return the trace that the caller is in; one that is given twice or wrongly doesn't count."""
    return read_trace(exchange.header(TRACEPARENT.encode()), exchange.header(TRACESTATE.encode()))


def _status(exchange: Exchange, call: Call) -> int:
    return exchange.status or (CLIENT_LEFT if call.cut == "client" else FAILED)


def _colour(headers: Mapping[str, str]) -> str:
    colour = headers.get(COLOUR, "")
    return colour if colour in COLOURS else NO_COLOUR


def _broke_off(message: str) -> Refusal:
    return Refusal(status=502, code="upstream_failed", message=f"{message}; try again")


def _as_error(status: int, body: bytes) -> bytes:
    """Return an engine's error as an error object, whatever it sent."""
    try:
        found = from_json(body)
    except ValueError:
        found = None
    if isinstance(found, dict) and isinstance(found.get("error"), dict):
        return body
    message = found.get("message") if isinstance(found, dict) else None
    return Refusal(
        status=status,
        code="upstream_error",
        message=str(message or f"the engine answered HTTP {status}"),
    ).body()
