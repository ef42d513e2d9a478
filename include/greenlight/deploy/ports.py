"""What a rollout needs from hosts, router, database and load, named after the need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from threading import Event as StopEvent
from typing import Protocol

from greenlight.core.digest import Manifest
from greenlight.deploy.colours import Colour
from greenlight.deploy.counters import FirstTokens, Unread
from greenlight.deploy.fleet import Fleet
from greenlight.deploy.journal import Event, Rollout
from greenlight.deploy.samples import Sample

OnBytes = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""


class EngineState(StrEnum):
    """What a slot holds."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    """It was started and its process is gone, or it answers for another model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """A slot as its host sees it. `digest`, `flags_digest`: what the engine was started with.

    `served_digest` is read back from the engine itself, over HTTP; `None` until it is ready.
    """

    state: EngineState
    digest: str | None = None
    flags_digest: str | None = None
    served_digest: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """A verified model folder on this machine."""

    name: str
    """The registered model's name, under which it is served."""
    path: Path
    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """An NVIDIA GPU as its driver sees it; `None` for what the card doesn't tell.

    `uncorrected_errors`: of its memory, since the driver was loaded.
    """

    name: str
    driver: str
    memory_bytes: int | None
    used_bytes: int | None
    uncorrected_errors: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What a host is. `taken`: ports of slots that hold nothing, on which a stranger listens.

    `clock_ahead_s`: the host's clock less ours, known to `clock_within_s`. `gpu_problem`: why the
    driver that is there doesn't answer.
    """

    python: str
    disk_free: int
    disk_total: int
    clock_ahead_s: float
    clock_within_s: float
    gpus: tuple[Gpu, ...] = ()
    gpu_problem: str | None = None
    taken: Mapping[Colour, int] = field(default_factory=dict)


class HostRunner(Protocol):
    """One host. Every method is idempotent.

    All raise `UnavailableError` when the host cannot be reached; nothing half-done is ever used.
    """

    @property
    def name(self) -> str:
        """The host's name in the fleet."""

    def ping(self) -> None:
        """Return when the host answers and can do the work.

        Raises:
            ConfigError: it answers, but lacks something (Python, docker, the serving environment).
        """

    def describe(self) -> HostFacts:
        """Return what the host is; nothing on it is changed."""

    def put_model(self, model: ModelFolder, *, on_bytes: OnBytes | None = None) -> None:
        """Bring the folder to the host under its digest.

        It is copied to a temporary name (a broken copy is resumed), every file's hash is checked
        *on the host*, then it is renamed. A folder that is there is verified again.

        Raises:
            InputError: a file on the host is not what the manifest says; the folder is not used.
            ResourceError: the host's disk is too small.
        """

    def has_model(self, digest: str) -> bool:
        """Return whether the verified folder is on the host."""

    def start(self, colour: Colour, *, model: ModelFolder) -> None:
        """Start the engine of a slot; one that runs the same model with the same flags stays.

        Does not wait: see `status`.

        Raises:
            RefusedError: the slot runs something else: stop it first.
            InputError: the model is not on the host, or not verified.
        """

    def status(self, colour: Colour) -> EngineStatus:
        """Return what the slot holds."""

    def stop(self, colour: Colour) -> None:
        """End the slot's engine; open streams may end within the profile's `shutdown_s`."""

    def logs(self, colour: Colour, *, lines: int = 20) -> str:
        """Return the end of the engine's log."""

    def prune(self, *, keep: Sequence[str]) -> tuple[str, ...]:
        """Delete the oldest models beyond the fleet's `keep_models`, never one of `keep`.

        Returns the digests deleted.
        """


class ServerMode(StrEnum):
    """Whether the router sends requests to a server."""

    READY = "ready"
    DRAIN = "drain"
    MAINT = "maint"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """One engine as the router sees it. Counters are totals since the router started.

    `requests`: finished or not. `errors`: responses 5xx, and connections that failed or broke.
    """

    host: str
    colour: Colour
    weight: int
    mode: ServerMode
    up: bool
    sessions: int
    requests: int = 0
    errors: int = 0

    @property
    def serves(self) -> bool:
        """Whether it gets new requests: who is down or drained doesn't, whatever its weight."""
        return self.mode is ServerMode.READY and self.up and self.weight > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterState:
    """All servers. `fence`: the highest fencing number the router has seen."""

    fence: int
    servers: tuple[ServerState, ...]

    def of(self, colour: Colour) -> tuple[ServerState, ...]:
        """Return the servers of one colour."""
        return tuple(server for server in self.servers if server.colour is colour)

    def on(self, host: str) -> tuple[ServerState, ...]:
        """Return the servers of one host."""
        return tuple(server for server in self.servers if server.host == host)

    def share(self, colour: Colour) -> float:
        """Return the part of new requests that a colour gets, 0 to 1."""
        weights = {c: sum(s.weight for s in self.of(c) if s.serves) for c in Colour}
        total = sum(weights.values())
        return weights[colour] / total if total else 0.0


