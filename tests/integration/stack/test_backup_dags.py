"""The backup DAGs on a real stack with two embedded regions, driven over REST as a person would."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from greenlight.adapters.airflow_api import FINISHED
from greenlight.adapters.s3 import delete, keys_under, open_client
from greenlight.adapters.stack.services import StackAddresses
from greenlight.adapters.stack.stores import s3_of
from greenlight.backup.history import RESTORE, DrillRecord
from greenlight.backup.ladder import Outcome, Rung
from greenlight.backup.sets import BackupKind, Verdict
from greenlight.core.digest import manifest_of
from greenlight.core.settings import Settings, load_settings
from greenlight.entrypoints import stack
from greenlight.entrypoints.backup_tools import BackupTools, open_tools
from greenlight.entrypoints.models import open_registry
from greenlight.registry.ports import Registration, RunLog
from greenlight.registry.tags import Alias, Tag
from greenlight.testing.airflow_runs import call, cancel, end_of, open_api, wait_for
from greenlight.testing.model_folders import write_llama
from greenlight.testing.tiny_model import make_tiny

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    *(
        pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed")
        for name in ("pgbackrest", "restic")
    ),
]
NIGHTLY, DRILL = "backup_nightly", "restore_drill"
MODEL = "tiny"
REGIONS = ["a", "b"]
CHAMPION = {Rung.CHAMPION_LOADS, Rung.CHAMPION_GENERATES}
ENDED_WITHIN_S = 600.0
CAN_GENERATE = load_settings({}).ml_python.is_file()


class World:
    """The stack, with a champion that can generate where the ML environment is."""

    def __init__(self, settings: Settings, found: StackAddresses) -> None:
        self.settings, self.found = settings, found
        self.api = open_api(found, NIGHTLY, DRILL)

    @property
    def tools(self) -> BackupTools:
        return open_tools(self.settings)

    def run(self, dag_id: str, run_id: str, **conf: Any) -> str:
        """Start a run, and return the state in which it ended."""
        self.api.start_run(dag_id, run_id=run_id, conf=conf)
        return self.end_of(dag_id, run_id)

    def end_of(self, dag_id: str, run_id: str) -> str:
        return end_of(self.api, dag_id, run_id, within_s=ENDED_WITHIN_S)

    def last_line(self, dag_id: str, run_id: str, task_id: str) -> str:
        task = next(t for t in self.api.tasks(dag_id, run_id) if t.task_id == task_id)
        return self.api.last_log_line(dag_id, run_id, task)

    def last_lines(self, dag_id: str, run_id: str) -> dict[str, str]:
        """Return what every task that began said last: why a run ended as it did."""
        begun = [task for task in self.api.tasks(dag_id, run_id) if task.started]
        return {t.task_id: self.api.last_log_line(dag_id, run_id, t) for t in begun}

    def wait_for_due_runs(self, dag_id: str) -> None:
        """Return when nothing of a schedule is on its way: Airflow catches up on a time just gone.

        In the hours after a nightly time it starts that night's run as soon as it knows the DAG.
        """

        def nothing_is_due() -> bool:
            due = call(self.found, "GET", f"/api/v2/dags/{dag_id}")["next_dagrun_run_after"]
            runs = call(self.found, "GET", f"/api/v2/dags/{dag_id}/dagRuns")["dag_runs"]
            later = due is not None and datetime.fromisoformat(due) > datetime.now(UTC)
            return later and all(run["state"] in FINISHED for run in runs)

        wait_for(nothing_is_due, seconds=ENDED_WITHIN_S)

    def sets_in(self, region: str) -> tuple[str, ...]:
        return self.tools.store(region).ids()

    def drills(self) -> tuple[DrillRecord, ...]:
        return self.tools.history.drills(limit=100, kind=RESTORE)

    def begin_drill(self, run_id: str, **conf: Any) -> tuple[psutil.Process, psutil.Process]:
        """Start a drill; return the database that it restored, once it runs, and the task."""
        self.api.start_run(DRILL, run_id=run_id, conf=conf)
        record = self.settings.work / f".restore-drill-{run_id}/run/postgres.json"
        wait_for(record.exists, seconds=ENDED_WITHIN_S)
        database = psutil.Process(json.loads(record.read_text())["pid"])
        task = database.parent()
        assert task is not None
        return database, task

    def newest_drill(self) -> DrillRecord:
        (record,) = self.tools.history.drills(limit=1, kind=RESTORE)
        return record

    def report(self, record: DrillRecord) -> str:
        """Return the page that a drill's address shows, as MLflow hands it out."""
        assert record.report_url is not None
        run_id, _, name = record.report_url.rpartition("/runs/")[2].split("/")
        answer = httpx.get(
            f"{self.found.mlflow_url}/get-artifact",
            params={"path": name, "run_uuid": run_id},
            trust_env=False,
        )
        assert answer.is_success, answer.text
        return answer.text

    def left_behind(self) -> list[Path]:
        return list(self.settings.work.glob(".restore-drill-*"))

    def metrics(self) -> dict[str, list[tuple[dict[str, str], float]]]:
        """Return every sample of every file, by name."""
        found: dict[str, list[tuple[dict[str, str], float]]] = {}
        for path in self.settings.metrics.glob("*.prom"):
            for family in text_string_to_metric_families(path.read_text()):
                for sample in family.samples:
                    found.setdefault(sample.name, []).append((sample.labels, sample.value))
        return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("backup")
    settings = Settings(home=folder / "a home with spaces")
    try:
        found = stack.up(settings, report=lambda *_: None)
        world = World(settings, found)
        register_champion(settings, folder / "model")
        for dag_id in (NIGHTLY, DRILL):
            world.wait_for_due_runs(dag_id)
        yield world
    finally:
        stack.down(settings, report=lambda *_: None)


