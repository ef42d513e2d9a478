"""Real S3 stores for tests: SeaweedFS over TLS on ports of the kernel's, which a test may harm."""

from __future__ import annotations

import secrets
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil

from greenlight.adapters.processes import LeashedProcess
from greenlight.adapters.stack import object_store as seaweedfs
from greenlight.adapters.stack.certificates import certificates_in, ensure_certificates
from greenlight.backup.backup_file import S3Store
from greenlight.core.errors import UnavailableError
from greenlight.core.files import write_atomically
from greenlight.testing.servers import free_ports

READY_S = 60.0
MORE_THAN_THERE_IS = "9000TiB"


class StoreProcess:
    """One region's store in a folder. It stops being there, or being able, when it is told to."""

    def __init__(self, folder: Path, *, region: str = "a") -> None:
        names = list(seaweedfs.InnerPorts.model_fields)
        port, *others = free_ports(1 + len(names))
        self._store = seaweedfs.ObjectStore(
            region=region,
            folder=folder,
            port=port,
            inner=seaweedfs.InnerPorts(**dict(zip(names, others, strict=True))),
            certificates=certificates_in(folder),
            access_key_file=_key(folder / "access_key"),
            secret_key_file=_key(folder / "secret_key"),
        )
        self._process: LeashedProcess | None = None
        ensure_certificates(self._store.certificates, now=datetime.now(UTC))
        seaweedfs.prepare(self._store)

    @property
    def s3(self) -> S3Store:
        """Its bucket. Stays the same whatever becomes of the process."""
        return self._store.s3

    @property
    def inner(self) -> seaweedfs.InnerPorts:
        """Its other ports."""
        return self._store.inner

    @property
    def folder(self) -> Path:
        """Holds the server's files and its `log`."""
        return self._store.folder

    def start(self, *, full: bool = False) -> None:
        """Start it, also again on what it holds, and return when it answers.

        `full`: it takes nothing more, as if its disk were full.

        Raises:
            UnavailableError: it did not start; the end of its log is in the message.
        """
        least = MORE_THAN_THERE_IS if full else seaweedfs.MIN_FREE
        service = seaweedfs.server(self._store, min_free=least)
        with (self.folder / "log").open("ab") as log:
            self._process = LeashedProcess(
                service.command, env=service.environment, cwd=service.cwd, stdout=log
            )
        deadline = time.monotonic() + READY_S
        while reason := seaweedfs.why_not_ready(self.s3):
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = "\n".join((self.folder / "log").read_text().splitlines()[-12:])
                raise UnavailableError(f"the store did not start ({reason}):\n{tail}")
            time.sleep(0.1)

    def kill(self) -> None:
        """Take it away, without a word, and with all its answers under way. Twice is fine."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.stop()
            self._process = None
        seaweedfs.forget_sockets(self._store.inner)

    def lose(self) -> None:
        """Take it away with all it holds. Started again, it is empty and has no bucket."""
        self.kill()
        shutil.rmtree(self.folder / "data")
        seaweedfs.prepare(self._store)

    def freeze(self) -> None:
        """Let it accept connections and answer nothing, until `thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        """Signal the server itself: its leash would pass a signal on only to end it."""
        if self._process is None:
            raise UnavailableError("the store does not run")
        if self._process.poll() is not None:
            return
        for server in psutil.Process(self._process.pid).children():
            server.send_signal(number)


@contextmanager
def store_process(folder: Path, *, region: str = "a", lock_days: int = 0) -> Iterator[StoreProcess]:
    """Yield a running store with its bucket, and end it."""
    process = StoreProcess(folder, region=region)
    try:
        process.start()
        seaweedfs.make_bucket(process.s3, lock_days=lock_days)
        yield process
    finally:
        process.kill()


@contextmanager
def object_store(folder: Path, *, region: str = "a", lock_days: int = 0) -> Iterator[S3Store]:
    """Yield the bucket of a running store, and end the store."""
    with store_process(folder, region=region, lock_days=lock_days) as process:
        yield process.s3


def _key(path: Path) -> Path:
    if not path.exists():
        write_atomically(path, secrets.token_urlsafe(24).encode(), mode=0o600)
    return path
