"""What a rollout works with: hosts, router, database, registry; opened from the settings."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from greenlight.adapters.load_plan import GoldenPrompt
from greenlight.core.clock import Clock, SystemClock
from greenlight.core.errors import InputError
from greenlight.core.settings import Settings
from greenlight.core.traces import Tracer, Untraced
from greenlight.core.types import JsonDict
from greenlight.deploy.colours import Colour
from greenlight.deploy.fleet import Fleet, load_fleet
from greenlight.deploy.ports import (
    EngineMetrics,
    HostRunner,
    JournalStore,
    LeaseStore,
    ModelFolder,
    Prober,
    Router,
    Target,
)
from greenlight.deploy.rollout_file import LoadSettings
from greenlight.deploy.serving_hosts import Serving

if TYPE_CHECKING:
    from greenlight.registry.ports import ModelRegistry, Version

OpenProber = Callable[[Sequence[GoldenPrompt], LoadSettings], Prober]


class SmokeTest(Protocol):
    """Asks engines (host, target) golden prompts; raises `GateError` when one answers wrongly."""

    def __call__(
        self,
        targets: Sequence[tuple[str, Target]],
        golden: Sequence[GoldenPrompt],
        *,
        at_most: int,
    ) -> JsonDict:
        """Return how many answers agreed."""


class AliasRegistry(Protocol):
    """As much of a model registry as a rollout needs: versions, and where aliases point."""

    def get(self, model: str, version: int) -> Version:
        """Return one version."""

    def find(
        self, model: str, *, tags: Mapping[str, str], alias: str | None = None
    ) -> Version | None:
        """Return the version that an alias points at."""

    def set_alias(self, model: str, *, alias: str, version: int) -> None:
        """Point an alias at a version."""

    def remove_alias(self, model: str, *, alias: str) -> None:
        """Make an alias point nowhere."""


class VersionFolders(Protocol):
    """Versions as verified folders, and what their evidence says. See `Models`."""

    @property
    def registry(self) -> AliasRegistry:
        """Where versions and aliases are kept."""

    def folder(self, model: str, version: int) -> ModelFolder:
        """Return a version's folder."""

    def golden(self, model: str, version: int) -> tuple[GoldenPrompt, ...]:
        """Return the prompts whose answers the version's evidence holds."""

    def standing(self, model: str, version: int) -> JsonDict:
        """Return whether a version may go live now."""


