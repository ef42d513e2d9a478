"""Prometheus, Alertmanager and the node exporter as services of the stack, alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client import CollectorRegistry

from greenlight.adapters.metrics_server import serve_metrics
from greenlight.adapters.monitoring_api import receivers, silent_targets
from greenlight.adapters.stack.embedded import EmbeddedStack
from greenlight.adapters.stack.monitoring import PROGRAMS
from greenlight.adapters.stack.ports import read_ports
from greenlight.adapters.stack.services import ServiceName, State
from greenlight.core.errors import UnavailableError
from greenlight.core.settings import PROJECT, Ports, Settings
from greenlight.testing.waiting import wait_for

pytestmark = [
    pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed")
    for name in PROGRAMS.values()
]
ONLY = set(PROGRAMS)
CONSOLES = sorted((PROJECT / "monitoring/prometheus/consoles").glob("*.html"))
SEEN_S = 60.0
eventually = partial(wait_for, seconds=SEEN_S, every_s=0.5)
"""A scrape comes every 15 s; a busy machine is late."""


def report(step: str, what: str) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    settings = Settings(home=tmp_path_factory.mktemp("monitoring") / "a home with spaces")
    stack = EmbeddedStack(settings, environment={})
    try:
        stack.up(report, only=ONLY)
        yield settings
    finally:
        stack.down(report)


def ports_of(settings: Settings) -> Ports:
    ports = read_ports(settings.run / "ports.json", Ports)
    assert ports is not None
    return ports


def ask(settings: Settings, path: str, **params: str) -> Any:
    url = f"http://127.0.0.1:{ports_of(settings).prometheus}{path}"
    answer = httpx.get(url, params=params, trust_env=False)
    assert answer.is_success, answer.text
    return answer.json()["data"]


def test_they_are_healthy_and_listen_on_loopback_only(home: Settings) -> None:
    lines = {one.name: one for one in EmbeddedStack(home, environment={}).status()}
    assert {name for name, one in lines.items() if one.state is State.RUNNING} == ONLY
    for name in ONLY:
        listening = psutil.Process(lines[name].pid).net_connections(kind="tcp")
        open_ports = [c.laddr for c in listening if c.status == psutil.CONN_LISTEN]
        assert [(a.ip, a.port) for a in open_ports] == [("127.0.0.1", lines[name].port)]


def test_text_files_of_greenlight_are_read_by_prometheus(home: Settings) -> None:
    (home.metrics / "test.prom").write_text("greenlight_fleet_drift 7\n")

    def value() -> list[Any]:
        found: list[Any] = ask(home, "/api/v1/query", query="greenlight_fleet_drift")["result"]
        return found

    assert eventually(value)[0]["value"][1] == "7"


def test_engines_are_those_that_the_exporter_names_also_when_it_no_longer_answers(
    home: Settings,
) -> None:
    labels = {"kind": "engine", "fleet": "one", "host": "h", "colour": "blue"}
    said = [{"targets": ["127.0.0.1:9"], "labels": labels}]
    _, stop = serve_metrics(
        CollectorRegistry(),
        address="127.0.0.1",
        port=ports_of(home).exporter,
        pages={"/targets": lambda: said},
    )

    def engines() -> list[tuple[str, str, str]]:
        return [
            (one["labels"]["host"], one["labels"]["colour"], one["health"])
            for one in ask(home, "/api/v1/targets")["activeTargets"]
            if one["labels"]["job"] == "engine"
        ]

    try:
        eventually(lambda: engines() == [("h", "blue", "down")])
    finally:
        stop()

    def failures() -> float:
        query = "sum(prometheus_sd_http_failures_total)"
        return float(ask(home, "/api/v1/query", query=query)["result"][0]["value"][1])

    before = failures()
    eventually(lambda: failures() > before)
    assert engines() == [("h", "blue", "down")]


def test_prometheus_knows_the_rules_and_whom_to_tell(home: Settings) -> None:
    groups = ask(home, "/api/v1/rules")["groups"]
    assert "backup" in {group["name"] for group in groups}
    (manager,) = eventually(lambda: ask(home, "/api/v1/alertmanagers")["activeAlertmanagers"])
    assert f":{ports_of(home).alertmanager}/" in manager["url"]


def test_a_target_that_does_not_answer_is_named_and_an_idle_engine_is_not(home: Settings) -> None:
    url = f"http://127.0.0.1:{ports_of(home).prometheus}"

    def told() -> set[str]:
        return {name.split(" at ")[0] for name in silent_targets(url)}

    eventually(lambda: told() == {"gateway", "greenlight"})  # not started


def test_who_is_told_is_read_from_alertmanager(home: Settings) -> None:
    assert receivers(f"http://127.0.0.1:{ports_of(home).alertmanager}") == []
    with pytest.raises(UnavailableError, match="does not answer"):
        receivers("http://127.0.0.1:9")


@pytest.mark.parametrize("page", CONSOLES, ids=lambda page: page.stem)
def test_a_page_of_the_dashboards_is_shown_without_grafana(home: Settings, page: Path) -> None:
    url = f"http://127.0.0.1:{ports_of(home).prometheus}/consoles/{page.name}"
    answer = httpx.get(url, trust_env=False)
    assert answer.status_code == 200, answer.text
    assert answer.text.rstrip().endswith("</html>")
    assert "{{" not in answer.text
    assert page.stem == "index" or "<table>" in answer.text


def test_a_second_up_starts_nothing_again(home: Settings) -> None:
    stack = EmbeddedStack(home, environment={})
    before = {one.name: one.pid for one in stack.status()}
    stack.up(report, only=ONLY)
    assert {one.name: one.pid for one in stack.status()} == before
    assert ServiceName.PROMETHEUS in before
