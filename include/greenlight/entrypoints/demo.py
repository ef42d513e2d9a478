"""`greenlight demo`: the whole product on one machine, from a model to a version with evidence."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greenlight.adapters.airflow_api import (
    FINISHED,
    WAITING_FOR_A_PERSON,
    AirflowApi,
    TaskState,
)
from greenlight.adapters.job_metrics import newest_progress
from greenlight.core.digest import digest_json
from greenlight.core.errors import GateError, UnavailableError
from greenlight.core.settings import Settings
from greenlight.core.types import JsonDict
from greenlight.quantize.recipe_file import load_recipes_file
from greenlight.quantize.stages import percent_done

if TYPE_CHECKING:
    from greenlight.adapters.stack.services import StackAddresses

DAG = "quantize_and_validate"
MODEL = "smollm2-135m-instruct"
POLL_S = 1.0
PARSED_WITHIN_S = 120.0
ANSWERED_WITHIN_S = 120.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A run as it is now. `activity` says what the running job does, when it said so."""

    state: str
    percent: int
    tasks: tuple[TaskState, ...]
    activity: str | None

    @property
    def waits_for_a_person(self) -> bool:
        """Whether everything is done but the approval."""
        return any(task.state == WAITING_FOR_A_PERSON for task in self.tasks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """One demo run."""

    api: AirflowApi
    settings: Settings
    run_id: str

    def follow(self) -> Iterator[Snapshot]:
        """Yield the run once a second until it has finished or waits for a person."""
        began = time.time()
        while True:
            snapshot = self._look(began)
            yield snapshot
            if snapshot.state in FINISHED or snapshot.waits_for_a_person:
                return
            time.sleep(POLL_S)

    def candidate(self) -> JsonDict:
        """Return what `register` returned.

        Raises:
            GateError: the run failed; the message is that of the task that failed.
        """
        found: JsonDict | None = self.api.result(DAG, self.run_id, "register")
        if found is None:
            why = self.api.why_failed(DAG, self.run_id)
            raise GateError(f"run {self.run_id} registered nothing. {why}")
        return found

    def waits_for_a_person(self) -> bool:
        """Return whether the run waits for its approval now."""
        tasks = self.api.tasks(DAG, self.run_id)
        return any(task.state == WAITING_FOR_A_PERSON for task in tasks)

    def approve(self, *, reason: str) -> str:
        """Approve the candidate and return the state in which the run ended."""
        self.api.answer(DAG, self.run_id, "approve", option="Approve", params={"reason": reason})
        deadline = time.monotonic() + ANSWERED_WITHIN_S
        while time.monotonic() < deadline:
            state = self.api.run_state(DAG, self.run_id)
            if state in FINISHED:
                return state
            time.sleep(POLL_S)
        raise UnavailableError(f"run {self.run_id} is not finished {ANSWERED_WITHIN_S:.0f} s after")

    def _look(self, began: float) -> Snapshot:
        tasks = self.api.tasks(DAG, self.run_id)
        running = [t.started.timestamp() for t in tasks if t.state == "running" and t.started]
        progress = newest_progress(self.settings.metrics, since=max(running, default=began))
        return Snapshot(
            state=self.api.run_state(DAG, self.run_id),
            percent=percent_done((task.task_id, task.state) for task in tasks),
            tasks=tasks,
            activity=None
            if progress is None
            else f"{progress[0]}: {progress[1]} {progress[2]:.0%}",
        )


def prepare(settings: Settings, *, say: Say) -> JsonDict:
    """Build the data sets, import the model, and return the request of the run."""
    from greenlight.entrypoints import data, models

    datasets = data.build_bundle(settings)
    say(f"Data sets: {', '.join(f'{d.name} ({d.rows} rows)' for d in datasets)}")
    version = models.import_model(settings, "demo", name=MODEL)
    say(f"Model: {MODEL} version {version.version}, digest {version.digest[:12]}")
    recipes = load_recipes_file(settings.config_file("recipes")).demo
    return {"model": MODEL, "version": version.version, "recipes": list(recipes)}


def start(settings: Settings, addresses: StackAddresses, request: JsonDict) -> Demo:
    """Start the run, or find the one that this request has started and that did not fail."""
    api = open_api(addresses, DAG)
    name = f"demo-{digest_json(request)[:8]}"
    run_id = api.start_attempt(DAG, name=name, conf=request)
    return Demo(api=api, settings=settings, run_id=run_id)


def open_api(addresses: StackAddresses, dag: str) -> AirflowApi:
    """Return the running stack's Airflow, once it knows a DAG.

    Raises:
        UnavailableError: it doesn't, after two minutes.
    """
    api = AirflowApi(
        addresses.airflow_url, user=addresses.airflow_user, password=addresses.airflow_password
    )
    deadline = time.monotonic() + PARSED_WITHIN_S
    while not api.has_dag(dag):
        if time.monotonic() > deadline:
            raise UnavailableError(
                f"Airflow has not parsed {dag} after {PARSED_WITHIN_S:.0f} s; "
                "see `greenlight stack logs airflow-dag-processor`"
            )
        time.sleep(POLL_S)
    return api
