"""The real DAG on the real stack, started and approved over REST; only engines are simulated."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from greenlight.adapters.airflow_api import WAITING_FOR_A_PERSON, AirflowApi
from greenlight.adapters.haproxy.router import HaproxyRouter
from greenlight.adapters.hosts import open_host
from greenlight.core.errors import InputError
from greenlight.core.settings import Settings
from greenlight.deploy.colours import Colour
from greenlight.deploy.fleet import load_fleet
from greenlight.entrypoints import approvals, deploy, stack
from greenlight.entrypoints.models import open_registry
from greenlight.registry.ports import ModelRegistry, Version
from greenlight.registry.tags import Alias
from greenlight.testing.airflow_runs import end_of, open_api, wait_for
from greenlight.testing.candidates import register_candidate, register_parent
from greenlight.testing.local_fleet import QUICK
from greenlight.testing.servers import free_ports
from greenlight.testing.simulation import FILE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="HAProxy is not installed"),
]
DAG = "deploy_blue_green"
MODEL = "smollm2"
ENDED_WITHIN_S = 420.0


class World:
    """The stack, a registry with a parent in it, and a fleet of two simulated hosts."""

    def __init__(self, settings: Settings, api: AirflowApi, registry: ModelRegistry) -> None:
        self.settings, self.api, self.registry = settings, api, registry
        self.parent = register_parent(registry, settings.home / "made", model=MODEL)

    @property
    def airflow_url(self) -> str:
        return stack.addresses(self.settings).airflow_url

    def candidate(self, name: str, **simulation: object) -> Version:
        quick = {"first_token_s": 0.01, "token_s": 0.001, "tokens": 8} | simulation
        return register_candidate(
            self.registry,
            self.parent,
            self.settings.home / "made" / name,
            created_at=datetime.now(UTC),
            extra={FILE: json.dumps(quick)},
        )

    def run(self, run_id: str, version: Version, *, approve: bool) -> str:
        conf = {"fleet": "test", "version": version.version, "allow_interface_change": True}
        self.api.start_run(DAG, run_id=run_id, conf=conf)
        if approve:
            wait_for(lambda: self.is_approved(run_id), seconds=300)
        return end_of(self.api, DAG, run_id, within_s=ENDED_WITHIN_S)

    def is_approved(self, run_id: str) -> bool:
        """Answer when it asks, and again when it asks again.

        An answer while the task still parks fails it, on a busy machine seconds later, and the
        retry asks anew.
        """
        state = self.state(run_id, "approve")
        if state == WAITING_FOR_A_PERSON:
            time.sleep(1)
            with suppress(InputError):  # it was answered a moment ago
                self.api.answer(
                    DAG, run_id, "approve", option="Approve", params={"reason": "looks good"}
                )
        return state == "success"

    def state(self, run_id: str, task: str) -> str | None:
        return {t.task_id: t.state for t in self.api.tasks(DAG, run_id)}.get(task)

    def last_line(self, run_id: str, task_id: str) -> str:
        task = next(t for t in self.api.tasks(DAG, run_id) if t.task_id == task_id)
        return self.api.last_log_line(DAG, run_id, task)

    def status(self) -> dict[str, Any]:
        return deploy.open_deploy("test", settings=self.settings).status()

    def champion(self) -> int | None:
        found = self.registry.find(MODEL, tags={}, alias=Alias.CHAMPION)
        return None if found is None else found.version


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    settings = Settings(home=tmp_path_factory.mktemp("dag") / "a home with spaces")
    write_config(settings)
    try:
        found = stack.up(settings, report=lambda *_: None)
        yield World(settings, open_api(found, DAG), open_registry(settings))
    finally:
        stop_engines(settings)
        stack.down(settings, report=lambda *_: None)


def write_config(settings: Settings) -> None:
    ports = free_ports(5)
    fleet = {
        "name": "test",
        "model": MODEL,
        "engine": {"kind": "simulator", "ready_s": 60, "drain_s": 10, "shutdown_s": 10},
        "router": {"port": ports[4], "health_interval_s": 0.2},
        "hosts": [
            {
                "name": f"host-{n}",
                "root": f"hosts/{n}",
                "slots": {"blue": {"port": ports[2 * n]}, "green": {"port": ports[2 * n + 1]}},
            }
            for n in range(2)
        ],
    }
    config = settings.home / "config"
    config.mkdir(parents=True)
    (config / "fleet.yaml").write_text(yaml.safe_dump({"fleets": [fleet]}))
    (config / "rollout.yaml").write_text(yaml.safe_dump({"rollouts": {"standard": QUICK}}))


def stop_engines(settings: Settings) -> None:
    fleet = load_fleet(settings.config_file("fleet"), "test")
    for host in fleet.hosts:
        for colour in Colour:
            open_host(host, fleet.engine, settings=settings).stop(colour)
    HaproxyRouter(fleet, folder=settings.home / "router" / fleet.name).stop(grace_s=2)


def test_a_baseline_then_an_approved_version_then_a_broken_one(world: World) -> None:
    parent = world.parent
    approvals.record(
        world.settings, model=MODEL, version=parent.version, decision="approved", by="ana",
        reason="what we run today", baseline=True,
    )  # fmt: skip
    assert world.run("baseline", parent, approve=False) == "success"
    assert world.champion() == parent.version

    good = world.candidate("good")
    assert world.run("good", good, approve=True) == "success"
    assert world.champion() == good.version
    live = world.status()["live"]
    assert (live["version"], live["digest"]) == (good.version, good.digest)
    shares = {s["colour"]: s["weight"] for s in world.status()["servers"]}
    assert shares == {live["colour"]: 100, Colour(live["colour"]).other: 0}
    kept = approvals.list_approvals(world.settings, model=MODEL, version=good.version)
    assert [(k["decision"], k["digest"]) for k in kept] == [("approved", good.digest)]
    page = world.registry.get(MODEL, good.version).description
    assert f"- **Approval**: approved by admin at {kept[0]['decided_at'][:10]}" in page
    assert f"({world.airflow_url}/dags/{DAG}/runs/good), begun" in page
    assert "went live" in page

    broken = world.candidate("broken", slow_first_token=20.0)
    assert world.run("broken", broken, approve=True) == "failed"
    assert world.champion() == good.version
    assert world.status()["live"] == live
    last = world.last_line("broken", "outcome")
    assert "rolled back" in last
    assert "was taken back: " in world.registry.get(MODEL, broken.version).description
    assert "ttft" in last


def test_a_rejected_version_goes_nowhere(world: World) -> None:
    before = world.status()["live"]
    version = world.candidate("rejected", tokens=9)
    run_id = "rejected"
    conf = {"fleet": "test", "version": version.version, "allow_interface_change": True}
    world.api.start_run(DAG, run_id=run_id, conf=conf)
    wait_for(lambda: world.state(run_id, "approve") == WAITING_FOR_A_PERSON, seconds=180)
    time.sleep(1)
    world.api.answer(DAG, run_id, "approve", option="Reject", params={"reason": "too early"})
    assert end_of(world.api, DAG, run_id, within_s=ENDED_WITHIN_S) == "failed"
    assert "too early" in world.last_line(run_id, "begin")
    assert world.status()["live"] == before