def register_champion(settings: Settings, folder: Path) -> None:
    if CAN_GENERATE:
        make_tiny(settings, folder)
    else:
        write_llama(folder)
    registry = open_registry(settings)
    version = registry.register(
        Registration(
            model=MODEL,
            folder=folder,
            manifest=manifest_of(folder),
            run=RunLog(key="tiny", name="import"),
            tags={Tag.KIND: "imported"},
        )
    )
    registry.set_alias(MODEL, alias=Alias.CHAMPION, version=version.version)


def has_ended(process: psutil.Process) -> bool:
    """Return whether it has; one that nobody has asked about since is a zombie."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_two_nights_leave_two_verified_sets_in_each_region(world: World) -> None:
    before = world.sets_in("a")
    assert world.run(NIGHTLY, "first") == "success"
    assert world.run(NIGHTLY, "second") == "success"
    tools = world.tools
    ids = world.sets_in("a")
    assert len(ids) == len(before) + 2
    for region in REGIONS:
        store = tools.store(region)
        assert store.ids() == ids
        verdicts = [found.verdict for name in ids if (found := store.verification(name))]
        assert verdicts == [Verdict.PASS] * len(ids)
        first, *others = [c.kind for name in ids if (c := store.get(name).copy_in(region))]
        assert first is BackupKind.FULL
        assert others == [BackupKind.INCREMENTAL] * (len(ids) - 1)
    said = world.api.result(NIGHTLY, "second", "back_up")
    assert said["id"] == ids[-1]


def test_the_heartbeat_proves_time_and_writes_metrics_that_can_be_read(world: World) -> None:
    before = len(world.tools.databases.sentinels())
    assert world.run("backup_heartbeat", "beat") == "success"
    assert len(world.tools.databases.sentinels()) > before
    found = world.metrics()
    up = found["greenlight_backup_region_up"]
    assert sorted((labels["region"], value) for labels, value in up) == [("a", 1), ("b", 1)]
    sets = found["greenlight_backup_sets"]
    assert {(s["region"], s["verified"]): n for s, n in sets} == {
        ("a", "true"): len(world.sets_in("a")),
        ("b", "true"): len(world.sets_in("b")),
        ("a", "false"): 0,
        ("b", "false"): 0,
    }


def test_a_cancelled_drill_leaves_nothing_and_is_no_success(world: World) -> None:
    before = world.drills()
    database, task = world.begin_drill("cancelled", region="a")
    cancel(world.found, DRILL, "cancelled")
    wait_for(lambda: not world.left_behind(), seconds=120)
    assert world.end_of(DRILL, "cancelled") == "failed"
    assert has_ended(database)
    assert has_ended(task)
    assert world.drills() == before


def test_a_drill_that_is_killed_climbs_again_up_to_the_champions_words(world: World) -> None:
    database, task = world.begin_drill("killed", region="a")
    task.kill()
    ended = world.end_of(DRILL, "killed")
    assert has_ended(database)
    assert world.left_behind() == []
    record = world.newest_drill()
    outcomes = {result.rung: result.outcome for result in record.drill.rungs}
    assert {r for r in Rung if outcomes[r] is not Outcome.PASS} <= (
        set() if CAN_GENERATE else CHAMPION
    ), record.drill
    assert (record.drill.rows_lost, record.drill.rows_ahead) == (0, 0)
    if not CAN_GENERATE:
        pytest.skip("without .venv-ml nobody can ask the champion, so the drill proves too little")
    assert (ended, record.outcome) == ("success", Outcome.PASS)
    assert world.api.result(DRILL, "killed", "report")["outcome"] == "pass"
    assert record.drill.rto_s is not None
    page = world.report(record)
    assert "The backup restores" in page
    assert all(rung in page for rung in Rung)


def test_a_region_that_lost_its_log_fails_its_drill_by_name(world: World) -> None:
    lose_log(world.settings, "b")
    assert world.run(DRILL, "damaged", region="b") == "failed"
    assert world.left_behind() == []
    last = world.last_line(DRILL, "damaged", "report")
    assert "region b: fail: hashes: " in last, world.last_lines(DRILL, "damaged")
    assert "the log lacks 0000000100000000" in last
    record = world.newest_drill()
    assert (record.drill.region, record.outcome) == ("b", Outcome.FAIL)
    assert record.drill.rto_s is None
    assert "The backup does not restore as it should" in world.report(record)
    rungs = {
        labels["rung"]: value
        for labels, value in world.metrics()["greenlight_restore_drill_rung_result"]
        if labels["region"] == "b"
    }
    assert (rungs[Rung.SET_PRESENT], rungs[Rung.HASHES], rungs[Rung.MLFLOW_STARTS]) == (1, 0, -1)


def lose_log(settings: Settings, region: str) -> None:
    """Delete every segment of the databases' log in a region."""
    store = s3_of(settings, open_tools(settings).config.region(region))
    client = open_client(store)
    for key in list(keys_under(client, store, prefix="pgbackrest/archive/")):
        if key.endswith(".zst"):
            delete(client, store, key=key)
