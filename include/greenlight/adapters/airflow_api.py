"""Airflow's REST API (v2), as far as Greenlight drives it from outside."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential

from greenlight.core.errors import InputError, RefusedError, UnavailableError
from greenlight.core.types import JsonDict

TIMEOUT_S = 30.0
WAITING_FOR_A_PERSON = "awaiting_input"
FINISHED = frozenset({"success", "failed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskState:
    """One task instance. `label` is its rendered map index; times are aware, or `None`."""

    task_id: str
    map_index: int
    label: str | None
    state: str | None
    started: datetime | None
    ended: datetime | None


class AirflowApi:
    """A logged-in client. Every call raises `UnavailableError` when Airflow doesn't answer."""

    def __init__(
        self,
        url: str,
        *,
        user: str,
        password: str,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Log in. `transport` replaces the network.

        Raises:
            RefusedError: the user or the password is wrong.
        """
        self._client = httpx.Client(base_url=url, timeout=TIMEOUT_S, transport=transport)
        self._login = {"username": user, "password": password}
        self._authorize()

    def start_run(self, dag_id: str, *, run_id: str, conf: JsonDict) -> bool:
        """Start a run and return true, or false when a run of this id exists already.

        Raises:
            InputError: there is no such DAG, or it refuses `conf`.
        """
        response = self._request(
            "POST",
            f"/api/v2/dags/{dag_id}/dagRuns",
            json={"dag_run_id": run_id, "logical_date": None, "conf": conf},
            allowed={404, 409, 400, 422},
        )
        if response.status_code == httpx.codes.CONFLICT:
            return False
        if response.is_error:
            raise InputError(f"Airflow refuses to start {dag_id}: {_detail(response)}")
        return True

    def start_attempt(self, dag_id: str, *, name: str, conf: JsonDict) -> str:
        """Start `NAME-1`, or the first number after it that no finished run has; return its id.

        A run of that name that is on its way is found, not started again.
        """
        attempt = 1
        while True:
            run_id = f"{name}-{attempt}"
            is_new = self.start_run(dag_id, run_id=run_id, conf=conf)
            if is_new or self.run_state(dag_id, run_id) not in FINISHED:
                return run_id
            attempt += 1

    def why_failed(self, dag_id: str, run_id: str) -> str:
        """Return the last error of every task of a run that failed."""
        return "; ".join(
            f"{task.task_id}: {self.last_log_line(dag_id, run_id, task)}"
            for task in self.tasks(dag_id, run_id)
            if task.state == "failed"
        )

    def has_dag(self, dag_id: str) -> bool:
        """Return whether Airflow has parsed the DAG."""
        response = self._request("GET", f"/api/v2/dags/{dag_id}", allowed={404})
        return response.status_code == httpx.codes.OK

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run: `queued`, `running`, `success` or `failed`."""
        return str(self._request("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}").json()["state"])

    def tasks(self, dag_id: str, run_id: str) -> tuple[TaskState, ...]:
        """Return every task instance of a run."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        found = self._request("GET", path, params={"limit": 1000}).json()["task_instances"]
        return tuple(
            TaskState(
                task_id=entry["task_id"],
                map_index=entry["map_index"],
                label=entry.get("rendered_map_index"),
                state=entry["state"],
                started=_time(entry["start_date"]),
                ended=_time(entry["end_date"]),
            )
            for entry in found
        )

    def result(self, dag_id: str, run_id: str, task_id: str, *, map_index: int = -1) -> Any:
        """Return what a task returned, or `None`."""
        path = (
            f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
            "/xcomEntries/return_value"
        )
        response = self._request(
            "GET", path, params={"deserialize": True, "map_index": map_index}, allowed={404}
        )
        return None if response.is_error else response.json()["value"]

    def last_log_line(self, dag_id: str, run_id: str, task: TaskState) -> str:
        """Return the last error that a task logged, else its last line, else nothing."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task.task_id}/logs/1"
        response = self._request(
            "GET",
            path,
            params={"map_index": task.map_index, "full_content": True},
            headers={"Accept": "application/json"},
            allowed={404},
        )
        if response.is_error:
            return ""
        lines = [line for line in response.json().get("content", []) if isinstance(line, dict)]
        for line in reversed(lines):
            for detail in line.get("error_detail") or []:
                return f"{detail.get('exc_type', '')}: {detail.get('exc_value', '')}"
        return str(lines[-1].get("event", "")) if lines else ""

    def answer(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        *,
        option: str,
        params: JsonDict,
        map_index: int = -1,
    ) -> None:
        """Answer a task that waits for a person. `map_index`: -1 where it isn't mapped.

        Raises:
            InputError: it doesn't wait, or was answered already.
        """
        instance = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/{map_index}"
        response = self._request(
            "PATCH",
            f"{instance}/hitlDetails",
            json={"chosen_options": [option], "params_input": params},
            allowed={400, 404, 409, 422},
        )
        if response.is_error:
            raise InputError(f"{task_id} of {run_id} takes no answer: {_detail(response)}")

    def _authorize(self) -> None:
        response = self._send("POST", "/auth/token", json=self._login)
        if response.is_error:
            raise RefusedError(f"Airflow refuses the log-in of {self._login['username']!r}")
        self._client.headers["Authorization"] = f"Bearer {response.json()['access_token']}"

    def _request(
        self, method: str, path: str, *, allowed: set[int] | None = None, **options: Any
    ) -> httpx.Response:
        response = self._send(method, path, **options)
        if response.status_code == httpx.codes.UNAUTHORIZED:  # the token has expired
            self._authorize()
            response = self._send(method, path, **options)
        if response.is_error and response.status_code not in (allowed or set()):
            raise UnavailableError(
                f"Airflow answers {response.status_code} to {method} {path}: {_detail(response)}"
            )
        return response

    @retry(
        retry=retry_if_exception_type(UnavailableError),
        wait=wait_exponential(multiplier=0.5, max=10),
        stop=stop_after_attempt(6),
        reraise=True,
    )
    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = self._client.request(method, path, **options)
        except httpx.TransportError as error:
            raise UnavailableError(
                f"Airflow does not answer at {self._client.base_url}: {error}; run `make up`"
            ) from error
        if response.status_code in {502, 503, 504}:
            raise UnavailableError(f"Airflow answers {response.status_code} to {method} {path}")
        return response


def _detail(response: httpx.Response) -> str:
    try:
        return str(response.json().get("detail", response.text))
    except ValueError:
        return response.text[:500]


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
