"""Real servers for tests: started on a free port in a temporary folder, stopped at the end."""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

from greenlight.adapters.processes import LeashedProcess
from greenlight.core.errors import UnavailableError

READY_S = 180.0
SYSTEM_USER = "postgres"
"""PostgreSQL refuses to run as root; this user comes with its package."""


def free_port() -> int:
    """Return a port that was free on loopback a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def free_ports(count: int) -> list[int]:
    """Return different ports that were free on loopback a moment ago."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def postgres_binaries() -> Path | None:
    """Return the folder of the newest installed PostgreSQL, or `None`."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    on_path = shutil.which("initdb")
    if found:
        return found[-1].parent
    return Path(on_path).resolve().parent if on_path else None


@contextmanager
def postgres_server(
    binaries: Path, *, settings: Mapping[str, str] | None = None, checksums: bool = False
) -> Iterator[str]:
    """Yield the address of a new, empty database named `greenlight`; its role is a superuser.

    `settings` are the server's own. `checksums`: whether every page carries one.
    """
    with tempfile.TemporaryDirectory(prefix="greenlight-postgres-") as root:
        folder = Path(root)
        folder.chmod(0o755)  # the system user has to pass through
        data = folder / "data"
        data.mkdir()
        if os.geteuid() == 0:
            shutil.chown(data, SYSTEM_USER)
        options = ["--auth=trust", "--username=greenlight", "--encoding=UTF8", "--no-sync"]
        subprocess.run(
            [
                *as_system_user(), binaries / "initdb", "-D", data, *options,
                *(["--data-checksums"] if checksums else []),
            ],
            check=True,
            capture_output=True,
            cwd="/",
        )  # fmt: skip
        with served_cluster(data, binaries, settings=settings or {}) as address:
            subprocess.run([binaries / "createdb", *address, "greenlight"], check=True)
            yield f"postgresql+psycopg2://greenlight@127.0.0.1:{address[3]}/greenlight"


@contextmanager
def served_cluster(
    data: Path, binaries: Path, *, settings: Mapping[str, str]
) -> Iterator[tuple[str, ...]]:
    """Yield the options of a client of the server that serves `data`, beside which it logs."""
    port = free_port()
    command = [
        *as_system_user(), str(binaries / "postgres"), "-D", str(data), "-p", str(port),
        "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off",
        *(part for key, value in settings.items() for part in ("-c", f"{key}={value}")),
    ]  # fmt: skip
    address = ("-h", "127.0.0.1", "-p", str(port), "-U", "greenlight")
    ready = [str(binaries / "pg_isready"), *address]
    log = data.with_name(f"{data.name}.log")
    with (
        log.open("wb") as output,
        LeashedProcess(command, stdout=output, cwd=Path("/")) as process,
    ):
        _wait(
            lambda: not subprocess.run(ready, capture_output=True, check=False).returncode,
            process=process,
            what=f"PostgreSQL (log: {log})",
        )
        yield address


def as_system_user() -> list[str]:
    """Return the words in front of a command of PostgreSQL: it refuses to run as root."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid", SYSTEM_USER, "--regid", SYSTEM_USER, "--init-groups"]


@contextmanager
def mlflow_server(folder: Path, *, database_url: str | None = None) -> Iterator[str]:
    """Yield the address of a new tracking server that keeps everything in `folder`.

    With `database_url` the tables are there, and only the artifacts in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1", "--backend-store-uri", database_url or f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination", str(folder / "artifacts"),
    ]  # fmt: skip
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    url = f"http://127.0.0.1:{port}"
    with (
        (folder / "log").open("wb") as log,
        LeashedProcess(command, env={**os.environ, **quiet}, stdout=log, cwd=folder) as process,
    ):
        _wait(lambda: _answers(f"{url}/health"), process=process, what=f"MLflow ({folder}/log)")
        yield url


@cache
def shared_mlflow_server() -> str:
    """Return the address of one tracking server for the whole test run.

    A new one takes most of a minute to make its tables; tests keep apart by the models' names.
    """
    stack = ExitStack()
    atexit.register(stack.close)
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="greenlight-mlflow-"))
    return stack.enter_context(mlflow_server(Path(folder)))


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - our own loopback
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _wait(ready: Callable[[], bool], *, process: LeashedProcess, what: str) -> None:
    deadline = time.monotonic() + READY_S
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise UnavailableError(f"{what} did not start")
        time.sleep(0.2)
