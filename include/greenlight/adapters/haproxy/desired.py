"""What HAProxy should do, kept beside its socket so that its own restart changes nothing.

Everything of one router lies in one folder of mode 700. HAProxy runs *in* that folder, and clients
reach its socket through the folder's descriptor, so no path's length or spaces matter (a socket's
path may have 107 bytes, no more).
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.core.files import write_json
from greenlight.core.types import Value
from greenlight.deploy.colours import Colour
from greenlight.deploy.fleet import Fleet, TcpPort
from greenlight.deploy.ports import ServerMode
from greenlight.deploy.shares import ServerKey

LOCK_WAIT_S = 10.0
POLL_S = 0.01


class DesiredServer(Value):
    """One engine. A new one serves nobody."""

    host: str
    colour: Colour
    address: str
    port: TcpPort
    mode: ServerMode = ServerMode.MAINT
    weight: Annotated[int, Field(ge=0, le=256)] = 0

    @property
    def key(self) -> ServerKey:
        """Host and colour."""
        return self.host, self.colour

    @property
    def name(self) -> str:
        """The server's name in HAProxy, such as `gpu-1-blue`."""
        return server_name(self.key)


class Desired(Value):
    """All servers, and the highest fencing number seen."""

    fence: int = 0
    servers: tuple[DesiredServer, ...] = ()

    def changed(
        self,
        *,
        modes: Mapping[ServerKey, ServerMode] | None = None,
        weights: Mapping[ServerKey, int] | None = None,
    ) -> Desired:
        """Return the state with other modes and weights."""
        servers = tuple(
            server.model_copy(
                update={
                    "mode": (modes or {}).get(server.key, server.mode),
                    "weight": (weights or {}).get(server.key, server.weight),
                }
            )
            for server in self.servers
        )
        return self.model_copy(update={"servers": servers})


def server_name(key: ServerKey) -> str:
    """Return the name that HAProxy knows a server by."""
    host, colour = key
    return f"{host}-{colour}"


def server_key(name: str) -> ServerKey:
    """Return host and colour of a server's name."""
    host, _, colour = name.rpartition("-")
    return host, Colour(colour)


def servers_of(fleet: Fleet) -> tuple[DesiredServer, ...]:
    """Return two servers a host, none of which serves."""
    return tuple(
        DesiredServer(
            host=host.name, colour=colour, address=host.address, port=host.slots.of(colour).port
        )
        for host in fleet.hosts
        for colour in Colour
    )


class RouterFolder:
    """The files of one router."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "haproxy.cfg"
        self.log = path / "haproxy.log"
        self.record = path / "process.json"
        self.state = path / "desired.json"

    def make(self) -> None:
        """Make the folder, private to this user."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o700)

    def read(self) -> Desired | None:
        """Return what was kept; none before the router's first start.

        Raises:
            ConfigError: the file was damaged.
        """
        try:
            return Desired.model_validate_json(self.state.read_text())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise ConfigError(
                f"{self.state} cannot be used ({error.error_count()} problems, the first: "
                f"{error.errors()[0]['msg']}); restore it, or remove it while HAProxy is stopped "
                "to start with every server in maintenance"
            ) from error

    def write(self, desired: Desired) -> None:
        """Keep the state; a reader sees the old one or the new."""
        write_json(self.state, desired.model_dump(mode="json"), mode=0o600)

    @contextmanager
    def locked(self, *, wait_s: float = LOCK_WAIT_S) -> Iterator[None]:
        """Hold the router for one change; the kernel frees it when its holder dies.

        Raises:
            UnavailableError: the router was never started, or another process holds it for longer
                than `wait_s` seconds.
        """
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError as error:
            raise UnavailableError(f"{self.path} is missing: the router never ran") from error
        try:
            deadline = time.monotonic() + wait_s
            while not _try_lock(handle):
                if time.monotonic() > deadline:
                    raise UnavailableError(
                        f"another process has been changing the router in {self.path} for "
                        f"{wait_s:g} s; try again"
                    )
                time.sleep(POLL_S)
            yield
        finally:
            os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
