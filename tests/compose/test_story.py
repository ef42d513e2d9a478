"""docker-compose.yaml from a model to its smaller version live, while parts of it are killed.

Started by scripts/test-compose, which builds the images and brings everything up. Real are all the
services and the quantization; the engines on both hosts are simulated, and the gates are wide
(config/gates.yaml), because the smallest recipe is measured on next to nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from story_stack import Asking, Stack

from greenlight.adapters.airflow_api import WAITING_FOR_A_PERSON, AirflowApi
from greenlight.testing.airflow_runs import end_of, wait_for

FOUND = Stack.found()
pytestmark = [
    pytest.mark.compose,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(FOUND is None, reason="only scripts/test-compose brings the stack up"),
]
MODEL, FLEET = "smollm2-135m-instruct", "demo"
QUANTIZE, DEPLOY = "quantize_and_validate", "deploy_blue_green"
KILLED = ("worker", "airflow-scheduler")
ENDED_WITHIN_S = 2400.0
REQUEST = {
    "model": MODEL, "recipes": ["q4-g32"], "evaluation": ["python-heldout"], "gates": "lenient",
    "protocol": {"max_tokens_per_set": 2048},
}  # fmt: skip
MAKE_TINY = ("-m", "greenlight.testing.tiny_llama", "/tmp/tiny", "2", "128")
JOURNAL = """
import json
from dataclasses import asdict
from greenlight.adapters.rollout_store import DatabaseJournal
from greenlight.core.settings import load_settings
from greenlight.entrypoints import stack
journal = DatabaseJournal(stack.open_database(load_settings()))
for rollout in journal.rollouts("demo"):
    print(json.dumps([asdict(event) for event in journal.events(rollout.id)], default=str))
