"""MLflow tells Airflow of an alias, and the deploy is there once: the real servers, over HTTP.

`deploy_blue_green` is paused, so its runs are made and stay queued.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
import pytest
import yaml

from greenlight.adapters.rollout_store import DatabaseLeases
from greenlight.adapters.stack import airflow
from greenlight.adapters.stack.secrets import load_secret
from greenlight.adapters.stack.services import ServiceName, StackAddresses
from greenlight.core.errors import ConfigError
from greenlight.core.settings import PROJECT, Settings
from greenlight.entrypoints import approvals, review, stack
from greenlight.entrypoints.models import open_registry
from greenlight.registry.ports import Version
from greenlight.registry.tags import Tag
from greenlight.registry.webhook import ENDPOINT, Delivery, signature_of
from greenlight.testing.airflow_runs import call, end_of, open_api, wait_for
from greenlight.testing.candidates import register_candidate, register_parent

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
DAG, RECONCILE = "deploy_blue_green", "fleet_reconcile"
MODEL = "smollm2"
ONLY = {ServiceName.POSTGRES, ServiceName.MLFLOW, *airflow.COMMANDS}
SEEN_S = 120.0
"""MLflow delivers at once; the first delivery waits until Airflow has imported MLflow's client."""


class World:
    """The stack, a model with an approved baseline and a candidate, and a fleet for them."""

    def __init__(self, settings: Settings, found: StackAddresses) -> None:
        self.settings, self.found = settings, found
        self.api = open_api(found, DAG, RECONCILE)
        self.registry = open_registry(settings)
        self.parent = register_parent(self.registry, settings.home / "made", model=MODEL)
        self.candidate = register_candidate(
            self.registry, self.parent, settings.home / "made", created_at=datetime.now(UTC)
        )
        self.approve(self.parent, baseline=True)

    def approve(self, version: Version, *, baseline: bool = False) -> None:
        approvals.record(
            self.settings, model=MODEL, version=version.version, decision="approved", by="ana",
            reason="good", baseline=baseline,
        )  # fmt: skip

    def point(self, version: Version) -> None:
        self.registry.set_alias(MODEL, alias="deploy", version=version.version)

    def runs(self) -> list[tuple[str, int]]:
        """Every deploy that was asked for: fleet and version."""
        found = call(self.found, "GET", f"/api/v2/dags/{DAG}/dagRuns")["dag_runs"]
        return sorted((run["conf"]["fleet"], run["conf"]["version"]) for run in found)

    def answer(self, version: Version) -> str:
        return self.registry.get(MODEL, version.version).tag(Tag.DEPLOY_ANSWER) or ""

    def send(self, delivery: Delivery) -> httpx.Response:
        headers = {
            "X-MLflow-Delivery-Id": delivery.id or "",
            "X-MLflow-Timestamp": delivery.timestamp or "",
            "X-MLflow-Signature": delivery.signature or "",
        }
        url = f"{self.found.airflow_url}{ENDPOINT}"
        return httpx.post(url, content=delivery.body, headers=headers, trust_env=False, timeout=60)

    def signed(self, version: Version, *, age: timedelta = timedelta(0)) -> Delivery:
        """What MLflow would send now, or sent a while ago."""
        data = {"name": MODEL, "version": str(version.version), "alias": "deploy"}
        message = {"entity": "model_version_alias", "action": "created", "data": data}
        body, stamp = json.dumps(message).encode(), str(int((datetime.now(UTC) - age).timestamp()))
        secret = load_secret(self.settings.secrets, "mlflow_webhook")
        signature = signature_of(body, delivery_id="again", timestamp=stamp, secret=secret)
        return Delivery(id="again", timestamp=stamp, signature=signature, body=body)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("review")
    project = folder / "project"
    for name in ("dags", "plugins", "include/config"):
        shutil.copytree(PROJECT / name, project / name)
    for path in (project / "dags").glob("*.py"):
        if path.stem not in {DAG, RECONCILE}:
            path.unlink()
        else:
            text = path.read_text()
            path.write_text(text.replace("paused_upon_creation=False", "paused_upon_creation=True"))
    settings = Settings(home=folder / "a home with spaces", project=project)
    slots = {"blue": {"port": 1}, "green": {"port": 2}}
    fleet = {
        "name": "one", "model": MODEL, "engine": {"kind": "simulator"},
        "router": {"port": 3}, "hosts": [{"name": "h", "root": "h", "slots": slots}],
    }  # fmt: skip
    (settings.home / "config").mkdir(parents=True)
    (settings.home / "config/fleet.yaml").write_text(yaml.safe_dump({"fleets": [fleet]}))
    try:
        found = stack.up(settings, report=lambda *_: None, only=ONLY)
        yield World(settings, found)
    finally:
        stack.down(settings, report=lambda *_: None)


def test_an_alias_starts_the_deploy_once_and_nobody_else_starts_anything(world: World) -> None:
    parent = world.parent
    wanted = [("one", parent.version)]
    world.point(parent)
    wait_for(partial(lambda: world.runs() == wanted), seconds=SEEN_S)
    assert "is wanted on fleet one" in wait_for(partial(world.answer, parent), seconds=SEEN_S)

    again = world.send(world.signed(parent))
    assert (again.status_code, again.json()["decisions"][0]["is_new"]) == (200, False)
    world.point(parent)

    for refused, named in (
        (replace(world.signed(parent), signature="v1,AAAA"), "not that of this body"),
        (replace(world.signed(parent), body=b"{}"), "not that of this body"),
        (world.signed(parent, age=timedelta(minutes=6)), "replay"),
        (Delivery(id=None, timestamp=None, signature=None, body=b"{}"), "missing"),
    ):
        found = world.send(refused)
        assert (found.status_code, named in found.json()["refused"]) == (401, True), found.text
    stale = world.send(world.signed(world.candidate))
    assert stale.status_code == 409
    too_much = world.send(replace(world.signed(parent), body=b"x" * 100_000))
    assert too_much.status_code == 413
    assert world.runs() == wanted


def test_the_webhook_is_there_already_and_may_be_set_anew(world: World) -> None:
    assert review.register(world.found.airflow_url, world.settings) is False
    with pytest.raises(ConfigError, match="ALLOWED_SCHEMES"):
        review.register("ftp://127.0.0.1", world.settings)


def test_what_nobody_approved_waits_for_the_approval_and_starts_then(world: World) -> None:
    candidate, before = world.candidate, world.runs()
    world.point(candidate)
    wait_for(lambda: "may not go live" in world.answer(candidate), seconds=SEEN_S)
    assert world.runs() == before

    leases = DatabaseLeases(stack.open_database(world.settings))
    lease = leases.acquire("one", holder="rollout-7", ttl_s=300)
    world.approve(candidate)
    wait_for(lambda: "changed by rollout-7" in world.answer(candidate), seconds=SEEN_S)
    assert world.runs() == before

    leases.release(lease)
    patch(world, is_paused=False)
    for run_id in ("first-look", "second-look"):
        world.api.start_run(RECONCILE, run_id=run_id, conf={})
        assert end_of(world.api, RECONCILE, run_id, within_s=SEEN_S) == "success"
    assert world.runs() == sorted([*before, ("one", candidate.version)])
    page = world.registry.get(MODEL, candidate.version).description
    assert page.startswith("- **Approval**: approved by ana")


def patch(world: World, **changes: Any) -> None:
    call(world.found, "PATCH", f"/api/v2/dags/{RECONCILE}", json=changes)
