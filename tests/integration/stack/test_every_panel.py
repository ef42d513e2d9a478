"""Every panel's query on a running stack: a fleet that was deployed, clients, a backup, a bill.

What `make quickstart` does, with clients. Its engines are simulated, and the bill's hour is a row
that a test wrote: an hour of costs needs an hour of samples. Its metrics are published as always.
"""

from __future__ import annotations

import itertools
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import yaml

from greenlight.adapters.cost_store import DatabaseCosts
from greenlight.adapters.monitoring_api import silent_targets
from greenlight.adapters.stack.services import StackAddresses
from greenlight.core.settings import PROJECT, Settings
from greenlight.entrypoints import (
    backup_metrics,
    cost_outlook,
    cost_tools,
    deploy,
    gateway_keys,
    quickstart,
    stack,
)
from greenlight.entrypoints.backup_tools import open_tools as open_backup
from greenlight.testing.cost_fleet import COST, PRICES
from greenlight.testing.costs_contract import a_line, an_hour
from greenlight.testing.local_fleet import QUICK
from greenlight.testing.servers import free_ports
from greenlight.testing.waiting import wait_for

sys.path.insert(0, str(PROJECT / "monitoring/grafana"))
from boards import BOARDS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    *(
        pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed")
        for name in ("haproxy", "prometheus", "pgbackrest", "restic")
    ),
]
SEEN_S = 120.0
PAUSE_S = 0.5
QUERIES = [
    (f"{board.uid}: {panel.title}: {number}", query)
    for board in BOARDS
    for panel in board.panels
    for number, query in enumerate(panel.queries)
]
RANGES = {"__rate_interval": "1m", "__range": "1h"}


def concrete(expr: str) -> str:
    """Return a query with a dashboard's variables as they are when nothing is chosen."""
    return re.sub(r"\$\{?(\w+)\}?", lambda found: RANGES.get(found[1], ".+"), expr)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = Settings(home=tmp_path_factory.mktemp("panels") / "a home with spaces")
    write_config(settings)
    try:
        found = stack.up(settings, report=lambda *_: None)
        quickstart.go_live(settings, found, say=lambda _: None)
        with clients(settings, found):
            fill(settings)
            yield found.prometheus_url
    finally:
        deploy.stop(quickstart.FLEET, settings=settings)
        stack.down(settings, report=lambda *_: None)


def write_config(settings: Settings) -> None:
    ports = free_ports(4)
    hosts = [{"name": "local-1", "root": "hosts/1",
              "slots": {"blue": {"port": ports[0]}, "green": {"port": ports[1]}}}]  # fmt: skip
    fleet = {
        "name": quickstart.FLEET, "model": quickstart.MODEL,
        "engine": {"kind": "simulator", "ready_s": 60, "drain_s": 10, "shutdown_s": 10},
        "router": {"port": ports[2], "metrics_port": ports[3], "health_interval_s": 0.2},
        "hosts": hosts,
    }  # fmt: skip
    gateway = yaml.safe_load((settings.config_folder / "gateway.example.yaml").read_text())
    served = {"name": quickstart.MODEL, "fleet": quickstart.FLEET}
    gateway["models"][0] |= served | {"upstream": f"http://127.0.0.1:{ports[2]}"}
    del gateway["models"][1]
    rollouts = {quickstart.ROLLOUT: QUICK}
    config = settings.home / "config"
    config.mkdir(parents=True)
    files: dict[str, Any] = {
        "fleet": {"fleets": [fleet]}, "rollout": {"rollouts": rollouts}, "gateway": gateway,
        "cost": COST, "prices": PRICES | {"currency": "USD"},
    }  # fmt: skip
    for name, content in files.items():
        (config / f"{name}.yaml").write_text(yaml.safe_dump(content))


@contextmanager
def clients(settings: Settings, found: StackAddresses) -> Iterator[None]:
    """Ask the gateway inside the block, for whole answers and streams; also with a wrong key."""
    keys = gateway_keys.open_keys(settings, by="ana")
    scopes = ("chat", "completions", "models", f"model:{quickstart.MODEL}")
    issued = keys.create(tenant="demo", scopes=scopes, name="", lifetime=timedelta(days=1))
    asked = {
        "model": quickstart.MODEL,
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 20,
    }
    over = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=found.gateway_url, trust_env=False, timeout=30) as client:
            for number in itertools.count():
                key = "glk_wrong" if number % 10 == 9 else issued.text
                body = asked | {"stream": number % 2 == 0}
                headers = {"Authorization": f"Bearer {key}"}
                client.post("/v1/chat/completions", json=body, headers=headers)
                if over.wait(PAUSE_S):
                    return

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def fill(settings: Settings) -> None:
    """Back up and restore for real; write a bill, and publish the metrics of all."""
    quickstart.back_up_and_restore(settings, say=lambda _: None)
    engine = stack.open_database(settings)
    backup_metrics.publish(open_backup(settings))
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
    lines = (replace(a_line(hour), tenant="demo", output_tokens=10**12), a_line(hour))
    DatabaseCosts(engine).save_hour(an_hour(hour, *lines))
    cost_outlook.look_and_tell(cost_tools.open_tools(settings))


def has_data(prometheus: str, expr: str) -> bool:
    answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": concrete(expr)})
    assert answer.is_success, f"{expr}: {answer.text}"
    return bool(answer.json()["data"]["result"])


def test_every_panel_has_data(prometheus: str) -> None:
    wanted = {name: query.expr for name, query in QUERIES if not query.rare}

    def without() -> list[str]:
        return [name for name, expr in wanted.items() if not has_data(prometheus, expr)]

    wait_for(lambda: not without(), seconds=SEEN_S, every_s=5, why=without)


def test_a_query_without_data_is_found(prometheus: str) -> None:
    assert not has_data(prometheus, 'up{job="$nobody"} == 7')


def test_every_query_that_is_rare_is_understood_by_prometheus(prometheus: str) -> None:
    for _, query in QUERIES:
        has_data(prometheus, query.expr)


def test_every_target_is_up(prometheus: str) -> None:
    def down() -> list[str]:
        answer = httpx.get(f"{prometheus}/api/v1/targets", params={"state": "active"})
        targets = answer.json()["data"]["activeTargets"]
        assert {"engine", "router"} < {one["labels"]["job"] for one in targets}
        return [one["scrapeUrl"] for one in targets if one["health"] != "up"]

    wait_for(lambda: not down(), seconds=SEEN_S, every_s=5, why=down)
    assert not silent_targets(prometheus)
