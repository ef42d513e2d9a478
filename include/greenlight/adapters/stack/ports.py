"""Which ports the stack listens on: configured ones, or free ones that are kept once chosen."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from greenlight.core.errors import ConfigError
from greenlight.core.files import write_json
from greenlight.core.types import Value

LOOPBACK = "127.0.0.1"
ATTEMPTS = 100
Chosen = TypeVar("Chosen", bound=Value)
"""A value whose fields are ports, one a service."""


def is_free(port: int) -> bool:
    """Return whether nobody listens on this loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def ask_kernel() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def choose_ports(
    configured: Chosen,
    *,
    kept: Chosen | None,
    ours: Collection[str],
    others: Collection[int] = (),
    free: Callable[[int], bool] = is_free,
    pick: Callable[[], int] = ask_kernel,
) -> Chosen:
    """Return the port of every service.

    A configured port wins; else the kept one, unless somebody else took it while the stack was
    down; else a free one. `ours` names the services that run: they hold their kept port themselves.
    `others` are ports that were chosen for somebody else, who needn't listen yet.

    Raises:
        ConfigError: a configured port is taken, or two services were given the same one.
    """
    chosen: dict[str, int] = {}
    for service in type(configured).model_fields:
        wanted: int = getattr(configured, service)
        before: int = getattr(kept, service) if kept else 0
        held = before if service in ours else 0
        if wanted:
            if wanted in (*chosen.values(), *others):
                raise ConfigError(f"ports.{service}: {wanted} is given to two services")
            if wanted != held and not free(wanted):
                raise ConfigError(
                    f"ports.{service}: port {wanted} is in use by another process; stop it or set "
                    f"GREENLIGHT_PORTS__{service.upper()} (0 takes a free port)"
                )
            chosen[service] = wanted
        elif (
            before
            and before not in (*chosen.values(), *others)
            and (before == held or free(before))
        ):
            chosen[service] = before
        else:
            taken = {*chosen.values(), *_all_of(kept), *others}
            chosen[service] = _pick_another(pick, taken=taken)
    return type(configured)(**chosen)


def read_ports(path: Path, kind: type[Chosen]) -> Chosen | None:
    """Return the ports kept in `path`; none when there are none, or they can't be read."""
    try:
        return kind.model_validate(json.loads(path.read_text()))
    except (FileNotFoundError, json.JSONDecodeError, ValidationError):
        return None


def write_ports(path: Path, ports: Value) -> None:
    """Keep the ports for the next start."""
    write_json(path, ports.model_dump())


def _all_of(kept: Value | None) -> set[int]:
    return set(kept.model_dump().values()) if kept else set()


def _pick_another(pick: Callable[[], int], *, taken: Collection[int]) -> int:
    for _ in range(ATTEMPTS):
        if (port := pick()) not in taken:
            return port
    raise ConfigError("the kernel gives no free port; set ports in the configuration")
