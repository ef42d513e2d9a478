"""What docker-compose.yaml starts, started here without Docker: its commands, with its secrets.

Paths and ports are the test's, since a container has its own; everything else is as written.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg2
import redis
import yaml

from greenlight.adapters.processes import LeashedProcess
from greenlight.adapters.stack.postgres import home_in
from greenlight.core.settings import PROJECT, Settings
from greenlight.testing.servers import as_system_user, free_ports

COMPOSE = yaml.safe_load((PROJECT / "docker-compose.yaml").read_text())["services"]
READY_S = 90.0
POSTGRES = Path("/usr/lib/postgresql/15/bin")
IS_INSTALLED = (POSTGRES / "initdb").exists() and all(
    map(shutil.which, ("redis-server", "pgbackrest"))
)


def secret(place: Path, name: str) -> str:
    """Return one of the secrets that were made in `place`."""
    return (place / "secrets" / name).read_text().strip()


def command_of(service: str, places: Mapping[str, str]) -> list[str]:
    """Return a service's command with the test's places in it, in the order given."""
    return [replaced(word, places) for word in COMPOSE[service]["command"]]


def replaced(word: str, places: Mapping[str, str]) -> str:
    """Return a word with every place replaced."""
    for old, new in places.items():
        word = word.replace(old, new)
    return word


@contextmanager
def started(
    command: list[str],
    *,
    folder: Path,
    ready: Callable[[], object],
    env: Mapping[str, str] | None = None,
    ready_s: float = READY_S,
) -> Iterator[None]:
    """Run a command in a folder until the block ends; its output goes into a file beside it."""
    said = folder.parent / f"{folder.name}-{Path(command[0]).name}.log"
    with (
        said.open("wb") as output,
        LeashedProcess(command, cwd=folder, env=env, stdout=output) as process,
    ):
        _wait(ready, process=process, said=said, ready_s=ready_s)
        yield


@contextmanager
def redis_server(place: Path) -> Iterator[int]:
    """Run the service `redis`; yield its port."""
    (port,) = free_ports(1)
    folder = place / f"redis-{port}"
    folder.mkdir()
    places = {"/run/secrets": str(place / "secrets"), "/data": str(folder)}
    monitor = redis.Redis(port=port, username="monitor", password=secret(place, "redis_monitor"))
    command = [*command_of("redis", places), "--port", str(port)]
    with started(command, folder=folder, ready=monitor.ping):
        yield port


@contextmanager
def postgres_server(place: Path) -> Iterator[int]:
    """Run the service `postgres` on the cluster of the home in `place`; yield its port."""
    (port,) = free_ports(1)
    secrets = place / "cluster-secrets"
    home = home_in(Settings(home=place / "home"))
    home.mkdir(parents=True)
    secrets.mkdir()
    for name in COMPOSE["postgres"]["secrets"]:
        shutil.copy(place / "secrets" / name, secrets)
    for program in ("docker/core/start", "docker/postgres/serve"):
        shutil.copy(PROJECT / program, place)
    if os.geteuid() == 0:
        for path in (home, secrets, *secrets.iterdir()):
            shutil.chown(path, "postgres", "postgres")
    home.chmod(0o700)
    env = {
        "PATH": f"{POSTGRES}:{place}:/usr/bin:/bin",
        "HOME_FOLDER": str(home),
        "SECRETS_MOUNTED": str(secrets),
        "PORT": str(port),
        "LANG": "C.UTF-8",
    }
    command = [*as_system_user(), str(place / "start"), str(place / "serve")]

    def ready() -> None:
        ask(place, port, "SELECT 1", user="postgres", name="postgres_superuser")

    with started(command, folder=place, ready=ready, env=env):
        yield port


def ask(
    place: Path, port: int, text: str, *, user: str, name: str, database: str = "postgres"
) -> list[tuple[object, ...]]:
    """Return the rows of a query that `user` asks with the secret `name`."""
    connection = psycopg2.connect(
        host="127.0.0.1", port=port, user=user, password=secret(place, name), dbname=database
    )
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def _wait(
    ready: Callable[[], object], *, process: LeashedProcess, said: Path, ready_s: float
) -> None:
    deadline = time.monotonic() + ready_s
    while True:
        try:
            ready()
        except (OSError, psycopg2.Error, redis.RedisError, httpx.HTTPError) as error:
            reason = str(error)
        else:
            return
        assert process.poll() is None, said.read_text()[-2000:]
        assert time.monotonic() < deadline, f"{reason}\n{said.read_text()[-2000:]}"
        time.sleep(0.2)
