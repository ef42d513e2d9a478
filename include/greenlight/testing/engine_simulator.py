"""The engine simulator: in a thread for tests, or as a process in vLLM's place.

In a test: `with EngineSimulator() as engine: … engine.url`. As a process:
`python -m greenlight.testing.engine_simulator --model FOLDER --served-model-name N --port P`, with
settings as flags (`--first-token-s 0.2`) or in the folder's `simulation.json`; vLLM's other options
are accepted and have no effect. `POST /simulation` changes settings while it runs.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web
from pydantic.fields import FieldInfo

from greenlight.adapters.event_loop import loop_factory
from greenlight.core.errors import GreenlightError, UnavailableError
from greenlight.core.logs import configure_logging
from greenlight.core.types import JsonDict
from greenlight.testing.simulated_engine import SimulatedEngine
from greenlight.testing.simulation import Simulation, simulation_of

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
CRASHED = 139
"""The exit status of a process that a segmentation fault ended."""
BACKLOG = 1024
KEEP_ALIVE_S = 5.0
"""vLLM's: a connection that idles longer is closed."""
POLL_S = 0.02
WRITE_S = 1.0
"""How long the last answers may take to be written."""
START_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What is served where. `shutdown_s`: how long streams may end after SIGTERM; vLLM's is 0."""

    model: Path
    names: tuple[str, ...]
    host: str = HOST
    port: int = 8000
    shutdown_s: float = 0.0


class EngineSimulator:
    """An engine in a thread of this process, on a port that the kernel chose."""

    def __init__(
        self,
        simulation: Simulation = Simulation(),  # noqa: B008 - frozen
        *,
        model: str = "simulated",
        root: str = "/models/simulated",
    ) -> None:
        self.url = ""
        self.model = model
        self._engine: SimulatedEngine | None = None
        self._simulation, self._root = simulation, root
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="engine simulator", daemon=True)

    @property
    def requests(self) -> list[JsonDict]:
        """The last requests that could be read, oldest first."""
        return list(self._running.requests)

    @property
    def traceparents(self) -> list[str | None]:
        """The trace header of each of `requests`."""
        return list(self._running.traceparents)

    @property
    def most_in_flight(self) -> int:
        """The most requests that were open at the same time."""
        return self._running.most_in_flight

    def change(self, **changes: Any) -> None:
        """Change settings while it runs, as `POST /simulation` does.

        Raises:
            ConfigError: there is no such setting, or its value is out of range.
            UnavailableError: the engine is not started.
        """
        simulation = self._running.settings.changed(changes)
        done = threading.Event()

        def apply() -> None:
            self._running.set(simulation)
            done.set()

        if self._soon(apply):
            done.wait(START_S)

    def __enter__(self) -> EngineSimulator:
        """Start serving; whether the engine is ready is `load_s`'s affair."""
        self._thread.start()
        if not self._started.wait(START_S):
            raise UnavailableError(f"the engine simulator did not start within {START_S:g} s")
        return self

    def __exit__(self, *_: object) -> None:
        """Stop serving; open streams are cut."""
        self._soon(self._stop.set)
        self._thread.join(START_S)

    def _soon(self, call: Callable[[], object]) -> bool:
        """Return whether the engine's loop will make the call; a crash has closed it."""
        if self._loop is None or self._loop.is_closed():
            return False
        with suppress(RuntimeError):  # closed this very moment
            self._loop.call_soon_threadsafe(call)
            return True
        return False

    @property
    def _running(self) -> SimulatedEngine:
        if self._engine is None:
            raise UnavailableError("the engine simulator is not started")
        return self._engine

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._engine = SimulatedEngine(
            self._simulation, names=(self.model,), root=self._root, on_crash=self._stop.set
        )
        runner = await _listen(self._engine, host=HOST, port=0)
        self.url = f"http://{HOST}:{runner.addresses[0][1]}"
        self._started.set()
        await self._stop.wait()
        _cut(runner)
        await runner.cleanup()


def serve(simulation: Simulation, serving: Serving) -> None:
    """Serve in this process until SIGTERM or SIGINT; then let open streams end."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(simulation, serving))


async def _serve(simulation: Simulation, serving: Serving) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    engine = SimulatedEngine(
        simulation, names=serving.names, root=str(serving.model), on_crash=lambda: os._exit(CRASHED)
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = await _listen(engine, host=serving.host, port=serving.port)
    log.info("simulating %s on %s", serving.names[0], runner.addresses[0])
    await stop.wait()
    for site in list(runner.sites):
        await site.stop()
    give_up = loop.time() + serving.shutdown_s
    while engine.open_requests and loop.time() < give_up:
        await asyncio.sleep(POLL_S)
    if engine.open_requests:
        _cut(runner)
    log.info("stopped; %d requests were cut", engine.open_requests)
    await runner.cleanup()  # an answer that is made may still have to be written


async def _listen(engine: SimulatedEngine, *, host: str, port: int) -> web.AppRunner:
    runner = web.AppRunner(
        engine.application(),
        access_log=None,
        handler_cancellation=True,  # a client that hangs up frees its slot, as in vLLM
        keepalive_timeout=KEEP_ALIVE_S,
        shutdown_timeout=WRITE_S,
    )
    await runner.setup()
    await web.TCPSite(runner, host, port, backlog=BACKLOG).start()
    return runner


def _cut(runner: web.AppRunner) -> None:
    """Break every connection, in the middle of an answer too."""
    for connection in list(runner.server.connections if runner.server else ()):
        if connection.transport is not None:
            connection.transport.abort()


def read_arguments(arguments: Sequence[str]) -> tuple[Simulation, Serving]:
    """Read the command line. Flags win over the folder's `simulation.json`.

    Raises:
        ConfigError: a setting's value is out of range.
    """
    parser = argparse.ArgumentParser(prog="greenlight.testing.engine_simulator", allow_abbrev=False)
    parser.add_argument("--model", type=Path, required=True, help="The model's folder.")
    parser.add_argument("--served-model-name", nargs="+", help="Its names; else the folder.")
    parser.add_argument("--host", default=HOST)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--shutdown-timeout", type=float, default=0.0, help="Seconds.")
    group = parser.add_argument_group("simulation")
    for name, field in Simulation.model_fields.items():
        if field.annotation != dict[str, str]:
            group.add_argument(f"--{name.replace('_', '-')}", **_as_flag(field))
    chosen, ignored = parser.parse_known_args(arguments)
    if ignored:
        log.info("without effect in a simulation: %s", " ".join(ignored))
    changes = {
        name: value
        for name in Simulation.model_fields
        if (value := getattr(chosen, name, None)) is not None
    }
    serving = Serving(
        model=chosen.model,
        names=tuple(chosen.served_model_name or [str(chosen.model)]),
        host=chosen.host,
        port=chosen.port,
        shutdown_s=chosen.shutdown_timeout,
    )
    return simulation_of(chosen.model).changed(changes), serving


def _as_flag(field: FieldInfo) -> dict[str, Any]:
    shown = {"help": field.description}
    if field.annotation is bool:
        return {"action": argparse.BooleanOptionalAction, "default": None, **shown}
    return {"metavar": "VALUE", **shown}


def run(read: Callable[[], tuple[Simulation, Serving]]) -> int:
    """Serve what was asked for; return the exit status."""
    try:
        simulation, serving = read()
    except GreenlightError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if simulation.death is not None:
        sys.stderr.write(f"{simulation.death}\n")
        return 1
    serve(simulation, serving)
    return 0


if __name__ == "__main__":
    configure_logging(service="greenlight-engine")
    sys.exit(run(lambda: read_arguments(sys.argv[1:])))