"""
Json = dict[str, Any]


@pytest.fixture(scope="module")
def stack() -> Stack:
    assert FOUND is not None
    return FOUND


@pytest.fixture(scope="module")
def api(stack: Stack) -> AirflowApi:
    api = stack.airflow()
    wait_for(lambda: all(map(api.has_dag, (QUANTIZE, DEPLOY))), seconds=300)
    return api


@pytest.fixture(scope="module")
def parent(stack: Stack, api: AirflowApi) -> Json:
    """Bring a model in, and let both hosts serve it."""
    stack.in_worker("greenlight", "data", "build")
    stack.in_worker("/opt/greenlight/.venv-ml/bin/python", *MAKE_TINY)
    made = stack.greenlight("models", "import", "/tmp/tiny", "--name", MODEL)
    number = str(made["version"])
    stack.greenlight("approvals", "approve", MODEL, number, "--by", "story", "--baseline")
    assert deploy(api, "parent", version=made["version"]) == "success"
    return dict(made)


@pytest.fixture(scope="module")
def key(stack: Stack) -> str:
    words = ("--tenant", "demo", "--scope", "chat", "--scope", f"model:{MODEL}", "--expires", "1d")
    return stack.in_worker("greenlight", "keys", "create", *words).strip()


@pytest.fixture(scope="module")
def asking(stack: Stack, parent: Json, key: str) -> Iterator[Asking]:
    """Keep asking from the moment the first version is live."""
    with Asking(stack=stack, key=key, model=MODEL) as asking:
        yield asking


def deploy(api: AirflowApi, run: str, *, version: int) -> str:
    start_deploy(api, run, version=version)
    return end_of(api, DEPLOY, run, within_s=ENDED_WITHIN_S)


def start_deploy(api: AirflowApi, run: str, *, version: int) -> None:
    conf = {"fleet": FLEET, "version": version, "rollout": "demo"}
    assert api.start_run(DEPLOY, run_id=run, conf=conf)


def is_running(api: AirflowApi, dag: str, run: str, task: str) -> bool:
    return any(t.task_id == task and t.state == "running" for t in api.tasks(dag, run))


def share(stack: Stack) -> int:
    """Return how much of the traffic the new version gets, in percent."""
    rollout = stack.greenlight("deploy", "status", FLEET)["rollout"]
    return int(rollout["share"]) if rollout else 0


def kill_and_start(stack: Stack) -> None:
    stack.kill(*KILLED)
    stack.start(*KILLED)


def test_only_nginx_and_on_loopback_airflow_are_published(stack: Stack) -> None:
    published = {
        (one["Service"], port["URL"])
        for one in map(json.loads, stack.compose("ps", "--format", "json").splitlines())
        for port in one.get("Publishers") or []
        if port["PublishedPort"]
    }
    assert {service for service, _ in published} == {"edge", "airflow-api-server"}
    assert {url for service, url in published if service == "airflow-api-server"} == {"127.0.0.1"}


def test_nginx_answers_over_tls_and_the_gateway_behind_it_asks_for_a_key(stack: Stack) -> None:
    with stack.client() as client:
        assert client.get("/healthz").status_code == httpx.codes.OK
        assert client.get("/v1/models").status_code == httpx.codes.UNAUTHORIZED


def test_prometheus_gets_an_answer_from_every_service_that_it_asks(stack: Stack) -> None:
    def down() -> dict[str, str]:
        said = stack.in_worker("wget", "-qO-", "http://prometheus:9090/api/v1/targets")
        targets = json.loads(said)["data"]["activeTargets"]
        assert targets
        return {
            one["labels"]["instance"]: one["lastError"]
            for one in targets
            if one["scrapePool"] != "fleet" and one["health"] != "up"
        }

    wait_for(lambda: not down(), seconds=60)


def test_the_databases_log_is_archived(stack: Stack) -> None:
    url = "$(sed s/+psycopg2// /run/secrets/superuser_database_url)"
    asked = (
        "SELECT archived_count > 0 AND last_archived_time > coalesce(last_failed_time, '-infinity')"
        " FROM pg_stat_archiver"
    )
    said = stack.in_worker("sh", "-c", f'psql "{url}" --no-align --tuples-only --command="{asked}"')
    assert said.strip() == "t"


def test_a_version_is_made_and_approved_though_its_worker_and_the_scheduler_are_killed(
    stack: Stack, api: AirflowApi, asking: Asking
) -> None:
    assert api.start_run(QUANTIZE, run_id="story", conf=REQUEST)
    wait_for(lambda: is_running(api, QUANTIZE, "story", "prove_recipe"), seconds=ENDED_WITHIN_S)
    kill_and_start(stack)

    def waits() -> bool:
        assert api.run_state(QUANTIZE, "story") != "failed", api.why_failed(QUANTIZE, "story")
        return any(t.state == WAITING_FOR_A_PERSON for t in api.tasks(QUANTIZE, "story"))

    wait_for(waits, seconds=ENDED_WITHIN_S)
    assert stack.tries(QUANTIZE, "story", "prove_recipe") > 1
    answer = {"reason": "the story goes on"}
    api.answer(QUANTIZE, "story", "approve", option="Approve", params=answer)
    assert end_of(api, QUANTIZE, "story", within_s=ENDED_WITHIN_S) == "success"

    kinds = Counter(v["tags"]["greenlight.kind"] for v in stack.greenlight("models", "list"))
    assert kinds == {"imported": 1, "quantized": 1}
    stack.in_worker("greenlight", "models", "verify", MODEL)
    stack.in_worker("greenlight", "evidence", "verify", MODEL, "2")
    assert asking.problems == []


def test_it_goes_live_though_its_worker_and_the_scheduler_are_killed_and_everybody_is_answered(
    stack: Stack, api: AirflowApi, asking: Asking
) -> None:
    start_deploy(api, "story", version=2)
    wait_for(lambda: share(stack) == 50, seconds=ENDED_WITHIN_S)
    kill_and_start(stack)
    assert end_of(api, DEPLOY, "story", within_s=ENDED_WITHIN_S) == "success"

    now = stack.greenlight("deploy", "status", FLEET)
    assert (now["live"]["version"], now["rollout"], now["lease"]) == (2, None, None)
    began, done = whole_journal(stack)[-1]
    assert max(began.values()) > 1, "nothing was interrupted"
    assert set(done.values()) == {1}, "a step that was done was done again"
    assert set(began) == set(done)
    assert asking.problems == []
    assert asking.answered > 60
    stack.in_worker("greenlight", "audit", "verify")


def test_the_doctor_finds_what_serves_fit_and_says_what_is_missing(stack: Stack) -> None:
    said = json.loads(stack.in_worker("sh", "-c", "greenlight doctor --json || true"))
    found = said["findings"]
    fit = {"machine", "secrets", "configuration", "stack", "registry", "hosts", "fleets"}
    bad = [one for one in found if one["part"] in fit and one["answer"] in ("failed", "unknown")]
    assert bad == []
    assert {one["part"] for one in found} > fit
    assert all(one["fix"] for one in found if one["answer"] != "ok")


def test_the_page_in_airflow_shows_the_fleet_to_who_is_logged_in(stack: Stack) -> None:
    with stack.airflow_client(log_in=False) as stranger, stack.airflow_client() as admin:
        assert stranger.get("/greenlight/").status_code == httpx.codes.UNAUTHORIZED
        page = admin.get("/greenlight/")
    assert page.status_code == httpx.codes.OK
    assert f"Fleet {FLEET}" in page.text
    assert page.text.count("serving") >= 2
    assert "could not be read" not in page.text


def whole_journal(stack: Stack) -> list[tuple[Counter[str], Counter[str]]]:
    """Return how often each step of each rollout was begun, and done; fences never fall."""
    python = "/opt/greenlight/.venv/bin/python"
    found = []
    for line in stack.in_worker(python, "-c", JOURNAL).splitlines():
        events = json.loads(line)
        fences = [event["fence"] for event in events]
        assert fences == sorted(fences)
        counts = [
            Counter(f"{e['step']} {e['subject']}" for e in events if e["phase"] == phase)
            for phase in ("began", "done")
        ]
        assert not [event for event in events if event["phase"] == "failed"]
        found.append((counts[0], counts[1]))
    return found
