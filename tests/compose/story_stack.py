"""The stack that scripts/test-compose brought up, as somebody with a terminal and a key has it."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from greenlight.adapters.airflow_api import AirflowApi
from greenlight.core.settings import PROJECT
from greenlight.testing.waiting import wait_for

PROGRAM = PROJECT / ".venv/bin/docker-compose"
COMMAND_S = 900.0
HEALTHY_S = 300.0
ASKED_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """What Compose runs. `variables` are those of its `.env`."""

    variables: dict[str, str]

    @classmethod
    def found(cls) -> Stack | None:
        """Return the stack of scripts/test-compose, which says so to Compose; none: none runs."""
        if os.environ.get("COMPOSE_PROJECT_NAME") != "greenlight-test":
            return None
        lines = Path(os.environ["COMPOSE_ENV_FILES"]).read_text().splitlines()
        pairs = (line.partition("=") for line in lines if "=" in line)
        return cls(variables={name: value.strip("'") for name, _, value in pairs})

    def compose(self, *words: str, stdin: bytes | None = None) -> str:
        """Run Compose and return what it printed."""
        done = subprocess.run(
            [PROGRAM, *words], cwd=PROJECT, input=stdin, capture_output=True, check=False,
            timeout=COMMAND_S, stdin=None if stdin else subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, f"{words}: {done.stderr.decode()[-2000:]}"
        return done.stdout.decode()

    def in_worker(self, *words: str, stdin: bytes | None = None) -> str:
        """Run a command in the worker and return what it printed."""
        return self.compose("exec", "--no-tty", "worker", *words, stdin=stdin)

    def greenlight(self, *words: str) -> Any:
        """Run `greenlight … --json` in the worker and return what it said."""
        return json.loads(self.in_worker("greenlight", *words, "--json"))

    def kill(self, *services: str) -> None:
        """End services as a machine without power does."""
        self.compose("kill", "--signal", "SIGKILL", *services)

    def start(self, *services: str) -> None:
        """Start services again, and return when they are healthy."""
        self.compose("start", *services)
        wait_for(lambda: self.healthy(*services), seconds=HEALTHY_S, every_s=2)

    def healthy(self, *services: str) -> bool:
        """Return whether all of these are."""
        said = self.compose("ps", "--all", "--format", "json", *services)
        return {json.loads(line)["Health"] for line in said.splitlines()} == {"healthy"}

    def secret(self, name: str) -> str:
        """Return one of the secrets."""
        return self._secret_file(name).read_text().strip()

    @property
    def airflow_login(self) -> tuple[str, dict[str, str]]:
        """Airflow's address and what its API is told by who logs in."""
        url = f"http://127.0.0.1:{self.variables['GREENLIGHT_AIRFLOW_PORT']}"
        return url, {"username": "admin", "password": self.secret("airflow_admin")}

    def airflow(self) -> AirflowApi:
        """Log in."""
        url, login = self.airflow_login
        return AirflowApi(url, user=login["username"], password=login["password"])

    def tries(self, dag: str, run: str, task: str) -> int:
        """Return how often a task was tried."""
        path = f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances"
        with self.airflow_client() as client:
            found = client.get(path, params={"limit": 1000}).json()
        tried = [one["try_number"] for one in found["task_instances"] if one["task_id"] == task]
        return int(max(tried))

    @contextmanager
    def airflow_client(self, *, log_in: bool = True) -> Iterator[httpx.Client]:
        """Yield a client of Airflow's API server, logged in unless told otherwise."""
        url, login = self.airflow_login
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            if log_in:
                token = client.post("/auth/token", json=login).json()["access_token"]
                client.headers["Authorization"] = f"Bearer {token}"
            yield client

    def client(self, **options: Any) -> httpx.Client:
        """Return a client of nginx that trusts the authority of the secrets alone."""
        trusted = ssl.create_default_context(cafile=str(self._secret_file("tls_ca")))
        url = f"https://localhost:{self.variables['GREENLIGHT_EDGE_PORT']}"
        return httpx.Client(base_url=url, verify=trusted, timeout=60, trust_env=False, **options)

    def _secret_file(self, name: str) -> Path:
        return Path(self.variables["GREENLIGHT_SECRETS"], name)


@dataclass(slots=True, kw_only=True)
class Asking:
    """Somebody who asks another question once a second, through nginx, gateway and router."""

    stack: Stack
    key: str
    model: str
    answered: int = 0
    problems: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Asking:
        self._thread = threading.Thread(target=self._ask, name="asking")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join()

    def _ask(self) -> None:
        bearer = {"Authorization": f"Bearer {self.key}"}
        with self.stack.client(headers=bearer) as client:
            number = 0
            while not self._stop.wait(ASKED_EVERY_S):
                number += 1
                self._note(client, f"Question {number}: what is {number} and {number}?")

    def _note(self, client: httpx.Client, question: str) -> None:
        body = {"model": self.model, "messages": [{"role": "user", "content": question}]}
        try:
            answer = client.post("/v1/chat/completions", json=body | {"max_tokens": 16})
            text = answer.json()["choices"][0]["message"]["content"] if answer.is_success else ""
        except httpx.HTTPError as error:
            self.problems.append(repr(error))
            return
        if text:
            self.answered += 1
        else:
            self.problems.append(f"{answer.status_code}: {answer.text[:200]}")
