"""Benchmark what is live after a rollout, and compare it with the version before.

Nothing is locked: a benchmark must not hold a deploy up. What was measured while a rollout went on
is thrown away.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from greenlight.core.clock import Clock, SystemClock
from greenlight.core.digest import short
from greenlight.core.errors import GateError, RefusedError, UnavailableError
from greenlight.core.settings import Settings, load_settings, read_config
from greenlight.core.types import JsonDict
from greenlight.deploy.engines import EngineKind
from greenlight.deploy.fleet import Fleet, FleetFile, load_fleet
from greenlight.deploy.journal import (
    History,
    Live,
    Progress,
    Rollout,
    Step,
    history_of,
    live,
    unfinished,
)
from greenlight.deploy.performance import (
    Benchmark,
    PerformanceSettings,
    load_performance,
    numbers_of,
)
from greenlight.deploy.ports import JournalStore, Target
from greenlight.deploy.regression import Comparison, Result, compare, table
from greenlight.entrypoints.performance_load import Sent, send_load
from greenlight.entrypoints.performance_record import PerformanceRecord, PerformanceRegistry

if TYPE_CHECKING:
    from greenlight.deploy.ports import RouterState

log = logging.getLogger(__name__)


POLL_S = 2.0
STOP_S = 15.0
"""What the host's agent adds to an engine's own time limit."""
SLACK_S = 60.0


class StateOf(Protocol):
    """Where requests go. See `deploy.ports.Router`."""

    def state(self) -> RouterState:
        """Return what the router does now."""


class SendLoad(Protocol):
    """Sends the load and returns every request. See `performance_load.send_load`."""

    def __call__(self, target: Target, settings: PerformanceSettings, *, key: str) -> Sent:
        """Send it; `key` tells this run from others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """Benchmarks of one fleet. Each part can be a fake."""

    fleet: Fleet
    settings: PerformanceSettings
    router: StateOf
    journal: JournalStore
    registry: PerformanceRegistry
    send: SendLoad = send_load
    clock: Clock = SystemClock()  # noqa: RUF009 - stateless
    sleep: Callable[[float], None] = time.sleep

    def is_due(self) -> bool:
        """Tell whether what is live, or becomes so in a moment, has not been measured yet."""
        history = self._history()
        left = unfinished(history)
        if left is not None and _made(history, left).has(Step.PROMOTE):
            return True
        now = live(history)
        return now is not None and not self._is_measured(now)

    def measure(self, *, again: bool) -> JsonDict:
        """Measure the live version, keep the numbers in the registry, and compare.

        `again`: although it was measured since its rollout.

        Raises:
            GateError: it is slower than the version before; everything is kept, and the message
                has the numbers.
            RefusedError: nothing is live, or the registry's version has other files.
            UnavailableError: a rollout goes on, no request was answered, or the registry is away.
        """
        now = self._settled()
        if not again and self._is_measured(now):
            log.info("version %d was measured since its rollout", now.version)
            return {"fleet": self.fleet.name, "version": now.version, "result": "measured already"}
        self._require_files(now)
        before, sent, after = self._undisturbed(now)
        benchmark = self._benchmark(now, before, sent, after)
        compared = compare(self._earlier(now), benchmark, self.settings)
        run = self._record.keep(benchmark, sent.samples, compared, settings=self.settings)
        shown = table(benchmark, compared)
        if compared.result is Result.REGRESSION:
            raise GateError(
                f"{benchmark.model} version {benchmark.version} is slower on fleet "
                f"{benchmark.fleet} than version {_before(compared)}: {compared.reason}; it goes "
                f"on serving, see {run.url} and docs/runbooks/deploy.md\n{shown}"
            )
        log.info("%s; %s: %s\n%s", benchmark.summary, compared.result, compared.reason, shown)
        return {
            "fleet": benchmark.fleet,
            "version": benchmark.version,
            "run": run.url,
            "result": str(compared.result),
            "reason": compared.reason,
            "summary": benchmark.summary,
            "table": shown,
            "numbers": [number.model_dump() for number in benchmark.numbers],
            "comparison": compared.to_json(),
        }

    def _settled(self) -> Live:
        """Wait until a rollout that was promoted has drained and stopped the old colour."""
        engine, hosts = self.fleet.engine, len(self.fleet.hosts)
        patience_s = engine.drain_s + hosts * (engine.shutdown_s + STOP_S) + SLACK_S
        until = self.clock.monotonic() + patience_s
        while (left := unfinished(history := self._history())) is not None:
            if not _made(history, left).has(Step.PROMOTE) or self.clock.monotonic() > until:
                raise UnavailableError(
                    f"rollout {left.id} is on its way on fleet {self.fleet.name}: measure when it "
                    "has ended"
                )
            self.sleep(POLL_S)
        now = live(history)
        if now is None:
            raise RefusedError(f"fleet {self.fleet.name} serves nothing: deploy a version first")
        return now

    def _require_files(self, now: Live) -> None:
        found = self.registry.get(self.fleet.model, now.version)
        if found.digest != now.digest:
            raise RefusedError(
                f"fleet {self.fleet.name} serves digest {short(now.digest)}, but version "
                f"{now.version} of {self.fleet.model} is {short(found.digest)} in the registry"
            )

    def _undisturbed(self, now: Live) -> tuple[RouterState, Sent, RouterState]:
        """Send the load while the live colour gets everything."""
        before = self._state_serving(now)
        target = Target(
            colour=now.colour,
            url=f"http://{_reachable(self.fleet.router.address)}:{self.fleet.router.port}",
            model=self.fleet.model,
        )
        sent = self.send(target, self.settings, key=self.clock.now().isoformat())
        failures = [sample.reason for sample in sent.samples if not sample.ok]
        if len(failures) == len(sent.samples):
            raise UnavailableError(
                f"fleet {self.fleet.name} answered none of {len(failures)} requests at "
                f"{target.url}: {failures[0] if failures else 'none was sent'}"
            )
        history = self._history()
        if live(history) != now or unfinished(history) is not None:
            raise UnavailableError(
                f"a rollout began on fleet {self.fleet.name} while version {now.version} was "
                "measured; the numbers are thrown away"
            )
        return before, sent, self._state_serving(now)

    def _state_serving(self, now: Live) -> RouterState:
        state = self.router.state()
        share = state.share(now.colour)
        if share < 1:
            raise UnavailableError(
                f"the router of fleet {self.fleet.name} sends {share:.0%} to {now.colour}, not "
                "everything; `greenlight deploy status` shows its servers"
            )
        return state

    def _benchmark(
        self, now: Live, before: RouterState, sent: Sent, after: RouterState
    ) -> Benchmark:
        served = _requests(after, now) - _requests(before, now)
        serving = [s for s in after.of(now.colour) if s.up and s.weight > 0]
        return Benchmark(
            fleet=self.fleet.name,
            model=self.fleet.model,
            version=now.version,
            digest=now.digest,
            flags_digest=now.flags_digest,
            load_digest=self.settings.load_digest,
            hosts=len(serving),
            rollout_id=now.rollout_id,
            measured_at=self.clock.now(),
            requests=sent.requests,
            other_requests=None if served < 0 else max(0, served - sent.requests),
            confidence=self.settings.each_confidence,
            numbers=numbers_of(sent.levels, sent.at_rate, self.settings),
        )

    def _earlier(self, now: Live) -> Benchmark | None:
        """Return the benchmark of the version that the live one took over from."""
        previous = self.journal.rollout(now.rollout_id).previous_version
        found = None if previous is None else self._record.benchmark(previous)
        # The same version, deployed again with other flags, has its own benchmark there by now.
        return found if found is not None and found.rollout_id != now.rollout_id else None

    def _is_measured(self, now: Live) -> bool:
        found = self._record.benchmark(now.version)
        return found is not None and (found.rollout_id, found.load_digest) == (
            now.rollout_id,
            self.settings.load_digest,
        )

    @property
    def _record(self) -> PerformanceRecord:
        return PerformanceRecord(self.registry, model=self.fleet.model, fleet=self.fleet.name)

    def _history(self) -> History:
        return history_of(self.journal, self.fleet.name)


