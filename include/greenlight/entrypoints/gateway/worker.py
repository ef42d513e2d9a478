"""One worker of the gateway: opens what it works with, serves, and leaves nothing unsettled."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import os
import random
import signal
import uuid
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from greenlight.core.clock import Clock, SystemClock
from greenlight.core.errors import ConfigError, GreenlightError
from greenlight.core.logs import LineCounts, configure_logging
from greenlight.core.settings import Settings, load_settings
from greenlight.entrypoints.gateway.app import Application
from greenlight.entrypoints.gateway.exchange import Message, Receive, Send
from greenlight.entrypoints.gateway.parts import Parts
from greenlight.entrypoints.gateway.server import CACHE_SECRET, metrics_folder, read_file
from greenlight.entrypoints.gateway.serving import ServedModels
from greenlight.entrypoints.gateway.spend_caps import SpendCaps
from greenlight.entrypoints.tracing import open_tracer
from greenlight.gateway.answer_counts import AnswerCounts
from greenlight.gateway.edge import EdgeSettings
from greenlight.gateway.gateway_file import GatewayFile
from greenlight.gateway.resilience import Circuit

if TYPE_CHECKING:
    from greenlight.adapters.gateway_metrics import GatewayMetrics
    from greenlight.adapters.redis_connection import RedisLane
    from greenlight.adapters.upstream import Upstream
    from greenlight.entrypoints.gateway.answers import Answers

log = logging.getLogger(__name__)

SERVICE = "greenlight-gateway"
GARBAGE = 20_000
"""New objects until the youngest are looked through; a request makes a few hundred."""
FLUSH_S = 0.5
"""How old the numbers of `/metrics` may be, and what a killed worker loses of them."""
GAUGES_S = 5.0
"""How often it is noted how connections stand."""


class Worker:
    """The ASGI application that uvicorn starts: opens at startup, closes after the last answer."""

    def __init__(self, settings: Settings, file: GatewayFile, lines: LineCounts) -> None:
        """`lines`: what counts the lines that this process logs."""
        self._settings, self._file, self._lines = settings, file, lines
        self._application: Application | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or live through uvicorn's startup and shutdown."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._application is not None:
            await self._application(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()  # startup
        async with AsyncExitStack() as stack:
            try:
                parts = await stack.enter_async_context(
                    open_parts(self._settings, self._file, lines=self._lines)
                )
            except GreenlightError as error:
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            self._application = Application(parts)
            _spare_the_collector()
            await send({"type": "lifespan.startup.complete"})
            await receive()  # shutdown
            await self._application.drain()
        await send({"type": "lifespan.shutdown.complete"})


def application() -> Worker:
    """Return the application of a new worker process, by the settings of its environment."""
    lines = configure_logging(service=SERVICE)
    settings = load_settings()
    return Worker(settings, read_file(settings), lines)


@asynccontextmanager
async def open_parts(
    settings: Settings, file: GatewayFile, *, lines: LineCounts
) -> AsyncIterator[Parts]:
    """Open everything for this event loop, and close it in order.

    Raises:
        ConfigError: a secret or a setting is wrong.
        UnavailableError: the database or Redis does not answer.
    """
    from greenlight.adapters.gateway_metrics import GatewayMetrics, forget_worker
    from greenlight.adapters.redis_limits import RedisLimits
    from greenlight.adapters.rollout_store import DatabaseJournal
    from greenlight.adapters.spend_cap_store import DatabaseSpendCaps
    from greenlight.adapters.upstream import Upstream
    from greenlight.entrypoints.gateway_access import open_access

    async with AsyncExitStack() as stack:
        tracer = open_tracer(SERVICE)
        stack.callback(tracer.close)
        stack.callback(forget_worker, os.getpid(), metrics_folder(settings))
        clock = SystemClock()
        access = await stack.enter_async_context(open_access(settings, file, clock=clock))
        lane = await stack.enter_async_context(_lane(settings, file))
        numbers, process = itertools.count(), uuid.uuid4().hex
        limits = RedisLimits(lane, new_id=lambda: f"{process}-{next(numbers)}")
        stack.push_async_callback(limits.close)
        caps = SpendCaps(DatabaseSpendCaps(access.database), clock=clock)
        await caps.refresh()
        await stack.enter_async_context(_beside(caps.keep_fresh()))
        counts = AnswerCounts()
        answers = await stack.enter_async_context(
            _answers(settings, file, clock=clock, counts=counts)
        )
        upstreams = {model.name: Upstream(model.upstream, file.upstream) for model in file.models}
        for upstream in upstreams.values():
            stack.push_async_callback(upstream.close)
        served = ServedModels(
            {model.name: model for model in file.models},
            journal=DatabaseJournal(access.database),
            folder_of=lambda digest: settings.models / digest,
        )
        await served.refresh()
        await stack.enter_async_context(_beside(served.keep_fresh()))
        metrics = GatewayMetrics(tenants=file.metrics_tenants)
        await stack.enter_async_context(_beside(_note(upstreams, file.edge, metrics)))
        stack.callback(metrics.flush)
        await stack.enter_async_context(_beside(_flush(metrics, counts, lines)))
        yield Parts(
            file=file,
            authenticator=access.authenticator,
            limits=limits,
            caps=caps,
            answers=answers,
            upstreams=upstreams,
            served=served,
            trail=access.trail,
            metrics=metrics,
            tracer=tracer,
            clock=clock,
        )


def _spare_the_collector() -> None:
    """Let the garbage collector pass over what was made at the start and stays: all of the code.

    Without it a full collection, of some 300,000 objects, comes every few hundred requests.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE, 20, 50)


