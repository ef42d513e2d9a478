"""The fleet: which hosts there are, how each is reached, and what it can hold."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from greenlight.core.errors import ConfigError
from greenlight.core.settings import read_config
from greenlight.core.types import Value
from greenlight.deploy.colours import Colour
from greenlight.deploy.engines import GB, EngineProfile

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,40}$")]
TcpPort = Annotated[int, Field(ge=1, le=65535)]
RESERVED = frozenset({"backup"})
"""Leases that are not a fleet's: fleets and backups share the table."""


class RunnerKind(StrEnum):
    """How commands reach a host."""

    LOCAL = "local"
    SSH = "ssh"
    SSM = "ssm"


class Slot(Value):
    """One of the two places for an engine."""

    port: TcpPort


class Slots(Value):
    """Both places of a host."""

    blue: Slot
    green: Slot

    def of(self, colour: Colour) -> Slot:
        """Return the slot of a colour."""
        return self.blue if colour is Colour.BLUE else self.green


class SshAccess(Value):
    """How to log in. Only keys, and only to a host whose key is in `known_hosts`."""

    user: Annotated[str, Field(min_length=1)]
    port: TcpPort = 22
    key_file: Path
    known_hosts: Path


class SsmAccess(Value):
    """An EC2 instance that runs the SSM agent. Model files go through the bucket."""

    instance_id: Annotated[str, Field(pattern=r"^m?i-[0-9a-f]{8,17}$")]
    bucket: str
    prefix: str = "greenlight/models"


class Host(Value):
    """A machine that serves.

    `address`: where the router reaches its engines. `root`: the folder on the host that holds
    models and logs; relative: below Greenlight's home, for local hosts. `gpu_memory_gb`: of all its
    GPUs together; for the CPU build, the memory that engines may take; none: not checked.
    """

    name: Name
    runner: RunnerKind = RunnerKind.LOCAL
    address: str = "127.0.0.1"
    root: Path
    slots: Slots
    gpus: Annotated[int, Field(ge=0)] = 0
    gpu_memory_gb: Annotated[float, Field(gt=0)] | None = None
    region: str = "local"
    price_key: str | None = None
    ssh: SshAccess | None = None
    ssm: SsmAccess | None = None

    @model_validator(mode="after")
    def _complete(self) -> Host:
        for kind, access in ((RunnerKind.SSH, self.ssh), (RunnerKind.SSM, self.ssm)):
            if self.runner is kind and access is None:
                raise ValueError(f"runner {kind} needs the key {kind}")
        if self.runner is not RunnerKind.LOCAL and not self.root.is_absolute():
            raise ValueError(f"root {str(self.root)!r} must be absolute on a remote host")
        if self.slots.blue.port == self.slots.green.port:
            raise ValueError(f"blue and green both have port {self.slots.blue.port}")
        return self


class RouterSettings(Value):
    """Where clients ask, and how backends are watched.

    `metrics_port`: of HAProxy's Prometheus exporter, at `metrics_address`, which is also where
    Prometheus asks. `retries`: how often a request whose backend died before it answered is sent to
    another.
    """

    address: str = "127.0.0.1"
    port: TcpPort
    health_interval_s: Annotated[float, Field(gt=0)] = 1.0
    health_fall: Annotated[int, Field(ge=1)] = 2
    health_rise: Annotated[int, Field(ge=1)] = 1
    retries: Annotated[int, Field(ge=0)] = 3
    max_connections: Annotated[int, Field(ge=16)] = 4096
    buffer_bytes: Annotated[int, Field(ge=16384)] = 131072
    """A request longer than this cannot be sent again to another backend."""
    metrics_address: str = "127.0.0.1"
    metrics_port: TcpPort | None = None


class Fleet(Value):
    """Hosts that serve one model behind one router.

    `keep_models`: digests kept on a host. `benchmark_on_deploy`: whether `perf_benchmark` measures
    what goes live; it loads the fleet for minutes.
    """

    name: Name
    model: Annotated[str, Field(min_length=1)]
    engine: EngineProfile
    router: RouterSettings
    hosts: Annotated[tuple[Host, ...], Field(min_length=1)]
    keep_models: Annotated[int, Field(ge=2)] = 3
    benchmark_on_deploy: bool = True

    @model_validator(mode="after")
    def _distinct(self) -> Fleet:
        if self.name in RESERVED:
            raise ValueError(
                f"a fleet cannot be named {self.name!r}: the lease of that name is held while "
                "backups are made; choose another name"
            )
        for name, count in Counter(host.name for host in self.hosts).items():
            if count > 1:
                raise ValueError(f"{count} hosts are named {name!r}")
        ports = Counter(
            (host.address, host.slots.of(colour).port) for host in self.hosts for colour in Colour
        )
        ports[self.router.address, self.router.port] += 1
        for (address, port), count in ports.items():
            if count > 1:
                raise ValueError(f"{address}:{port} is used {count} times")
        return self

    @property
    def is_local(self) -> bool:
        """Whether every host is the machine that this runs on."""
        return all(host.runner is RunnerKind.LOCAL for host in self.hosts)

    def host(self, name: str) -> Host:
        """Return a host by its name."""
        return next(host for host in self.hosts if host.name == name)

    def too_small_for_both(self, *, green_bytes: int, blue_bytes: int | None) -> str | None:
        """Return why some host cannot hold both colours at once, or `None`.

        Weight bytes of both; `blue_bytes` is `None` when nothing is live.
        """
        engines = [size for size in (green_bytes, blue_bytes) if size is not None]
        needed = sum(self.engine.needed_bytes(weight_bytes=size) for size in engines)
        for host in self.hosts:
            if host.gpu_memory_gb is not None and needed > host.gpu_memory_gb * GB:
                return (
                    f"host {host.name} has {host.gpu_memory_gb:g} GB for engines, but "
                    f"{'both colours need' if len(engines) > 1 else 'the engine needs'} "
                    f"{needed / GB:.2f} GB (weights and KV cache)"
                )
        return None


class FleetFile(Value):
    """The whole file: every fleet."""

    fleets: Annotated[tuple[Fleet, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _distinct(self) -> FleetFile:
        names = [fleet.name for fleet in self.fleets]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two fleets are named {', '.join(twice)}")
        return self


def load_fleet(path: Path, name: str) -> Fleet:
    """Return one fleet of a fleet file.

    Raises:
        ConfigError: the file cannot be read, has an unknown key or a bad value, or lacks the name.
    """
    fleets = {fleet.name: fleet for fleet in read_config(path, FleetFile).fleets}
    if name not in fleets:
        raise ConfigError(f"{path} has no fleet named {name!r}; there are {', '.join(fleets)}")
    return fleets[name]