def _made(history: History, rollout: Rollout) -> Progress:
    return next(made for found, made in history if found.id == rollout.id)


def _requests(state: RouterState, now: Live) -> int:
    return sum(server.requests for server in state.of(now.colour))


def _reachable(address: str) -> str:
    """Return an address to connect to: a router that listens everywhere is asked here."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(address, address)  # noqa: S104


def _before(compared: Comparison) -> int | str:
    return "before" if compared.before is None else compared.before.version


def open_performance(fleet: str, *, settings: Settings | None = None) -> Performance:
    """Open a fleet for this machine's settings.

    Raises:
        ConfigError: the fleet file or performance file is wrong, or lacks the fleet.
        RefusedError: no database or registry is configured, and the embedded stack is not up.
    """
    from greenlight.adapters.haproxy.router import HaproxyRouter
    from greenlight.adapters.rollout_store import DatabaseJournal
    from greenlight.entrypoints import stack
    from greenlight.entrypoints.models import open_registry

    settings = settings or load_settings()
    found = load_fleet(settings.config_file("fleet"), fleet)
    return Performance(
        fleet=found,
        settings=load_performance(settings.config_file("performance"), fleet),
        router=HaproxyRouter(found, folder=settings.home / "router" / fleet),
        journal=DatabaseJournal(stack.open_database(settings)),
        registry=open_registry(settings),
    )


def due_fleets(params: JsonDict) -> list[str]:
    """Return the fleets that the DAG measures: the one it was asked for, else all that are due.

    Simulators, and fleets with `benchmark_on_deploy: false`, are measured only when asked for.
    """
    if params.get("fleet"):
        return [str(params["fleet"])]
    settings = load_settings()
    fleets = read_config(settings.config_file("fleet"), FleetFile).fleets
    return [
        fleet.name
        for fleet in fleets
        if fleet.benchmark_on_deploy
        and fleet.engine.kind is not EngineKind.SIMULATOR
        and open_performance(fleet.name, settings=settings).is_due()
    ]


def benchmark(fleet: str, params: JsonDict) -> JsonDict:
    """Measure one fleet for the DAG; a fleet that was asked for is measured again."""
    return open_performance(fleet).measure(again=bool(params.get("fleet")))
