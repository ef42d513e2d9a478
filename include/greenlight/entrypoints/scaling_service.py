"""`greenlight scaling run`: the loops of all fleets that have one, as one service."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from greenlight.core.clock import Clock, SystemClock
from greenlight.core.errors import RefusedError, UnavailableError
from greenlight.core.settings import Settings, load_settings
from greenlight.core.stopping import until_told
from greenlight.deploy.journal import live, since_live
from greenlight.deploy.ports import JournalStore
from greenlight.entrypoints.fleet_loop import Loop
from greenlight.scaling.scaling_file import AwsGroup, LocalSlots, load_scaling

log = logging.getLogger(__name__)

WRITE_S = 5.0
"""How often it is written when each fleet was looked at."""


def serve(settings: Settings | None = None, *, every_s: float) -> None:
    """Run every loop until SIGTERM or SIGINT; end with the first that breaks.

    Raises:
        ConfigError: scaling.yaml or fleet.yaml is wrong.
        RefusedError: no database is configured, and the stack is not up.
    """
    from greenlight.adapters.rollout_store import DatabaseJournal
    from greenlight.adapters.stack.greenlight_servers import SCALING_METRICS
    from greenlight.entrypoints.stack import open_database

    settings = settings or load_settings()
    journal = DatabaseJournal(open_database(settings))
    loops = {
        fleet: OnceLive(fleet=fleet, journal=journal, settings=settings)
        for fleet in fleets_with_a_loop(settings)
    }
    with until_told() as stop:
        run(loops, every_s=every_s, stop=stop, file=settings.metrics / SCALING_METRICS)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnceLive:
    """A fleet's loop from the moment on that something is live: opening it starts the router."""

    fleet: str
    journal: JournalStore
    settings: Settings

    def run(
        self,
        *,
        every_s: float,
        stop: threading.Event,
        looked: Callable[[], None] = lambda: None,
    ) -> None:
        """Wait until something is live, then run its loop."""
        while not stop.is_set() and not self._is_live():
            looked()
            stop.wait(every_s)
        if not stop.is_set():
            self._open().run(every_s=every_s, stop=stop, looked=looked)

    def _open(self) -> Loop:
        from greenlight.entrypoints.aws_loop import open_aws_loop
        from greenlight.entrypoints.scaling_tools import open_loop

        found = open_loop(self.fleet, self.settings) or open_aws_loop(self.fleet, self.settings)
        if found is None:
            raise RefusedError(f"fleet {self.fleet} has no loop any more: start the service again")
        return found

    def _is_live(self) -> bool:
        try:
            return live(since_live(self.journal, self.fleet)) is not None
        except UnavailableError as error:
            log.warning("whether fleet %s is live is not known: %s", self.fleet, error)
            return False


def fleets_with_a_loop(settings: Settings) -> list[str]:
    """Return the fleets that scaling.yaml lets us act on by ourselves."""
    named = load_scaling(settings.config_file("scaling")).fleets
    return sorted(
        name for name, one in named.items() if isinstance(one.target, LocalSlots | AwsGroup)
    )


def run(
    loops: Mapping[str, Loop],
    *,
    every_s: float,
    stop: threading.Event,
    file: Path,
    clock: Clock = SystemClock(),  # noqa: B008 - stateless
) -> None:
    """Run the loops, each in a thread, and write when each looked last. Without any it waits.

    A loop that breaks ends the others, and its error is raised: who supervises the service starts
    all of them again.
    """
    log.info("fleets with a loop: %s", ", ".join(sorted(loops)) or "none")
    looked: dict[str, datetime] = {}
    with ThreadPoolExecutor(max(1, len(loops)), thread_name_prefix="slots") as pool:
        running = [
            pool.submit(_run, loop, fleet, looked, every_s=every_s, stop=stop, clock=clock)
            for fleet, loop in loops.items()
        ]
        try:
            while not stop.is_set() and not any(one.done() for one in running):
                _write(file, dict(looked))
                stop.wait(WRITE_S)
        finally:
            stop.set()
    _raise_first(running)


def _run(
    loop: Loop,
    fleet: str,
    looked: dict[str, datetime],
    *,
    every_s: float,
    stop: threading.Event,
    clock: Clock,
) -> None:
    def note() -> None:
        looked[fleet] = clock.now()

    loop.run(every_s=every_s, stop=stop, looked=note)


def _raise_first(running: list[Future[None]]) -> None:
    for one in running:
        one.result()


def _write(file: Path, looked: Mapping[str, datetime]) -> None:
    from greenlight.adapters.text_metrics import Sample, write_samples
    from greenlight.core.metrics import LabelName, MetricName

    write_samples(
        file,
        [
            Sample(
                name=MetricName.SCALING_LOOKED,
                value=at.timestamp(),
                labels={LabelName.FLEET: fleet},
            )
            for fleet, at in sorted(looked.items())
        ],
        about={MetricName.SCALING_LOOKED: "When the loop of a fleet looked last."},
    )
