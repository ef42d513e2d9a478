from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from greenlight.adapters.upstream import Upstream, pieces, read_all
from greenlight.core.errors import UnavailableError
from greenlight.gateway.gateway_file import UpstreamSettings
from greenlight.gateway.refusals import Refusal
from greenlight.gateway.resilience import Circuit
from greenlight.testing.servers import free_port

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
PATH = "/v1/chat/completions"
QUICK = {"retry_budget": 1.0, "connect_s": 1.0, "acquire_s": 0.3}


async def served(handler: Handler) -> tuple[web.AppRunner, str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


def run(handler: Handler, use: Callable[[Upstream], Awaitable[Any]], **settings: Any) -> Any:
    async def main() -> Any:
        runner, url = await served(handler)
        upstream = Upstream(url, UpstreamSettings(**QUICK | settings))
        try:
            return await use(upstream)
        finally:
            await upstream.close()
            await runner.cleanup()

    return asyncio.run(main())


async def ask(upstream: Upstream) -> tuple[int, str]:
    async with upstream.post(PATH, b"{}", headers={}) as found:
        if isinstance(found, Refusal):
            return found.status, found.code
        return found.status, (await read_all(found)).decode()


def failing(times: int, status: int) -> tuple[Handler, list[str]]:
    seen: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(status=status if len(seen) <= times else 200, text="fine")

    return handler, seen


def test_a_router_that_restarts_costs_a_retry_and_nobody_a_request() -> None:
    handler, seen = failing(2, 503)
    assert run(handler, ask) == (200, "fine")
    assert len(seen) == 3


def test_what_an_engine_answers_is_not_asked_again() -> None:
    handler, seen = failing(1, 500)
    assert run(handler, ask)[0] == 500
    assert len(seen) == 1


def test_retries_stop_at_their_number() -> None:
    handler, seen = failing(99, 503)
    assert run(handler, ask, retries=1)[0] == 503
    assert len(seen) == 2


def test_retries_stop_when_their_budget_is_spent() -> None:
    handler, seen = failing(99, 503)

    async def use(upstream: Upstream) -> int:
        for _ in range(10):
            await ask(upstream)
        return upstream.counts.retries_refused

    assert run(handler, use, retry_budget=0.1) > 5
    assert len(seen) <= 13


def test_nobody_there_is_an_answer_not_an_error() -> None:
    async def main() -> tuple[int, str]:
        upstream = Upstream(f"http://127.0.0.1:{free_port()}", UpstreamSettings(retries=0))
        try:
            return await ask(upstream)
        finally:
            await upstream.close()

    assert asyncio.run(main()) == (503, "no_connection")


def test_failures_in_a_row_open_the_circuit_and_nothing_more_is_sent() -> None:
    handler, seen = failing(99, 500)

    async def use(upstream: Upstream) -> tuple[int, str]:
        for _ in range(5):
            await ask(upstream)
        assert upstream.circuit is Circuit.OPEN
        return await ask(upstream)

    assert run(handler, use, breaker_failures=5) == (503, "circuit_open")
    assert len(seen) == 5


def test_the_circuit_closes_when_the_fleet_answers_again() -> None:
    handler, _ = failing(2, 500)

    async def use(upstream: Upstream) -> Circuit:
        await ask(upstream)
        await ask(upstream)
        await asyncio.sleep(0.15)
        await ask(upstream)
        return upstream.circuit

    assert run(handler, use, breaker_failures=2, breaker_open_s=0.1) is Circuit.CLOSED


def test_a_full_pool_is_said_in_time() -> None:
    async def handler(_: web.Request) -> web.Response:
        await asyncio.sleep(1.0)
        return web.Response(text="fine")

    async def use(upstream: Upstream) -> list[tuple[int, str]]:
        return await asyncio.gather(ask(upstream), ask(upstream))

    found = run(handler, use, connections=1, acquire_s=0.2, retries=0)
    assert sorted(found) == [(200, "fine"), (503, "no_connection")]


def test_an_engine_that_never_begins_is_given_up() -> None:
    async def handler(_: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    assert run(handler, ask, first_byte_s=0.2) == (504, "upstream_timeout")


def test_leaving_a_stream_stops_the_engine() -> None:
    stopped = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"data: x\n\n")
                await asyncio.sleep(0.02)
        except (asyncio.CancelledError, ConnectionError):
            stopped.set()
            raise

    async def use(upstream: Upstream) -> bytes:
        async with upstream.post(PATH, b"{}", headers={}) as found:
            assert isinstance(found, aiohttp.ClientResponse)
            first = await anext(pieces(found, idle_s=1))
        await asyncio.wait_for(stopped.wait(), 2)
        return first

    assert run(handler, use).startswith(b"data: x")


def test_a_stream_that_stalls_is_broken_off() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"data: x\n\n")
        await asyncio.sleep(5)
        return response

    async def use(upstream: Upstream) -> None:
        async with upstream.post(PATH, b"{}", headers={}) as found:
            assert isinstance(found, aiohttp.ClientResponse)
            async for _ in pieces(found, idle_s=0.2):
                pass

    with pytest.raises(UnavailableError, match="broke off"):
        run(handler, use)


def test_ready_means_that_an_engine_answers() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"data": []}, status=200 if request.path == "/v1/models" else 404)

    async def away(_: web.Request) -> web.Response:
        return web.Response(status=503, text=json.dumps({}))

    assert run(handler, lambda upstream: upstream.is_ready(within_s=1)) is True
    assert run(away, lambda upstream: upstream.is_ready(within_s=1)) is False
