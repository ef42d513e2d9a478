"""The real stack in a home of its own: one start for all tests of this file (about a minute)."""

import json
import os
import shutil
import signal
import time

import httpx
import psutil
import pytest
import sqlalchemy as sa

from greenlight.adapters.stack.embedded import GRACE_S
from greenlight.adapters.stack.services import ServiceName, State
from greenlight.core.errors import RefusedError
from greenlight.core.findings import Answer
from greenlight.core.settings import PROJECT, Settings
from greenlight.entrypoints import stack
from greenlight.entrypoints.doctor import open_doctor
from greenlight.testing.airflow_runs import wait_for

pytestmark = pytest.mark.timeout(500)


class Steps(list):
    """Remembers what was reported."""

    def __call__(self, step, what):
        self.append((str(step), what, time.monotonic()))

    def about(self, word):
        return {step for step, what, _ in self if word in what}


WARNING = Answer.WARNING
SLEEPER = """
from airflow.sdk import dag, task


@dag(schedule=None, is_paused_upon_creation=False)
def sleeper():
    @task
    def sleep():
        import time

        time.sleep(600)

    sleep()


sleeper()
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The running stack, with the project's DAGs and one more whose task sleeps."""
    folder = tmp_path_factory.mktemp("stack")
    project = folder / "project"
    for name in ("dags", "plugins", "include/config"):
        shutil.copytree(PROJECT / name, project / name)
    for path in (project / "dags").glob("*.py"):  # in the hours after its time a schedule is due
        path.write_text(
            path.read_text().replace("paused_upon_creation=False", "paused_upon_creation=True")
        )
    (project / "dags/sleeper.py").write_text(SLEEPER)
    settings = Settings(home=folder / "a home with spaces", project=project)
    steps = Steps()
    try:
        yield settings, stack.up(settings, report=steps)
    finally:
        stack.down(settings, report=steps)


@pytest.fixture(scope="module")
def api(world):
    found = world[1]
    with httpx.Client(base_url=found.airflow_url, trust_env=False, timeout=30) as client:
        body = {"username": found.airflow_user, "password": found.airflow_password}
        answer = client.post("/auth/token", json=body)
        assert answer.status_code == httpx.codes.CREATED
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        yield client


def pids(settings):
    return {line.name: line.pid for line in stack.status(settings)}


def of_ours(settings, read=lambda process: process):
    """What `read` says of every live process that mentions this home or works in it.

    A process that ends while it is asked is left out: Airflow starts and ends them all the time.
    """
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and (
                process.environ().get("GREENLIGHT_HOME") == str(settings.home)
                or process.cwd().startswith(str(settings.home))
            ):
                found.append(read(process))
        except psutil.Error:
            continue
    return found


def test_every_service_is_healthy(world):
    assert {line.state for line in stack.status(world[0])} == {State.RUNNING}


def test_the_doctor_finds_a_new_stack_fit_and_says_what_it_can_not_have_yet(world):
    doctor = open_doctor(world[0])
    fit = ("machine", "secrets", "configuration", "stack", "certificates")
    found = list(doctor.run(fit))
    assert {one.part for one in found} == set(fit)
    ours = [one for one in found if "GB free" not in one.evidence]  # the disk is the machine's
    assert {one.answer for one in ours} == {Answer.OK}, ours
    wait_for(
        lambda: {one.answer for one in doctor.run(["monitoring"])} <= {Answer.OK, WARNING},
        seconds=120,
    )
    told = list(doctor.run(["monitoring"]))[-1]
    assert (told.answer, told.evidence) == (WARNING, "alerts go to: nobody")
    (hosts,) = doctor.run(["hosts"])
    assert (hosts.answer, hosts.evidence) == (WARNING, "fleet.yaml is the example: none is yours")
    backup = list(doctor.run(["backup"]))
    assert {one.answer for one in backup} == {Answer.FAILED}
    assert backup[-1].evidence == "last passed drill: never"


def test_a_wrong_password_does_not_log_in(world):
    body = {"username": "admin", "password": "admin"}
    answer = httpx.post(f"{world[1].airflow_url}/auth/token", json=body, trust_env=False)
    assert answer.status_code == httpx.codes.UNAUTHORIZED


def test_the_api_needs_a_log_in(world):
    answer = httpx.get(f"{world[1].airflow_url}/api/v2/dags", trust_env=False)
    assert answer.status_code == httpx.codes.UNAUTHORIZED


