"""The services that hold data, as docker-compose.yaml starts them."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg2
import pytest
import redis
import yaml
from botocore.exceptions import ClientError
from compose_services import (
    COMPOSE,
    IS_INSTALLED,
    READY_S,
    ask,
    redis_server,
    replaced,
    secret,
    started,
)

from greenlight.adapters.pgbackrest import open_pgbackrest
from greenlight.adapters.s3 import open_client
from greenlight.backup.backup_file import S3Store
from greenlight.core.settings import PROJECT, Ports, Settings
from greenlight.entrypoints import production
from greenlight.testing.servers import free_ports

pytestmark = pytest.mark.skipif(
    not IS_INSTALLED, reason="PostgreSQL 15, pgBackRest or Redis is not installed"
)


def test_redis_lets_each_user_do_its_own_and_no_more(place: Path) -> None:
    with redis_server(place) as port:

        def user(name: str, password: str) -> redis.Redis:
            return redis.Redis(port=port, username=name, password=secret(place, password))

        gateway, airflow = user("default", "redis"), user("airflow", "redis_broker")
        monitor = user("monitor", "redis_monitor")
        gateway.set("greenlight:limits:a", 1)
        airflow.lpush("airflow:default", "task")
        assert monitor.info()["redis_version"]
        for one, key in ((airflow, "greenlight:limits:a"), (gateway, "airflow:default")):
            with pytest.raises(redis.exceptions.NoPermissionError):
                one.get(key)
        for one in (gateway, airflow):
            with pytest.raises(redis.exceptions.NoPermissionError):
                one.config_get("dir")
        with pytest.raises(redis.exceptions.NoPermissionError):
            monitor.get("greenlight:limits:a")
        with pytest.raises(redis.exceptions.AuthenticationError):
            redis.Redis(port=port).ping()


def test_every_database_belongs_to_the_role_of_the_services(place: Path, postgres: int) -> None:
    for database in ("airflow", "mlflow", "greenlight"):
        made = "CREATE TABLE made (n int); DROP TABLE made"
        ask(place, postgres, made, user="greenlight", name="postgres", database=database)
    with pytest.raises(psycopg2.OperationalError, match="authentication failed"):
        ask(place, postgres, "SELECT 1", user="greenlight", name="postgres_monitor")
    seen = ask(place, postgres, "SELECT count(*) FROM pg_ls_waldir()", user="monitor",
               name="postgres_monitor")  # fmt: skip
    assert seen[0][0]


@pytest.fixture(scope="module")
def store(place: Path) -> Iterator[S3Store]:
    """Run a store as its container does; yield its bucket, which isn't made yet."""
    folder = place / "store"
    folder.mkdir()
    ports = free_ports(8)
    secrets = place / "secrets"
    inside = place / "store-secrets"
    inside.mkdir(mode=0o700)
    for name in COMPOSE["object-store-a"]["secrets"]:
        source, target = (name, name) if isinstance(name, str) else (name["source"], name["target"])
        text = (secrets / source).read_text().replace("/run/secrets", str(inside))
        (inside / target).write_text(text)
    places = {"=/tmp/": "=", "/run/secrets": str(inside), "/var/lib/store": str(folder)}
    numbers = iter(ports)
    command = []
    for word in COMPOSE["object-store-a"]["command"]:
        flag, _, value = word.partition("=")
        if "port" in flag.split(".") and value != "0":
            word = f"{flag}={next(numbers)}"
        command.append(replaced(word, places))
    s3_port = next(int(w.partition("=")[2]) for w in command if w.startswith("-s3.port="))
    command[0] = str(PROJECT / ".venv/bin/weed")

    def ready() -> None:
        health = [str(PROJECT / "docker/core/healthy"), f"https://127.0.0.1:{s3_port}/healthz"]
        if subprocess.run(["python3", "-IS", *health], check=False, capture_output=True).returncode:
            raise OSError("not yet")

    with started(command, folder=folder, ready=ready):
        yield S3Store(
            endpoint=f"https://127.0.0.1:{s3_port}",
            bucket="greenlight-a",
            ca_file=secrets / "store_ca",
            access_key_file=secrets / "store_access_key",
            secret_key_file=secrets / "store_secret_key",
            path_style=True,
        )


def test_a_store_knows_our_keys_over_tls_and_nobody_elses(place: Path, store: S3Store) -> None:
    assert open_client(store).list_buckets()["Buckets"] is not None
    other = place / "other-key"
    other.write_text("0123456789abcdefghij\n")
    other.chmod(0o600)
    with pytest.raises(ClientError):
        open_client(store.model_copy(update={"secret_key_file": other})).list_buckets()
    with pytest.raises(httpx.ConnectError):
        httpx.get(store.endpoint, trust_env=False)  # its authority is known to us alone


def test_preparing_migrates_makes_buckets_and_begins_the_archive(
    place: Path, postgres: int, store: S3Store
) -> None:
    home = place / "home"
    (home / "config").mkdir()
    region = {"name": "a", "s3": store.model_dump(mode="json")}
    (home / "config/backup.yaml").write_text(yaml.safe_dump({"regions": [region]}))
    shutil.copy(PROJECT / "docker/config/fleet.yaml", home / "config")
    login = f"greenlight:{secret(place, 'postgres')}@127.0.0.1:{postgres}"
    settings = Settings(
        home=home,
        ports=Ports(postgres=postgres),
        secrets_folder=place / "secrets",
        database_url=f"postgresql+psycopg2://{login}/greenlight",
    )
    said: list[str] = []
    for _ in range(2):
        production.prepare(settings, make_buckets=True, report=lambda *line: said.append(str(line)))
    assert "its log can't go" not in " ".join(said)
    tables = ask(place, postgres, "SELECT to_regclass('rollouts')", user="greenlight",
                 name="postgres", database="greenlight")  # fmt: skip
    assert tables == [("rollouts",)]

    (command,) = ask(place, postgres, "SHOW archive_command", user="postgres",
                     name="postgres_superuser")  # fmt: skip
    assert command[0] == open_pgbackrest(settings, {"a": store}).archive_command()
    _until_archived(place, postgres)
    # and the worker, which shares the folder, can copy what the container serves
    open_pgbackrest(settings, {"a": store}).prepare()


def _until_archived(place: Path, port: int) -> None:
    deadline = time.monotonic() + READY_S
    asked = {"user": "postgres", "name": "postgres_superuser"}
    ask(place, port, "SELECT pg_switch_wal()", **asked)
    while True:
        (row,) = ask(place, port, "SELECT archived_count, last_failed_wal FROM pg_stat_archiver",
                     **asked)  # fmt: skip
        if row[0]:
            return
        assert time.monotonic() < deadline, row
        time.sleep(0.5)
