"""A host that exists in memory only, with faults that a test plants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from greenlight.core.digest import Manifest, digest_file, short
from greenlight.core.errors import InputError, RefusedError, ResourceError, UnavailableError
from greenlight.deploy.colours import Colour
from greenlight.deploy.ports import (
    EngineState,
    EngineStatus,
    HostFacts,
    ModelFolder,
    OnBytes,
)

OTHER_DIGEST = "0" * 64


class EngineFault(StrEnum):
    """What is wrong with every engine that is started."""

    DIES = "dies"
    NEVER_READY = "never ready"
    WRONG_DIGEST = "wrong digest"
    """It answers for a model that it was not started with."""


@dataclass(slots=True, kw_only=True)
class MemoryEngine:
    """An engine that was started. `asked`: how often its status was."""

    model: str
    digest: str
    flags_digest: str
    fault: EngineFault | None = None
    crashed: bool = False
    asked: int = 0

    @property
    def lives(self) -> bool:
        """Whether its process would run."""
        return not self.crashed and self.fault is not EngineFault.DIES


@dataclass(slots=True, kw_only=True)
class MemoryHost:
    """`deploy.ports.HostRunner` without a host. A test reads and changes its fields at any time.

    `away`: it cannot be reached. `damage`: the path of a file that arrives with a wrong byte.
    `fault`: of engines that are started from now on. `starting`: how many times an engine's status
    is "starting" before it is ready. `facts`: what it says it is. `calls`: what was called with
    which slot, in order.
    """

    name: str = "memory"
    flags_digest: str = "f" * 64
    keep_models: int = 3
    disk_bytes: int = 10**12
    starting: int = 1
    away: bool = False
    damage: str | None = None
    fault: EngineFault | None = None
    facts: HostFacts | None = None
    models: dict[str, Manifest] = field(default_factory=dict)
    """By digest, the one that was not used for longest first."""
    damaged: dict[str, str] = field(default_factory=dict)
    """The path of a file that a disk has damaged, by digest."""
    engines: dict[Colour, MemoryEngine] = field(default_factory=dict)
    calls: list[tuple[str, Colour | None]] = field(default_factory=list)

    def ping(self) -> None:
        """Answer, unless away."""
        self._answer("ping")

    def describe(self) -> HostFacts:
        """Return what a test gave the host."""
        self._answer("describe")
        return self.facts or HostFacts(
            python="3.11.0",
            disk_free=self.disk_bytes,
            disk_total=self.disk_bytes,
            clock_ahead_s=0.0,
            clock_within_s=0.0,
        )

    def put_model(self, model: ModelFolder, *, on_bytes: OnBytes | None = None) -> None:
        """Keep the manifest, once the folder's files prove to be what it says."""
        self._answer("put_model")
        manifest = model.manifest
        if found := self.damaged.pop(manifest.digest, None):
            del self.models[manifest.digest]
            raise self._damaged(manifest, found)
        if manifest.digest not in self.models:
            self._copy(model)
        self.models[manifest.digest] = self.models.pop(manifest.digest, manifest)
        if on_bytes:
            on_bytes(manifest.total_bytes, manifest.total_bytes)

    def has_model(self, digest: str) -> bool:
        """Return whether a digest was put here."""
        self._answer("has_model")
        return digest in self.models

    def start(self, colour: Colour, *, model: ModelFolder) -> None:
        """Remember an engine."""
        self._answer("start", colour)
        digest = model.manifest.digest
        if digest not in self.models:
            raise InputError(f"host {self.name}: model {short(digest)} is not here; copy it")
        held = self.engines.get(colour)
        if held and held.lives:
            if (held.digest, held.flags_digest) == (digest, self.flags_digest):
                return
            raise RefusedError(
                f"host {self.name}: {colour} runs {short(held.digest)}; stop it first"
            )
        self.engines[colour] = MemoryEngine(
            model=model.name, digest=digest, flags_digest=self.flags_digest, fault=self.fault
        )

    def status(self, colour: Colour) -> EngineStatus:
        """Return what the slot's engine would say."""
        self._answer("status", colour)
        engine = self.engines.get(colour)
        if engine is None:
            return EngineStatus(state=EngineState.STOPPED)
        engine.asked += 1
        state, served, reason = self._said(engine)
        return EngineStatus(
            state=state,
            digest=engine.digest,
            flags_digest=engine.flags_digest,
            served_digest=served,
            reason=reason,
        )

    def stop(self, colour: Colour) -> None:
        """Forget the slot's engine."""
        self._answer("stop", colour)
        self.engines.pop(colour, None)

    def logs(self, colour: Colour, *, lines: int = 20) -> str:
        """Return a line about the slot's engine."""
        self._answer("logs", colour)
        engine = self.engines.get(colour)
        return f"serves {engine.model}" if engine and lines else ""

    def prune(self, *, keep: Sequence[str]) -> tuple[str, ...]:
        """Delete the oldest models beyond `keep_models`."""
        self._answer("prune")
        kept = {*keep, *(engine.digest for engine in self.engines.values())}
        spare = [digest for digest in self.models if digest not in kept]
        deleted = spare[: max(0, len(self.models) - self.keep_models)]
        for digest in deleted:
            del self.models[digest]
        return tuple(deleted)

    def _copy(self, model: ModelFolder) -> None:
        used = sum(manifest.total_bytes for manifest in self.models.values())
        if model.manifest.total_bytes > self.disk_bytes - used:
            raise ResourceError(
                f"host {self.name}: {model.manifest.total_bytes} bytes don't fit, "
                f"{self.disk_bytes - used} are free"
            )
        for file in model.manifest.files:
            if file.path == self.damage or digest_file(model.path / file.path) != file.sha256:
                raise self._damaged(model.manifest, file.path)

    def _said(self, engine: MemoryEngine) -> tuple[EngineState, str | None, str | None]:
        if not engine.lives:
            return EngineState.FAILED, None, "the engine ended"
        if engine.fault is EngineFault.NEVER_READY or engine.asked <= self.starting:
            return EngineState.STARTING, None, None
        if engine.fault is EngineFault.WRONG_DIGEST:
            return EngineState.FAILED, OTHER_DIGEST, "it answers for another model"
        return EngineState.READY, engine.digest, None

    def _damaged(self, manifest: Manifest, path: str) -> InputError:
        return InputError(
            f"host {self.name}: model {short(manifest.digest)} is damaged and not used: {path}"
        )

    def _answer(self, call: str, colour: Colour | None = None) -> None:
        self.calls.append((call, colour))
        if self.away:
            raise UnavailableError(f"host {self.name} did not answer")