@asynccontextmanager
async def _lane(settings: Settings, file: GatewayFile) -> AsyncIterator[RedisLane]:
    """Open a connection to Redis that has answered."""
    from greenlight.adapters.redis_connection import RedisLane, check_redis, open_redis
    from greenlight.adapters.stack.redis_server import redis_of

    redis = open_redis(redis_of(file.redis, settings))
    lane = RedisLane(redis, timeout_s=file.redis.timeout_s)
    try:
        await check_redis(redis, timeout_s=file.redis.timeout_s)
        yield lane
    finally:
        await lane.close()


@asynccontextmanager
async def _answers(
    settings: Settings, file: GatewayFile, *, clock: Clock, counts: AnswerCounts
) -> AsyncIterator[Answers | None]:
    """Open the cache: none, when nothing is to be kept.

    Its connection is its own: a long answer must not hold up the next request's limits.
    """
    from greenlight.adapters.memory_answers import MemoryAnswers
    from greenlight.adapters.redis_answers import RedisAnswers
    from greenlight.entrypoints.gateway.answers import Answers
    from greenlight.entrypoints.gateway_access import load

    if not file.cache.enabled:
        yield None
        return
    async with _lane(settings, file) as lane:
        answers = Answers(
            MemoryAnswers(max_bytes=file.cache.memory_bytes, clock=clock, counts=counts),
            RedisAnswers(lane, secret=load(settings, CACHE_SECRET).encode(), counts=counts),
            settings=file.cache,
            counts=counts,
            clock=clock,
            chance=random.random,
            owner=uuid.uuid4().hex,
        )
        try:
            yield answers
        finally:
            await answers.close()


@asynccontextmanager
async def _beside(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Do something endless beside, until the block ends.

    If it ends by itself, which is a bug, so does the worker: one that no longer follows the journal
    would give answers of a version that is gone.
    """
    task = asyncio.create_task(work)
    task.add_done_callback(_end_with_it)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _end_with_it(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("this worker ends: what it does beside broke", exc_info=error)
        os.kill(os.getpid(), signal.SIGTERM)


async def _flush(metrics: GatewayMetrics, counts: AnswerCounts, lines: LineCounts) -> None:
    """Show what was counted, again and again."""
    while True:
        await asyncio.sleep(FLUSH_S)
        metrics.cache_events(counts)
        metrics.log_lines(lines.by_level())
        metrics.flush()


async def _note(
    upstreams: Mapping[str, Upstream], edge: EdgeSettings | None, metrics: GatewayMetrics
) -> None:
    """Note how connections stand and how long the certificate is good, again and again."""
    from greenlight.adapters.nginx.process import certificate_expiry

    while True:
        if edge is not None:
            try:
                metrics.certificate(certificate_expiry(edge.certificate).timestamp())
            except ConfigError as error:
                log.error("how long the certificate is good is not known: %s", error)
        for model, upstream in upstreams.items():
            metrics.upstream(model, "busy_connections", upstream.busy_connections)
            metrics.upstream(model, "circuit_open", upstream.circuit is not Circuit.CLOSED)
            for kind, number in asdict(upstream.counts).items():
                metrics.upstream(model, kind, number)
        await asyncio.sleep(GAUGES_S)
