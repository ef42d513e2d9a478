"""The scaling DAG on a real stack, over REST as a person drives it: asked, answered, applied."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from greenlight.adapters import database
from greenlight.adapters.airflow_api import AirflowApi
from greenlight.adapters.rollout_store import DatabaseJournal
from greenlight.adapters.stack.services import StackAddresses
from greenlight.core.digest import manifest_of
from greenlight.core.settings import Settings
from greenlight.deploy.journal import Event, Phase, Step
from greenlight.deploy.performance import Benchmark, Number, load_performance
from greenlight.entrypoints import stack
from greenlight.entrypoints.deploy import stop as stop_fleet
from greenlight.entrypoints.models import open_registry
from greenlight.entrypoints.scaling_tools import open_tools
from greenlight.registry.ports import Registration, RunLog
from greenlight.registry.tags import Tag
from greenlight.scaling.kept import ScheduleState
from greenlight.testing.airflow_runs import end_of, open_api, wait_for
from greenlight.testing.cost_fleet import FLEET
from greenlight.testing.prometheus_servers import backfill, open_metrics
from greenlight.testing.rollout_contract import a_rollout
from greenlight.testing.servers import postgres_binaries

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        postgres_binaries() is None or shutil.which("promtool") is None,
        reason="PostgreSQL or Prometheus is not installed",
    ),
]
DAG, GROUP = "scaling_schedule", "schedule_fleet"
ENDED_WITHIN_S = 400.0
DAYS, STEP_S = 20, 60
NOW = datetime.now(UTC).replace(second=0, microsecond=0)
SCALING: dict[str, Any] = {
    "fleets": {
        "demo": {"ceiling": 9, "target": {"kind": "slots"}, "replay": {"days": 2}},
        "bare": {"ceiling": 2},
    }
}
BARE = FLEET | {
    "name": "bare", "router": {"port": 8200},
    "hosts": [{"name": "bare-1", "root": "y",
               "slots": {"blue": {"port": 8201}, "green": {"port": 8202}}}],
}  # fmt: skip


def tokens() -> list[tuple[float, float]]:
    """Return a counter: more by day than by night, up to now."""
    start, total, found = NOW.timestamp() - DAYS * 86400, 0.0, []
    for n in range(DAYS * 1440 + 1):
        at = start + n * STEP_S
        total += STEP_S * (120 + 100 * math.sin(2 * math.pi * at / 86400))
        found.append((at, total))
    return found


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with two fleets, and a Prometheus that remembers weeks of demand of one model."""
    settings = Settings(home=tmp_path_factory.mktemp("schedules") / "a home with spaces")
    config = settings.home / "config"
    config.mkdir(parents=True)
    for name, content in {"scaling": SCALING, "fleet": {"fleets": [FLEET, BARE]}}.items():
        (config / f"{name}.yaml").write_text(yaml.safe_dump(content))
    counted = tokens()
    labels = {"model": "chat", "direction": "output", "job": "gateway"}
    text = open_metrics(
        [
            ("up", {"job": "gateway"}, [(at, 1.0) for at, _ in counted]),
            ("greenlight_gateway_tokens_total", labels, counted),
        ]
    )
    backfill(settings.home / "monitoring/prometheus", text)
    return settings


@pytest.fixture(scope="module")
def found(settings: Settings) -> Iterator[StackAddresses]:
    try:
        found = stack.up(settings, report=lambda *_: None)
        engine = database.open_engine(found.database_url)
        deploy(settings, DatabaseJournal(engine))
        engine.dispose()
        yield found
    finally:
        stack.down(settings, report=lambda *_: None)
        stop_fleet("demo", settings=settings)  # the stack's loop may have started an engine


