"""A real Redis for tests: in a folder of its own, with a password, on a port of the kernel's."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from greenlight.adapters.processes import LeashedProcess
from greenlight.adapters.redis_connection import RedisAddress
from greenlight.adapters.stack import redis_server
from greenlight.adapters.stack.redis_server import RedisServer
from greenlight.core.errors import UnavailableError
from greenlight.testing.servers import free_port

READY_S = 30.0
PASSWORD = "a password for tests"  # noqa: S105 - of servers that live for a test


def redis_is_installed() -> bool:
    """Return whether there is one to start."""
    return shutil.which(redis_server.PROGRAM) is not None


class RedisProcess:
    """A server that a test may kill, freeze and start again on what it holds.

    It runs with the embedded stack's configuration, to which `extra` lines can be added.
    """

    def __init__(self, folder: Path, *, extra: str = "") -> None:
        self.server = RedisServer(folder=folder, port=free_port(), password=PASSWORD)
        self._extra = extra
        self._process: LeashedProcess | None = None

    @property
    def address(self) -> RedisAddress:
        """Where it is. Stays the same whatever becomes of the process."""
        return self.server.address

    def start(self) -> None:
        """Start it, and return when it answers.

        Raises:
            UnavailableError: it did not start; the end of its log is in the message.
        """
        redis_server.prepare(self.server)
        with (self.server.folder / redis_server.CONFIG).open("a") as config:
            config.write(self._extra)
        service = redis_server.service(self.server)
        log = self.server.folder / "log"
        with log.open("ab") as output:
            self._process = LeashedProcess(
                service.command, env=service.environment, cwd=service.cwd, stdout=output
            )
        deadline = time.monotonic() + READY_S
        while reason := redis_server.why_not_ready(self.server):
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = "\n".join(log.read_text().splitlines()[-12:])
                raise UnavailableError(f"Redis did not start ({reason}):\n{tail}")
            time.sleep(0.05)

    def kill(self) -> None:
        """Take it away without a word. Twice is fine."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.stop()
            self._process = None

    def freeze(self) -> None:
        """Let it accept connections and answer nothing, until `thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        """Signal the server itself: its leash would pass a signal on only to end it."""
        if self._process is None or self._process.poll() is not None:
            return
        for server in psutil.Process(self._process.pid).children():
            server.send_signal(number)


@contextmanager
def redis_process(folder: Path, *, extra: str = "") -> Iterator[RedisProcess]:
    """Yield a running server, and end it."""
    process = RedisProcess(folder, extra=extra)
    try:
        process.start()
        yield process
    finally:
        process.kill()
