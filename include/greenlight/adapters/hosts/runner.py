"""A host that serves, through its agent. What a call means is in `deploy.ports.HostRunner`."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath

from greenlight.adapters.hosts import agent_call
from greenlight.adapters.hosts.agent.ground import CHUNK
from greenlight.adapters.hosts.engines_argv import (
    EngineSlot,
    engine_argv,
    engine_service,
    engine_variables,
    programs,
)
from greenlight.adapters.hosts.transport import Transport
from greenlight.core.digest import FileEntry, short
from greenlight.core.errors import (
    ConfigError,
    GreenlightError,
    InputError,
    ResourceError,
    UnavailableError,
)
from greenlight.core.types import JsonDict
from greenlight.deploy.colours import Colour
from greenlight.deploy.engines import EngineProfile
from greenlight.deploy.fleet import Slots
from greenlight.deploy.ports import (
    EngineState,
    EngineStatus,
    Gpu,
    HostFacts,
    ModelFolder,
    OnBytes,
)

log = logging.getLogger(__name__)

ANSWER_S = 180.0
"""How long the agent may take for a command that hashes nothing; mostly it is a blink."""
HASHED_PER_S = 20_000_000
"""Bytes. A slower disk is taken for a dead one."""
LONGEST_S = 86_400.0
STOP_WAIT_S = 10.0
STOP_MARGIN_S = 15.0
"""What an engine gets beyond its own time limit before it is killed."""


class AgentHost:
    """`deploy.ports.HostRunner` on any transport."""

    def __init__(
        self,
        name: str,
        transport: Transport,
        profile: EngineProfile,
        *,
        root: PurePosixPath,
        address: str,
        slots: Slots,
        python: str,
        keep_models: int,
    ) -> None:
        """Serve below `root`, an absolute path on the host; `python` there runs the engines."""
        self._name, self._transport, self._profile = name, transport, profile
        self._root, self._address, self._slots = root, address, slots
        self._python, self._keep_models = python, keep_models

    @property
    def name(self) -> str:
        """The host's name in the fleet."""
        return self._name

    def __enter__(self) -> AgentHost:
        """Return the host; leaving the block closes the link to it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the link."""
        self.close()

    def close(self) -> None:
        """Close the link to the host; its engines go on."""
        self._transport.close()

    def ping(self) -> None:
        """Return when the host answers and has what its engines need."""
        needed = programs(self._profile, python=self._python)
        missing = self._ask("ping", programs=needed)["missing"]
        if missing:
            raise ConfigError(
                f"host {self._name} lacks {', '.join(missing)}; install it, or change the engine "
                "profile (python, launch)"
            )

    def describe(self) -> HostFacts:
        """Ask the agent; the host's clock is read half-way between question and answer."""
        stopped = [colour for colour in Colour if self.status(colour).state is EngineState.STOPPED]
        ports = {self._slots.of(colour).port: colour for colour in stopped}
        asked = time.time()
        said = self._ask("describe", ports=list(ports))
        within = (time.time() - asked) / 2
        return HostFacts(
            python=said["python"],
            disk_free=said["disk_free"],
            disk_total=said["disk_total"],
            clock_ahead_s=said["time"] - (asked + within),
            clock_within_s=within,
            gpus=tuple(Gpu(**one) for one in said["gpus"]),
            gpu_problem=said["gpu_problem"],
            taken={ports[port]: port for port in said["taken"]},
        )

    def put_model(self, model: ModelFolder, *, on_bytes: OnBytes | None = None) -> None:
        """Copy what is missing, let the host check every byte, and make it a model."""
        manifest = model.manifest
        seconds = min(ANSWER_S + manifest.total_bytes / HASHED_PER_S, LONGEST_S)
        sent = manifest.to_json()
        plan = self._ask("plan_upload", timeout_s=seconds, manifest=sent)
        if plan["verified"]:
            bad = self._ask("verify_model", timeout_s=seconds, manifest=sent)["bad"]
        else:
            self._copy(model, plan, on_bytes or _ignore)
            bad = self._ask("commit_model", timeout_s=seconds, manifest=sent)["bad"]
        if bad:
            raise InputError(
                f"host {self._name}: model {short(manifest.digest)} is damaged and not used: "
                + "; ".join(f"{b['path']} is {b['found']}, wanted {b['wanted']}" for b in bad)
                + "; the next attempt copies it again"
            )
        if on_bytes:
            on_bytes(manifest.total_bytes, manifest.total_bytes)
        log.info("host %s: model %s is there and verified", self._name, short(manifest.digest))

    def has_model(self, digest: str) -> bool:
        """Return whether the verified folder is on the host."""
        return bool(self._ask("has_model", digest=digest)["there"])

    def start(self, colour: Colour, *, model: ModelFolder) -> None:
        """Start a slot's engine."""
        engine = self._engine(colour, model=model.name, digest=model.manifest.digest)
        started = self._ask("start", colour=colour, engine=engine)["started"]
        log.info(
            "host %s: %s %s model %s on port %d",
            self._name,
            colour,
            "starts" if started else "has already started",
            short(model.manifest.digest),
            engine["port"],
        )

    def status(self, colour: Colour) -> EngineStatus:
        """Return what a slot holds."""
        said = self._ask("status", colour=colour)
        return EngineStatus(**{**said, "state": EngineState(said["state"])})

    def stop(self, colour: Colour) -> None:
        """End a slot's engine, asking again and again: no call takes long, whatever its limit."""
        while not (said := self._ask("stop", colour=colour, wait_s=STOP_WAIT_S))["stopped"]:
            if said["killed"]:
                raise UnavailableError(
                    f"host {self._name}: the {colour} engine was killed, but has not ended"
                )
        if said["killed"]:
            log.warning("host %s: %s did not end in its time and was killed", self._name, colour)
        else:
            log.info("host %s: %s is stopped", self._name, colour)

    def logs(self, colour: Colour, *, lines: int = 20) -> str:
        """Return the end of the engine's log."""
        return str(self._ask("logs", colour=colour, lines=lines)["text"])

    def prune(self, *, keep: Sequence[str]) -> tuple[str, ...]:
        """Delete the oldest models beyond `keep_models`."""
        deleted = self._ask("prune", keep=list(keep), most=self._keep_models)["deleted"]
        for digest in deleted:
            log.info("host %s: deleted model %s", self._name, short(digest))
        return tuple(deleted)

    def _ask(self, command: str, *, timeout_s: float = ANSWER_S, **request: object) -> JsonDict:
        sent = {**request, "root": str(self._root)}
        try:
            return agent_call.call(self._transport, command, sent, timeout_s=timeout_s)
        except GreenlightError as error:
            raise type(error)(f"host {self._name}: {error}") from error

    def _copy(self, model: ModelFolder, plan: JsonDict, on_bytes: OnBytes) -> None:
        offsets = {
            wanted["path"]: _trusted(model.path / wanted["path"], wanted)
            for wanted in plan["files"]
        }
        missing = [file for file in model.manifest.files if file.path in offsets]
        left = sum(file.size - offsets[file.path] for file in missing)
        if left > plan["free"]:
            raise ResourceError(
                f"host {self._name}: model {short(model.manifest.digest)} needs "
                f"{left / 1e6:.0f} MB more below {self._root}, but {plan['free'] / 1e6:.0f} MB are "
                "free; free some"
            )
        total = model.manifest.total_bytes
        done = total - sum(file.size for file in missing)
        if offset := sum(offsets.values()):
            log.info("host %s: goes on with a copy that has %d bytes", self._name, done + offset)
        for file in missing:
            self._copy_file(model, file, offsets[file.path], _shifted(on_bytes, done, total))
            done += file.size

    def _copy_file(
        self, model: ModelFolder, file: FileEntry, offset: int, on_bytes: Callable[[int], None]
    ) -> None:
        target = str(self._root / "incoming" / model.manifest.digest / file.path)
        try:
            self._transport.upload(
                model.path / file.path, target, entry=file, offset=offset, on_bytes=on_bytes
            )
        except GreenlightError as error:
            raise type(error)(f"host {self._name}: {file.path}: {error}") from error

    def _engine(self, colour: Colour, *, model: str, digest: str) -> JsonDict:
        port = self._slots.of(colour).port
        slot = EngineSlot(
            colour=colour,
            address=self._address,
            port=port,
            root=self._root,
            digest=digest,
            model=model,
            python=self._python,
        )
        service = engine_service(self._profile, slot)
        return {
            "digest": digest,
            "flags_digest": self._profile.digest,
            "model": model,
            "address": self._address,
            "port": port,
            "limit_s": self._profile.shutdown_s + STOP_MARGIN_S,
            "argv": engine_argv(self._profile, slot),
            "environment": engine_variables(self._profile, root=self._root),
            "service": None if service is None else asdict(service),
        }


def _trusted(source: Path, wanted: JsonDict) -> int:
    """Return from which byte on a file is copied: behind what the host has, if that is right."""
    if not source.is_file():
        raise InputError(f"{source} is gone: it was there when the folder was checked")
    have: int = wanted["have"]
    state, left = hashlib.sha256(), have
    with source.open("rb") as file:
        while left > 0 and (chunk := file.read(min(CHUNK, left))):
            state.update(chunk)
            left -= len(chunk)
    return have if have and state.hexdigest() == wanted["sha256"] else 0


def _shifted(on_bytes: OnBytes, done: int, total: int) -> Callable[[int], None]:
    return lambda arrived: on_bytes(done + arrived, total)


def _ignore(done: int, total: int) -> None:
    """Report nothing."""