class Models:
    """Versions as folders on this machine, with what their evidence recorded."""

    def __init__(self, settings: Settings, registry: ModelRegistry) -> None:
        self._settings, self._registry = settings, registry
        self._folders: dict[tuple[str, int], ModelFolder] = {}

    @property
    def registry(self) -> ModelRegistry:
        """The registry itself."""
        return self._registry

    def folder(self, model: str, version: int) -> ModelFolder:
        """Return the verified folder of a version, fetched from the registry when it isn't here.

        Its files are read once a process: ten hosts need not wait for ten readings, and each host
        checks what arrives anyway.

        Raises:
            InputError: there is no such version, or its files are not what its digest says.
        """
        from greenlight.entrypoints.models import fetch_version

        key = (model, version)
        if key not in self._folders:
            found = self._registry.get(model, version)
            path, manifest = fetch_version(self._settings, found, registry=self._registry)
            self._folders[key] = ModelFolder(name=model, path=path, manifest=manifest)
        return self._folders[key]

    def golden(self, model: str, version: int) -> tuple[GoldenPrompt, ...]:
        """Return the prompts whose answers the version's evidence holds; none: no evidence."""
        from greenlight.entrypoints.evidence import show_evidence
        from greenlight.registry.tags import Tag

        if self._registry.get(model, version).tag(Tag.EVIDENCE_DIGEST) is None:
            return ()
        evidence = show_evidence(self._settings, model, version, registry=self._registry)
        return tuple(
            GoldenPrompt(
                id=number,
                text=entry["prompt"],
                max_tokens=entry["max_tokens"],
                expected=entry["text"],
            )
            for number, entry in enumerate(evidence["golden"])
        )

    def standing(self, model: str, version: int) -> JsonDict:
        """Return whether a version may go live now: `{"approved", "reason", …}`."""
        from greenlight.entrypoints import approvals

        return approvals.standing(
            self._settings, model=model, version=version, registry=self._registry
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Everything that a rollout acts through. Each part can be a fake."""

    fleet: Fleet
    hosts: Mapping[str, HostRunner]
    router: Router
    leases: LeaseStore
    journal: JournalStore
    models: VersionFolders
    open_prober: OpenProber
    engine_metrics: EngineMetrics
    smoke_test: SmokeTest
    tracer: Tracer = Untraced()  # noqa: RUF009 - stateless
    clock: Clock = SystemClock()  # noqa: RUF009 - stateless
    sleep: Callable[[float], None] = time.sleep

    def target(self, colour: Colour, host: str) -> Target:
        """Return the engine of a colour on a host."""
        found = self.fleet.host(host)
        return Target(
            colour=colour,
            url=f"http://{found.address}:{found.slots.of(colour).port}",
            model=self.fleet.model,
        )

    def targets(self, serving: Serving) -> tuple[Target, ...]:
        """Return the engines that serve."""
        return tuple(
            self.target(colour, host) for colour, hosts in serving.items() for host in hosts
        )


def open_tools(settings: Settings, fleet_name: str, *, clock: Clock | None = None) -> Tools:
    """Open everything for one fleet; the router is started when it does not run.

    Raises:
        ConfigError: the fleet file is wrong, or lacks the fleet.
        RefusedError: no database or registry is configured, and the embedded stack is not up.
    """
    from greenlight.adapters.engine_metrics import HttpEngineMetrics
    from greenlight.adapters.haproxy.router import HaproxyRouter
    from greenlight.adapters.hosts import open_host
    from greenlight.adapters.rollout_store import DatabaseJournal, DatabaseLeases
    from greenlight.entrypoints import stack
    from greenlight.entrypoints.models import open_registry
    from greenlight.entrypoints.rollout_smoke import smoke_test
    from greenlight.entrypoints.tracing import open_lenient_tracer

    fleet = load_fleet(settings.config_file("fleet"), fleet_name)
    engine = stack.open_database(settings)
    registry = open_registry(settings)
    router = HaproxyRouter(fleet, folder=settings.home / "router" / fleet.name)
    router.ensure_running()
    return Tools(
        fleet=fleet,
        hosts={host.name: open_host(host, fleet.engine, settings=settings) for host in fleet.hosts},
        router=router,
        leases=DatabaseLeases(engine),
        journal=DatabaseJournal(engine),
        models=Models(settings, registry),
        open_prober=open_load,
        engine_metrics=HttpEngineMetrics(),
        smoke_test=smoke_test,
        tracer=open_lenient_tracer("greenlight-deploy"),
        clock=clock or SystemClock(),
    )


def open_load(prompts: Sequence[GoldenPrompt], settings: LoadSettings) -> Prober:
    """Return the seeded load of a rollout; `settings.rate` is that of each engine."""
    from greenlight.adapters.load import OpenLoopLoad
    from greenlight.adapters.load_plan import LoadPlan

    return OpenLoopLoad(
        LoadPlan(
            rate=settings.rate,
            prompts=tuple(prompts),
            seed=settings.seed,
            stream_share=settings.stream_share,
            timeout_s=settings.timeout_s,
        )
    )


def require_version(registry: AliasRegistry, model: str, wanted: int | str) -> int:
    """Return the number of a version named by its number or by an alias.

    Raises:
        InputError: there is none.
    """
    if isinstance(wanted, int) or wanted.isdigit():
        return registry.get(model, int(wanted)).version
    found = registry.find(model, tags={}, alias=wanted)
    if found is None:
        raise InputError(f"model {model} has no version with alias {wanted!r}")
    return found.version