def test_the_dags_of_the_project_appear(world, api):
    wanted = {path.stem for path in (world[0].project / "dags").glob("*.py")}
    deadline = time.monotonic() + 120
    while True:
        found = {dag["dag_id"] for dag in api.get("/api/v2/dags").json()["dags"]}
        if wanted <= found:
            break
        errors = api.get("/api/v2/importErrors").json()["import_errors"]
        assert not errors, errors
        assert time.monotonic() < deadline, f"only {found} after two minutes"
        time.sleep(1)


def test_the_gpu_pool_has_one_slot(api):
    assert api.get("/api/v2/pools/gpu").json()["slots"] == 1


def test_mlflow_keeps_a_number_and_hands_an_artifact_back(world):
    from mlflow import MlflowClient  # slow to import: only here

    client = MlflowClient(tracking_uri=world[1].mlflow_url)
    run = client.create_run(client.create_experiment("stack test"))
    client.log_metric(run.info.run_id, "perplexity", 9.5)
    client.log_text(run.info.run_id, "hello", "note.txt")
    assert client.get_run(run.info.run_id).data.metrics == {"perplexity": 9.5}
    assert client.get_run(run.info.run_id).info.artifact_uri.startswith("mlflow-artifacts:")
    stored = list((world[0].home / "mlflow/artifacts").rglob("note.txt"))
    assert [path.read_text() for path in stored] == ["hello"]


def test_airflows_own_numbers_reach_prometheus(world):
    def alive():
        query = {"query": "airflow_heartbeats_total > 0"}
        url = f"{world[1].prometheus_url}/api/v1/query"
        found = httpx.get(url, params=query, trust_env=False).json()["data"]["result"]
        return {one["metric"]["component"] for one in found}

    wait_for(lambda: alive() == {"scheduler", "dag_processor", "triggerer"}, seconds=120)


def test_greenlights_tables_are_there(world):
    engine = sa.create_engine(world[1].database_url)
    assert "greenlight_schema" in sa.inspect(engine).get_table_names()
    engine.dispose()


def test_nothing_listens_beyond_loopback(world):
    listening = {
        connection.laddr.ip
        for connections in of_ours(world[0], lambda process: process.net_connections(kind="tcp"))
        for connection in connections
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_no_secret_is_in_a_log_or_on_a_command_line(world):
    settings = world[0]
    secrets = [
        path.read_text().strip() for path in settings.secrets.iterdir() if path.suffix != ".json"
    ]
    logs = [p for root in (settings.logs, settings.home / "airflow/logs") for p in root.rglob("*")]
    told = " ".join(p.read_text(errors="replace") for p in logs if p.is_file())
    told += " ".join(
        word for line in of_ours(settings, lambda process: process.cmdline()) for word in line
    )
    assert not [secret for secret in secrets if secret in told]


def test_up_again_starts_nothing(world):
    before, steps = pids(world[0]), Steps()
    assert stack.up(world[0], report=steps) == world[1]
    assert pids(world[0]) == before
    assert steps.about("starting") == set()


def test_up_brings_back_only_what_died(world):
    before, steps = pids(world[0]), Steps()
    os.kill(before[ServiceName.TRIGGERER], signal.SIGKILL)
    stack.up(world[0], report=steps)
    after = pids(world[0])
    assert steps.about("starting") == {ServiceName.TRIGGERER}
    assert {n for n in ServiceName if after[n] != before[n]} == {ServiceName.TRIGGERER}


def test_y_down_does_not_wait_for_a_running_task(world, api):
    answer = api.post("/api/v2/dags/sleeper/dagRuns", json={"logical_date": None})
    task = f"/api/v2/dags/sleeper/dagRuns/{answer.json()['dag_run_id']}/taskInstances/sleep"
    wait_for(lambda: api.get(task).json()["state"] == "running", seconds=120)
    steps = Steps()
    stack.down(world[0], report=steps)
    scheduler = [at for step, _, at in steps if step == ServiceName.SCHEDULER]
    assert scheduler[1] - scheduler[0] < GRACE_S - 5, "the scheduler had to be killed"
    assert len(steps.about("stopped")) == len(ServiceName)
    assert of_ours(world[0]) == []


def test_z_a_stale_pid_file_kills_no_stranger(world):
    settings = world[0]
    with pytest.raises(RefusedError, match="make up"):
        stack.addresses(settings)
    stale = settings.run / f"{ServiceName.MLFLOW}.json"
    stranger = {
        "pid": os.getpid(),
        "identity": "another boot:1",
        "digest": "",
        "started_at": 0.0,
        "log_offset": 0,
    }
    stale.write_text(json.dumps(stranger))
    assert {line.state for line in stack.status(settings)} == {State.STOPPED}
    stack.down(settings, report=Steps())
    assert not stale.exists()