class Router(Protocol):
    """Sends requests to blue and green. Changes never restart or reload it.

    Every change carries the lease's fencing number; a lower one than the router has seen is
    refused. Every change is read back before the call returns.

    Every method raises `UnavailableError` when the router does not answer.
    """

    def set_modes(self, modes: Mapping[tuple[str, Colour], ServerMode], *, fence: int) -> None:
        """Set what servers (host, colour) do.

        Raises:
            LostLeaseError: the fencing number is stale.
        """

    def shift(self, shares: Mapping[Colour, int], *, fence: int,
              hosts: Sequence[str] | None = None) -> None:  # fmt: skip
        """Give each colour its share, in percent, on these hosts (all when `None`).

        The colour that gains is raised before the other is lowered, so that at no moment nobody
        serves.

        Raises:
            LostLeaseError: the fencing number is stale.
            RefusedError: the shares do not add up to 100, or nobody would serve.
        """

    def sync(self, fleet: Fleet, *, fence: int) -> None:
        """Bring in the fleet's new hosts, in maintenance, and take out those it lacks.

        Raises:
            LostLeaseError: the fencing number is stale.
            RefusedError: nobody would serve any more.
            UnavailableError: a server still has connections: try again later.
        """

    def state(self) -> RouterState:
        """Return what the router does now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to change a fleet. `fence` grows with every new holder."""

    fleet: str
    holder: str
    fence: int
    taken_at: datetime
    expires_at: datetime

    def __str__(self) -> str:
        """Return what the next one who wants it is told."""
        since = self.taken_at.isoformat(timespec="seconds")
        return f"fleet {self.fleet} is being changed by {self.holder} since {since}"


class LeaseStore(Protocol):
    """One holder a fleet. A lease that is not renewed in time may be taken by anybody."""

    def acquire(
        self, fleet: str, *, holder: str, ttl_s: float, instead_of: str | None = None
    ) -> Lease:
        """Take the lease with a new, higher fence.

        The holder itself may take it again at any time: a retry after a crash need not wait, and
        whatever still runs with the old fence is refused from then on. `instead_of`: a holder from
        whom it is taken although it is alive.

        Raises:
            RefusedError: somebody else holds it; the message says who and since when.
        """

    def join(self, fleet: str, *, holder: str, ttl_s: float) -> Lease:
        """Return the holder's lease with its fence as it is, extended: for work side by side.

        Raises:
            RefusedError: this holder does not have it.
        """

    def renew(self, lease: Lease, *, ttl_s: float) -> Lease:
        """Extend it.

        Raises:
            LostLeaseError: somebody has taken it since.
        """

    def release(self, lease: Lease) -> None:
        """Give it back; not held any more is fine."""

    def current(self, fleet: str) -> Lease | None:
        """Return the lease that is held and not expired."""


class JournalStore(Protocol):
    """What rollouts did, append-only."""

    def open_rollout(self, rollout: Rollout) -> Rollout:
        """Keep a new rollout, or return the one with its id."""

    def append(self, event: Event) -> Event:
        """Add an event and return it with its number.

        Raises:
            LostLeaseError: its fence is lower than that of the fleet's lease.
        """

    def rollout(self, rollout_id: str) -> Rollout:
        """Return one.

        Raises:
            InputError: there is none of this id.
        """

    def rollouts(self, fleet: str) -> tuple[Rollout, ...]:
        """Return a fleet's rollouts, oldest first."""

    def events(self, rollout_id: str) -> tuple[Event, ...]:
        """Return a rollout's events, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An engine that golden prompts are sent to.

    `recorded`: it serves the version whose answers the prompts hold, so that its own are compared.
    """

    colour: Colour
    url: str
    model: str
    recorded: bool = False


class Prober(Protocol):
    """Sends golden prompts, open loop: a slow engine does not slow the sending down."""

    def run(
        self,
        targets: Sequence[Target],
        *,
        seconds: float,
        on_sample: Callable[[Sample], None],
        stop: StopEvent | None = None,
    ) -> None:
        """Send the seeded load to every target for `seconds`; a sample for every request.

        Once `stop` is set nothing more is sent or waited for.
        """


class EngineMetrics(Protocol):
    """Reads what engines count of all their requests, whoever sent them."""

    def first_tokens(self, urls: Sequence[str]) -> Mapping[str, FirstTokens | Unread]:
        """Return the histogram of every engine since it started, by its address.

        Never raises for an engine, and takes about a second: who looks at a rollout is waiting.
        """
