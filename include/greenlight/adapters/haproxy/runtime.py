"""Speak to a running HAProxy over its runtime API, and never believe an answer unread."""

from __future__ import annotations

import csv
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from greenlight.adapters.haproxy.config import BACKEND
from greenlight.adapters.haproxy.desired import server_key
from greenlight.core.errors import UnavailableError
from greenlight.deploy.ports import ServerMode, ServerState
from greenlight.deploy.shares import ServerKey

SOCKET = "haproxy.sock"
TIMEOUT_S = 5.0
CHUNK = 1 << 16
ACKNOWLEDGED = frozenset({"New server registered.", "Server deleted."})
"""All other commands that worked answer nothing."""

_MAINT = 0x01 | 0x02 | 0x20
"""Bits of srv_admin_state: forced, inherited, or for want of an address."""
_DRAIN = 0x08 | 0x10
_RUNNING = 2
"""A server's srv_op_state once its checks pass."""


class RuntimeApi:
    """The socket in a router's folder. A connection per call; each takes well under 1 ms."""

    def __init__(self, folder: Path, *, timeout_s: float = TIMEOUT_S) -> None:
        self.folder = folder
        self._timeout_s = timeout_s

    def tell(self, commands: Sequence[str]) -> None:
        """Send commands in one line, so that they take effect together.

        Raises:
            UnavailableError: HAProxy does not answer, or one of the commands failed; the others
                may have worked.
        """
        if not commands:
            return
        answer = self.ask("; ".join(commands))
        if failed := [line for line in answer.splitlines() if line and line not in ACKNOWLEDGED]:
            raise UnavailableError(f"HAProxy answered {' | '.join(failed)!r} to {commands}")

    def servers(self) -> dict[ServerKey, ServerState]:
        """Return all engines, as HAProxy has them now.

        Raises:
            UnavailableError: HAProxy does not answer, or says something else.
        """
        answer = self.ask(f"show servers state {BACKEND}; show stat {BACKEND} 4 -1")
        states, _, statistics = answer.partition("\n\n")
        counters = parse_statistics(statistics)
        return {
            (found := server_key(name)): _server(found, row, counters.get(name, {}))
            for name, row in parse_states(states).items()
        }

    def ask(self, line: str) -> str:
        """Send one line and return the whole answer.

        Raises:
            UnavailableError: HAProxy does not answer.
        """
        try:
            folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                return self._exchange(f"/proc/self/fd/{folder}/{SOCKET}", line)
            finally:
                os.close(folder)
        except OSError as error:
            raise UnavailableError(
                f"HAProxy does not answer on {self.folder / SOCKET}: {error}; is it running?"
            ) from error

    def _exchange(self, path: str, line: str) -> str:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(self._timeout_s)
            connection.connect(path)
            connection.sendall(f"{line}\n".encode())
            received = bytearray()
            while chunk := connection.recv(CHUNK):
                received += chunk
        return received.decode(errors="replace")


def parse_states(text: str) -> dict[str, dict[str, str]]:
    """Return the rows of `show servers state`, by the server's name.

    Raises:
        UnavailableError: it is something else.
    """
    lines = text.splitlines()
    if len(lines) < 2 or lines[0] != "1" or not lines[1].startswith("# be_id"):
        raise UnavailableError(f"HAProxy answered {text[:200]!r} instead of its servers' states")
    names = lines[1].removeprefix("# ").split()
    rows = (dict(zip(names, line.split(), strict=False)) for line in lines[2:] if line)
    return {row["srv_name"]: row for row in rows}


def parse_statistics(text: str) -> dict[str, dict[str, str]]:
    """Return the rows of `show stat`, by the server's name.

    Raises:
        UnavailableError: it is something else.
    """
    if not text.startswith("# pxname,"):
        raise UnavailableError(f"HAProxy answered {text[:200]!r} instead of its statistics")
    rows = csv.DictReader(text.removeprefix("# ").strip().splitlines())
    return {row["svname"]: row for row in rows}


def _server(key: ServerKey, row: Mapping[str, str], counters: Mapping[str, str]) -> ServerState:
    admin = int(row["srv_admin_state"])

    def total(*names: str) -> int:
        return sum(int(counters.get(name) or 0) for name in names)

    return ServerState(
        host=key[0],
        colour=key[1],
        weight=int(row["srv_uweight"]),
        mode=ServerMode.MAINT if admin & _MAINT
        else ServerMode.DRAIN if admin & _DRAIN else ServerMode.READY,
        up=int(row["srv_op_state"]) == _RUNNING,
        sessions=total("scur"),
        requests=total("stot"),
        errors=total("hrsp_5xx", "econ", "eresp"),
    )  # fmt: skip
