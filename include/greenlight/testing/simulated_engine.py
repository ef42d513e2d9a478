"""An OpenAI-compatible engine without a model: vLLM's endpoints, and the state behind them."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from aiohttp import web

from greenlight.core.errors import ConfigError, InputError
from greenlight.core.traces import TRACEPARENT
from greenlight.core.types import JsonDict
from greenlight.testing.simulated_answers import failure
from greenlight.testing.simulated_generation import Generation, hits
from greenlight.testing.simulated_metrics import CONTENT_TYPE, EngineMetrics
from greenlight.testing.simulated_requests import Ask, read_ask
from greenlight.testing.simulation import Simulation

log = logging.getLogger(__name__)

REMEMBERED = 1000
"""How many requests are kept for tests to look at."""
STRANGE = "/models/of-somebody-else"
MIB = 1 << 20


class SimulatedEngine:
    """One engine. `root` is the model's folder; `on_crash` ends the engine without a goodbye."""

    def __init__(
        self,
        simulation: Simulation,
        *,
        names: Sequence[str],
        root: str,
        on_crash: Callable[[], None],
    ) -> None:
        self.names, self.root = tuple(names), root
        self.requests: deque[JsonDict] = deque(maxlen=REMEMBERED)
        self.traceparents: deque[str | None] = deque(maxlen=REMEMBERED)
        self.open_requests = 0
        self.most_in_flight = 0
        self._on_crash = on_crash
        self._metrics = EngineMetrics(self.names[0])
        self._random = random.Random(simulation.seed)  # noqa: S311 - a simulation
        self._crash: asyncio.TimerHandle | None = None
        self._ready_at = self._faulty_at = self._hangs_at = math.inf
        self._changed = asyncio.Event()
        self._settings = self._healthy = simulation
        self._slots = asyncio.Semaphore(simulation.max_num_seqs)
        self._memory = bytearray()

    def application(self) -> web.Application:
        """Return the server's routes. The engine begins to load when the server starts."""
        app = web.Application(middlewares=[self._hanging], client_max_size=64 * MIB)
        app.on_startup.append(self._load)
        app.add_routes(
            [
                web.get("/health", self._get_health),
                web.get("/v1/models", self._get_models),
                web.get("/metrics", self._get_metrics),
                web.get("/simulation", self._get_simulation),
                web.post("/simulation", self._post_simulation),
                web.get("/simulation/traceparents", self._get_traceparents),
                web.post("/v1/chat/completions", self._chat),
                web.post("/v1/completions", self._complete),
            ]
        )
        return app

    @property
    def settings(self) -> Simulation:
        """What was set, faults that have not begun included."""
        return self._settings

    def set(self, simulation: Simulation) -> None:
        """Behave differently from now on, for requests that come from now on."""
        loop = asyncio.get_running_loop()
        if simulation.max_num_seqs != self._settings.max_num_seqs:
            self._slots = asyncio.Semaphore(simulation.max_num_seqs)
        if len(self._memory) != simulation.memory_mb * MIB:
            self._memory = bytearray(b"\x01") * (simulation.memory_mb * MIB)  # written: resident
        if simulation.seed != self._settings.seed:
            self._random.seed(simulation.seed)
        self._settings, self._healthy = simulation, simulation.without_faults()
        self._faulty_at = max(loop.time(), self._ready_at) + simulation.start_after_s
        hang, crash = simulation.hang_after_s, simulation.crash_after_s
        self._hangs_at = math.inf if hang is None else self._faulty_at + hang
        if self._crash is not None:
            self._crash.cancel()
        if crash is not None:
            self._crash = loop.call_at(self._faulty_at + crash, self._on_crash)
        self._changed.set()
        self._changed = asyncio.Event()

    async def _load(self, _: web.Application) -> None:
        self._ready_at = asyncio.get_running_loop().time() + self._settings.load_s
        self.set(self._settings)

    def _now(self) -> Simulation:
        late = asyncio.get_running_loop().time() >= self._faulty_at
        return self._settings if late else self._healthy

    def _is_ready(self) -> bool:
        loaded = asyncio.get_running_loop().time() >= self._ready_at
        return loaded and not self._settings.never_ready

    async def _while_hanging(self) -> None:
        """Return at once unless the engine hangs; then when it is told to stop that."""
        while asyncio.get_running_loop().time() >= self._hangs_at:
            await self._changed.wait()

    @web.middleware
    async def _hanging(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        if request.path != "/simulation":
            await self._while_hanging()
        return await handler(request)

    async def _get_health(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self._is_ready() else 503)

    async def _get_models(self, _: web.Request) -> web.Response:
        root = STRANGE if self._now().strange else self.root
        shared = {"object": "model", "owned_by": "vllm", "root": root, "parent": None}
        data = [{"id": name, **shared} for name in self.names]
        return web.json_response({"object": "list", "data": data})

    async def _get_metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    async def _get_simulation(self, _: web.Request) -> web.Response:
        return web.json_response(self._settings.model_dump(mode="json"))

    async def _post_simulation(self, request: web.Request) -> web.Response:
        try:
            changes = await request.json()
            if not isinstance(changes, dict):
                raise ConfigError("the simulation is set with a JSON object")
            self.set(self._settings.changed(changes))
        except (ConfigError, ValueError) as error:
            return _refuse(400, str(error), kind="BadRequestError")
        log.info("simulation changed: %s", changes)
        return await self._get_simulation(request)

    async def _get_traceparents(self, _: web.Request) -> web.Response:
        return web.json_response(list(self.traceparents))

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, chat=True)

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, chat=False)

    async def _answer(self, request: web.Request, *, chat: bool) -> web.StreamResponse:
        arrived = time.monotonic()
        try:
            body = json.loads(await request.read())
            ask = read_ask(body, chat=chat)
        except (InputError, ValueError) as error:
            return _refuse(400, str(error), kind="BadRequestError")
        self.requests.append(body)
        self.traceparents.append(request.headers.get(TRACEPARENT))
        settings = self._now()
        if refusal := self._refusal(ask, settings):
            return refusal
        async with self._slot():
            try:
                generation = Generation(
                    ask, settings, metrics=self._metrics, draw=self._random,
                    arrived=arrived, may_go_on=self._while_hanging,
                )  # fmt: skip
                return await generation.send(request)
            except (asyncio.CancelledError, ConnectionError):
                self._metrics.finished("abort")
                raise

    def _refusal(self, ask: Ask, settings: Simulation) -> web.Response | None:
        if not self._is_ready():
            return _refuse(503, "The model is still loading.", kind="ServiceUnavailableError")
        if ask.model not in self.names:
            text = f"The model `{ask.model}` does not exist."
            return _refuse(404, text, kind="NotFoundError", param="model")
        if hits(settings.error_rate, self._random):
            self._metrics.finished("error")
            return _refuse(500, "The engine has failed.", kind="InternalServerError")
        return None

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        """Wait for a place among the requests that are answered at the same time."""
        self.open_requests += 1
        self.most_in_flight = max(self.most_in_flight, self.open_requests)
        try:
            with self._metrics.waiting.track_inprogress():
                slots = self._slots
                await slots.acquire()
            try:
                with self._metrics.running.track_inprogress():
                    yield
            finally:
                slots.release()
        finally:
            self.open_requests -= 1


def _refuse(status: int, message: str, *, kind: str, param: str | None = None) -> web.Response:
    body = failure(status, message, kind=kind, param=param)
    return web.json_response(body, status=status)
