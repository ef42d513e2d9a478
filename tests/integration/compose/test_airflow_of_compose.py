"""Airflow as docker-compose.yaml sets it: Celery over Redis, users, secrets from files."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from compose_services import COMPOSE, IS_INSTALLED, command_of, redis_server, secret, started

from greenlight.core.settings import PROJECT
from greenlight.testing.servers import free_ports

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not IS_INSTALLED, reason="PostgreSQL 15, pgBackRest or Redis is not installed"
    ),
]
READY_S = 400.0
DAG = """
from airflow.sdk import dag, task

@dag(schedule=None)
def tiny():
    @task
    def one():
        return 1

    @task(queue="gpu", pool="gpu")
    def two(n):
        return n + 1

    two(one())

tiny()
"""
CELERY_IS_READY = COMPOSE["worker"]["healthcheck"]["test"][1].replace("$$", "$")


@pytest.fixture(scope="module")
def environment(place: Path, postgres: int) -> Iterator[dict[str, str]]:
    """Give Airflow's settings with this test's places, beside a Redis and a migrated database."""
    (place / "dags").mkdir()
    (place / "dags/tiny.py").write_text(DAG)
    api, health = free_ports(2)
    with redis_server(place) as redis_port:
        for name in ("airflow_database_url", "airflow_result_backend", "airflow_broker_url"):
            path = place / "secrets" / name
            text = path.read_text().replace("@postgres:5432", f"@127.0.0.1:{postgres}")
            path.write_text(text.replace("@redis:6379", f"@127.0.0.1:{redis_port}"))
        asked = COMPOSE["airflow-scheduler"]["environment"]
        settings = {key: value for key, value in asked.items() if key.startswith("AIRFLOW__")}
        settings |= {
            "AIRFLOW__CORE__DAGS_FOLDER": str(place / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(place / "no plugins"),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{api}/execution/",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(api),
            "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{api}",
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(place / "logs"),
            "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(place / "parsing"),
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_HOST": "127.0.0.1",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": str(health),
        }
        yield settings | {
            "PATH": f"{PROJECT}/.venv/bin:{PROJECT}/docker/core:/usr/bin:/bin",
            "HOME": str(place),
            "AIRFLOW_HOME": str(place / "airflow"),
            "SECRETS_MOUNTED": str(place / "secrets"),
        }


@pytest.fixture(scope="module")
def prepared(place: Path, environment: dict[str, str]) -> list[str]:
    """Run what `airflow-init` runs for Airflow, twice; give what was said the second time."""
    text = (PROJECT / "docker/core/prepare").read_text()
    text = text.replace("/run/secrets", str(place / "secrets")).replace("exec greenlight", "echo")
    for _ in range(2):
        done = subprocess.run(
            ["sh", "-c", text], env=environment, cwd=place, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=READY_S, start_new_session=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def healthy(*words: str) -> Callable[[], None]:
    def ready() -> None:
        program = str(PROJECT / "docker/core/healthy")
        done = subprocess.run(
            ["python3", "-IS", program, *words], check=False, capture_output=True, text=True
        )
        if done.returncode:
            raise OSError(done.stderr)

    return ready


def test_tasks_of_both_queues_run_and_only_the_admin_gets_in(
    place: Path, environment: dict[str, str], prepared: list[str]
) -> None:
    assert "Password" not in " ".join(prepared)
    url = environment["AIRFLOW__API__BASE_URL"]
    port = environment["AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT"]
    queues = {"${GREENLIGHT_WORKER_QUEUES:-default,gpu}": "default,gpu"}

    def celery() -> None:
        if subprocess.run(
            ["sh", "-c", CELERY_IS_READY], env=environment, check=False, capture_output=True
        ).returncode:
            raise OSError("nobody answers")

    ready = {
        "airflow-api-server": healthy(f"{url}/api/v2/monitor/health"),
        "airflow-scheduler": healthy(f"http://127.0.0.1:{port}/health"),
        "airflow-dag-processor": healthy(f"{url}/api/v2/monitor/health", "dag_processor"),
        "worker": celery,
    }
    with ExitStack() as stack:
        for name, is_ready in ready.items():
            folder = place / name
            folder.mkdir()
            stack.enter_context(
                started(
                    command_of(name, queues), folder=folder, ready=is_ready, env=environment,
                    ready_s=READY_S,
                )
            )  # fmt: skip
        client = httpx.Client(base_url=url, timeout=60, trust_env=False)
        refused = client.post("/auth/token", json={"username": "admin", "password": "wrong"})
        assert refused.status_code == httpx.codes.UNAUTHORIZED
        login = {"username": "admin", "password": secret(place, "airflow_admin")}
        token = client.post("/auth/token", json=login).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        assert _queues_of_a_run(client) == {"one": "default", "two": "gpu"}


def _queues_of_a_run(client: httpx.Client) -> dict[str, str]:
    dag = "/api/v2/dags/tiny"
    _until(lambda: client.get(dag).status_code == httpx.codes.OK)
    client.patch(dag, json={"is_paused": False}).raise_for_status()
    body = {"dag_run_id": "a", "logical_date": None}
    client.post(f"{dag}/dagRuns", json=body).raise_for_status()
    _until(lambda: client.get(f"{dag}/dagRuns/a").json()["state"] in ("success", "failed"))
    found = client.get(f"{dag}/dagRuns/a/taskInstances").json()["task_instances"]
    assert {one["state"] for one in found} == {"success"}
    return {one["task_id"]: one["queue"] for one in found}


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + READY_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.5)
