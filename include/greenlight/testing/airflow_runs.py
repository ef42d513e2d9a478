"""Runs in the Airflow of an embedded stack, driven over REST as a person does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import httpx

from greenlight.adapters.airflow_api import FINISHED, AirflowApi
from greenlight.adapters.stack.services import StackAddresses
from greenlight.testing import waiting

EVERY_S = 0.5
"""Every answer costs Airflow some of the machine's cores."""
KNOWN_WITHIN_S = 120.0
Found = TypeVar("Found")


def wait_for(condition: Callable[[], Found], *, seconds: float) -> Found:
    """Return what `condition` returns, once that is true; ask twice a second."""
    return waiting.wait_for(condition, seconds=seconds, every_s=EVERY_S)


def open_api(found: StackAddresses, *dags: str) -> AirflowApi:
    """Log in, and return when Airflow knows the DAGs."""
    api = AirflowApi(found.airflow_url, user=found.airflow_user, password=found.airflow_password)
    wait_for(lambda: all(api.has_dag(dag) for dag in dags), seconds=KNOWN_WITHIN_S)
    return api


def end_of(api: AirflowApi, dag: str, run: str, *, within_s: float) -> str:
    """Return the state in which a run ends."""
    wait_for(lambda: api.run_state(dag, run) in FINISHED, seconds=within_s)
    return api.run_state(dag, run)


def cancel(found: StackAddresses, dag: str, run: str) -> None:
    """Do what "Mark run as failed" does in the UI."""
    call(found, "PATCH", f"/api/v2/dags/{dag}/dagRuns/{run}", json={"state": "failed"})


def call(found: StackAddresses, method: str, path: str, **options: Any) -> Any:
    """Ask Airflow's API for what `AirflowApi` has no use for."""
    with httpx.Client(base_url=found.airflow_url, trust_env=False, timeout=30) as client:
        body = {"username": found.airflow_user, "password": found.airflow_password}
        token = client.post("/auth/token", json=body).json()["access_token"]
        bearer = {"Authorization": f"Bearer {token}"}
        answer = client.request(method, path, headers=bearer, **options)
    assert answer.is_success, answer.text
    return answer.json()