def deploy(settings: Settings, journal: DatabaseJournal) -> None:
    """Put a version live on both fleets; only one of them was benchmarked."""
    folder = settings.home / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_text("weights")
    registry, manifest = open_registry(settings), manifest_of(folder)
    run = RunLog(key="import", name="import")
    version = registry.register(
        Registration(model="chat", folder=folder, manifest=manifest, run=run, tags={})
    )
    for fleet in ("demo", "bare"):
        rollout = replace(
            a_rollout(f"to-{fleet}", fleet=fleet), model="chat", version=version.version,
            digest=manifest.digest, started_at=NOW - timedelta(days=1),
        )  # fmt: skip
        journal.open_rollout(rollout)
        steps: list[tuple[Step, dict[str, Any]]] = [(Step.PREPARE, {"ready_s": 240.0})] * 5
        for step, detail in [*steps, (Step.FINISH, {"outcome": "live"})]:
            journal.append(
                Event(rollout_id=rollout.id, at=NOW, step=step, phase=Phase.DONE, detail=detail)
            )
    numbers = {"tokens_per_second.4": 100.0, "goodput.4": 1.0}
    benchmark = Benchmark(
        fleet="demo", model="chat", version=version.version, digest=manifest.digest,
        flags_digest="f" * 64, hosts=1, rollout_id="to-demo", measured_at=NOW, requests=60,
        load_digest=load_performance(settings.config_file("performance"), "demo").load_digest,
        other_requests=0, confidence=0.99,
        numbers=tuple(Number(name=name, value=value, low=None, high=None, n=60)
                      for name, value in numbers.items()),
    )  # fmt: skip
    tags = {f"{Tag.PERFORMANCE}.demo": benchmark.model_dump_json()}
    registry.set_tags("chat", version=version.version, tags=tags)


@pytest.fixture(scope="module")
def api(found: StackAddresses) -> AirflowApi:
    return open_api(found, DAG)


def states(api: AirflowApi, run_id: str) -> dict[tuple[str, str | None], str | None]:
    """Return the state of each task by its name and its fleet's place in the list."""
    return {
        (task.task_id.removeprefix(f"{GROUP}."), str(task.map_index)): task.state
        for task in api.tasks(DAG, run_id)
    }


def ended(api: AirflowApi, run_id: str) -> str:
    return end_of(api, DAG, run_id, within_s=ENDED_WITHIN_S)


def test_a_first_schedule_asks_and_is_applied_after_a_yes(
    settings: Settings, api: AirflowApi
) -> None:
    api.start_run(DAG, run_id="first", conf={})
    wait_for(
        lambda: states(api, "first").get(("approve", "1")) == "awaiting_input",
        seconds=ENDED_WITHIN_S,
    )
    time.sleep(1)  # an answer at the very moment of parking is lost
    store = open_tools("demo", settings).store
    assert store.applied("demo") is None
    api.answer(
        DAG, "first", f"{GROUP}.approve", option="Approve", params={"reason": "looks right"},
        map_index=1,
    )  # fmt: skip
    assert ended(api, "first") == "success", api.why_failed(DAG, "first")
    applied = store.applied("demo")
    assert applied is not None
    assert (applied.state, applied.reason) == (ScheduleState.APPLIED, "looks right")
    assert applied.gpu_hours is not None
    found = states(api, "first")
    assert found["apply", "1"] == "success"
    assert found["look_back", "1"] == "skipped", "no schedule was applied yesterday"


def test_a_fleet_that_was_not_measured_is_skipped_beside_it(api: AirflowApi) -> None:
    found = states(api, "first")
    steps = ("plan", "ask", "approve", "record_answer", "apply")
    assert [found[step, "0"] for step in steps] == ["success", *["skipped"] * 4]
    proposal = api.result(DAG, "first", f"{GROUP}.plan", map_index=0)
    assert "no benchmark" in proposal["why"][0]


def test_the_next_night_nothing_changed_and_nobody_is_asked(
    settings: Settings, api: AirflowApi
) -> None:
    store = open_tools("demo", settings).store
    before = store.applied("demo")
    api.start_run(DAG, run_id="second", conf={})
    assert ended(api, "second") == "success", api.why_failed(DAG, "second")
    found = states(api, "second")
    assert (found["approve", "1"], found["apply", "1"]) == ("skipped", "success")
    after = store.applied("demo")
    assert after is not None
    assert before is not None
    assert after.digest != before.digest
    assert after.waits_for == ()
