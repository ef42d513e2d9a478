"""Airflow's four components with the LocalExecutor, settings by environment, over its REST API."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import httpx

from greenlight.adapters.stack import mlflow_server
from greenlight.adapters.stack.greenlight_servers import own_environment
from greenlight.adapters.stack.ports import LOOPBACK
from greenlight.adapters.stack.postgres import database_url
from greenlight.adapters.stack.secrets import ADMIN, StackSecrets
from greenlight.adapters.stack.services import Service, ServiceName
from greenlight.core.errors import UnavailableError
from greenlight.core.settings import Ports, Settings

PARALLELISM = 4
GPU_POOL = "gpu"
GPU_SLOTS = 1
COMMANDS: dict[ServiceName, tuple[str, ...]] = {
    ServiceName.API_SERVER: ("api-server",),
    ServiceName.SCHEDULER: ("scheduler", "--skip-serve-logs"),
    ServiceName.DAG_PROCESSOR: ("dag-processor",),
    ServiceName.TRIGGERER: ("triggerer", "--skip-serve-logs"),
}
HEARTBEATS = {
    ServiceName.SCHEDULER: "scheduler",
    ServiceName.DAG_PROCESSOR: "dag_processor",
    ServiceName.TRIGGERER: "triggerer",
}


def url(ports: Ports) -> str:
    """Return where Airflow's pages and its API answer."""
    return f"http://{LOOPBACK}:{ports.airflow}"


def airflow_environment(
    settings: Settings, *, ports: Ports, secrets: StackSecrets, passwords_file: Path
) -> dict[str, str]:
    """Return Airflow's settings, and Greenlight's for the tasks, as environment variables."""
    home = settings.home / "airflow"
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(settings.project / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(settings.project / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "greenlight_executor.EndingLocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": str(PARALLELISM),
        "AIRFLOW__CORE__FERNET_KEY": secrets.airflow_fernet,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url(ports)}/execution/",
        "AIRFLOW__CORE__AUTH_MANAGER": (
            "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
        ),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords_file),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database_url(
            "airflow", port=ports.postgres, password=secrets.postgres
        ),
        "AIRFLOW__API__HOST": LOOPBACK,
        "AIRFLOW__API__PORT": str(ports.airflow),
        "AIRFLOW__API__BASE_URL": url(ports),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": secrets.airflow_api,
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.airflow_jwt,
        # a task starts 1.5 to 2.5 s after the one before it, instead of 3 to 5 s
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        # a changed DAG file is seen within 10 s; an unchanged one is parsed once a minute, since
        # every parse takes a second of a core that a quantization needs
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(
            home / "logs/dag_processor"
        ),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        # its numbers go to the exporter (monitoring/statsd/mapping.yaml), each once and with tags
        "AIRFLOW__METRICS__STATSD_ON": "True",
        "AIRFLOW__METRICS__STATSD_HOST": LOOPBACK,
        "AIRFLOW__METRICS__STATSD_PORT": str(ports.exporter),
        "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
        "AIRFLOW__METRICS__LEGACY_NAMES_ON": "False",
        **own_environment(settings, ports=ports, secrets=secrets),
        "GREENLIGHT_AIRFLOW_URL": settings.airflow_url or url(ports),
        "GREENLIGHT_MLFLOW_URL": settings.mlflow_url or mlflow_server.url(ports),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def component(
    name: ServiceName,
    settings: Settings,
    *,
    environment: Mapping[str, str],
    inherited: Mapping[str, str],
) -> Service:
    """Return one component as a service; `environment` is what `airflow_environment` gave."""
    return Service(
        name=name,
        command=[sys.executable, "-m", "airflow", *COMMANDS[name]],
        settings=environment,
        inherited=inherited,
        cwd=settings.home,
    )


def why_api_not_ready(ports: Ports) -> str | None:
    """Return why the API server can't be used yet; none when it answers."""
    try:
        return None if _health(ports) else "it answers, but not yet with its health"
    except httpx.HTTPError as error:
        return f"no answer yet ({type(error).__name__})"


def why_not_alive(name: ServiceName, ports: Ports, *, started_at: float) -> str | None:
    """Return why a component isn't known to live: no heartbeat since its start, or an old one."""
    try:
        found = _health(ports).get(HEARTBEATS[name], {})
    except httpx.HTTPError as error:
        return f"the API server does not answer ({type(error).__name__})"
    beat = found.get(f"latest_{HEARTBEATS[name]}_heartbeat")
    if beat is None or datetime.fromisoformat(beat).timestamp() < started_at:
        return "no heartbeat since its start"
    return None if found.get("status") == "healthy" else f"last heartbeat {beat}"


def log_in(ports: Ports, *, password: str) -> str:
    """Return a token for the REST API.

    Raises:
        UnavailableError: the API server refused the generated password or did not answer.
    """
    try:
        answer = httpx.post(
            f"{url(ports)}/auth/token",
            json={"username": ADMIN, "password": password},
            timeout=30,
            trust_env=False,
        )
    except httpx.HTTPError as error:
        raise UnavailableError(f"Airflow's log-in at {url(ports)} failed: {error}") from error
    if answer.status_code != httpx.codes.CREATED:
        raise UnavailableError(
            f"Airflow at {url(ports)} answered the log-in of {ADMIN} with {answer.status_code}"
        )
    return str(answer.json()["access_token"])


def create_gpu_pool(ports: Ports, *, token: str) -> None:
    """Make the pool `gpu` with one slot; one that exists keeps the slots its operator gave it.

    Raises:
        UnavailableError: the API server refused or did not answer.
    """
    body = {
        "name": GPU_POOL,
        "slots": GPU_SLOTS,
        "description": "Jobs that need the machine for themselves",
        "include_deferred": False,
    }
    try:
        answer = httpx.post(
            f"{url(ports)}/api/v2/pools",
            json=body,
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
            trust_env=False,
        )
    except httpx.HTTPError as error:
        raise UnavailableError(f"Airflow at {url(ports)} failed: {error}") from error
    if answer.status_code not in (httpx.codes.CREATED, httpx.codes.CONFLICT):
        raise UnavailableError(
            f"Airflow answered {answer.status_code} to the new pool {GPU_POOL}: {answer.text[:300]}"
        )


def _health(ports: Ports) -> dict[str, dict[str, str | None]]:
    answer = httpx.get(f"{url(ports)}/api/v2/monitor/health", timeout=10, trust_env=False)
    answer.raise_for_status()
    found: dict[str, dict[str, str | None]] = answer.json()
    return found
