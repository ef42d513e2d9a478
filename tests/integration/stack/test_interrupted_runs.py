"""A real run of the DAG on a tiny model, cancelled in Airflow, and with its scheduler killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from greenlight.adapters.airflow_api import AirflowApi
from greenlight.adapters.stack.services import ServiceName, StackAddresses
from greenlight.core.settings import Settings
from greenlight.entrypoints import data, models, stack
from greenlight.registry.tags import Tag
from greenlight.testing.airflow_runs import cancel, end_of, open_api, wait_for
from greenlight.testing.tiny_model import make_tiny

pytestmark = [pytest.mark.slow, pytest.mark.ml, pytest.mark.timeout(2400)]

DAG = "quantize_and_validate"
MODEL = "tiny"
GONE_WITHIN_S = 60.0
DONE_WITHIN_S = 1200.0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, StackAddresses]]:
    """The running stack with a tiny model in it."""
    folder = tmp_path_factory.mktemp("interrupted")
    settings = Settings(home=folder / "a home with spaces")
    source = make_tiny(settings, folder / "tiny")
    try:
        addresses = stack.up(settings, report=lambda *_: None)
        data.build_bundle(settings)
        models.import_model(settings, str(source), name=MODEL)
        yield settings, addresses
    finally:
        stack.down(settings, report=lambda *_: None)


@pytest.fixture(scope="module")
def api(world: tuple[Settings, StackAddresses]) -> AirflowApi:
    return open_api(world[1], DAG)


def request(seed: int) -> dict[str, Any]:
    """A short run; another protocol for each, so that none finds the work of another."""
    protocol = {"max_choice_items": 40 + seed, "max_answers": 60, "max_new_tokens": 8}
    return {"model": MODEL, "recipes": ["q4-g32"], "protocol": protocol}


def jobs(settings: Settings) -> list[psutil.Process]:
    """Every live ML job of this home."""
    found = []
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
            if (
                process.status() != psutil.STATUS_ZOMBIE
                and "greenlight.ml" in line
                and any(word.startswith(str(settings.home)) for word in line)
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


def states(api: AirflowApi, run: str) -> dict[str, str | None]:
    return {task.task_id: task.state for task in api.tasks(DAG, run)}


def nothing_half_written(settings: Settings) -> bool:
    kinds = {v["tags"][Tag.KIND] for v in models.list_models(settings)}
    return kinds == {"imported"} and not list(settings.work.glob("*/.*.making-*"))


def test_a_run_cancelled_in_airflow_ends_its_jobs(
    world: tuple[Settings, StackAddresses], api: AirflowApi
) -> None:
    settings, found = world
    api.start_run(DAG, run_id="cancelled", conf=request(1))
    wait_for(lambda: jobs(settings), seconds=120)
    cancel(found, DAG, "cancelled")
    wait_for(lambda: not jobs(settings), seconds=GONE_WITHIN_S)
    assert api.run_state(DAG, "cancelled") == "failed"


def test_a_run_whose_scheduler_is_killed_finishes_after_it_is_back(
    world: tuple[Settings, StackAddresses], api: AirflowApi
) -> None:
    settings = world[0]
    api.start_run(DAG, run_id="killed", conf=request(2))
    wait_for(lambda: states(api, "killed").get("prove_recipe") == "running", seconds=300)
    wait_for(lambda: jobs(settings), seconds=120)
    scheduler = next(s.pid for s in stack.status(settings) if s.name == ServiceName.SCHEDULER)
    assert scheduler is not None
    os.killpg(scheduler, signal.SIGKILL)
    wait_for(lambda: not jobs(settings), seconds=GONE_WITHIN_S)

    stack.up(settings, report=lambda *_: None)
    end_of(api, DAG, "killed", within_s=DONE_WITHIN_S)
    ended = states(api, "killed")
    assert ended["prove_recipe"] == "success"
    assert ended["choose"] == "failed", "a random model has too little data to pass"
    assert nothing_half_written(settings)
