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
from collections.abc import Callable, Iterator
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
def postgres_server(binaries: Path) -> Iterator[str]:
    """Yield the address of a new, empty database named `greenlight`."""
    with tempfile.TemporaryDirectory(prefix="greenlight-postgres-") as root:
        folder = Path(root)
        folder.chmod(0o755)  # the system user has to pass through
        with _postgres(folder, binaries) as url:
            yield url


@contextmanager
def _postgres(folder: Path, binaries: Path) -> Iterator[str]:
    data, port = folder / "data", free_port()
    data.mkdir()
    as_user: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(data, SYSTEM_USER)
        as_user = ["setpriv", "--reuid", SYSTEM_USER, "--regid", SYSTEM_USER, "--init-groups"]
    options = ["--auth=trust", "--username=greenlight", "--encoding=UTF8", "--no-sync"]
    subprocess.run(
        [*as_user, binaries / "initdb", "-D", data, *options],
        check=True,
        capture_output=True,
        cwd="/",
    )
    command = [
        *as_user, str(binaries / "postgres"), "-D", str(data), "-p", str(port),
        "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off",
    ]  # fmt: skip
    with (
        (folder / "log").open("wb") as log,
        LeashedProcess(command, stdout=log, cwd=Path("/")) as process,
    ):
        options = ["-h", "127.0.0.1", "-p", str(port), "-U", "greenlight"]
        _wait(
            lambda: (
                not subprocess.run(
                    [binaries / "pg_isready", *options], capture_output=True, check=False
                ).returncode
            ),
            process=process,
            what=f"PostgreSQL (log: {folder}/log)",
        )
        subprocess.run([binaries / "createdb", *options, "greenlight"], check=True)
        yield f"postgresql+psycopg2://greenlight@127.0.0.1:{port}/greenlight"


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Yield the address of a new tracking server that keeps everything in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
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
