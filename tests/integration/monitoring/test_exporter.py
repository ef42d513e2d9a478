"""The exporter on a real database: what the tables hold is what Prometheus reads."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from greenlight.adapters import database
from greenlight.adapters.approval_store import DatabaseApprovals
from greenlight.adapters.rollout_store import DatabaseJournal
from greenlight.adapters.schedule_store import DatabaseSchedules
from greenlight.adapters.stack.secrets import load_or_create_secrets
from greenlight.deploy.journal import Event, Outcome, Phase, Step
from greenlight.registry.approvals import Approval, Decision
from greenlight.scaling.kept import as_applied
from greenlight.testing.rollout_contract import NOON, a_rollout
from greenlight.testing.schedules_contract import a_schedule
from greenlight.testing.servers import postgres_binaries, postgres_server
from greenlight.testing.waiting import wait_for

BINARIES = postgres_binaries()
pytestmark = pytest.mark.skipif(BINARIES is None, reason="PostgreSQL is not installed")
SCHEDULE = """
{fleet: demo, zone: UTC, made_at: 2026-11-24T03:20:00+00:00, lead_s: 60, gpus_per_host: 1,
 basis: a test, floor: 1, ceiling: 4,
 week: [{from: mon 00:00, to: mon 00:00, min: 1, desired: 2, max: 3, reason: always}]}
"""
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    assert BINARIES is not None
    with postgres_server(BINARIES) as url:
        database.migrate(url)
        yield url


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("exporter") / "a home"
    load_or_create_secrets(home / "secrets")
    slots = {"blue": {"port": 1}, "green": {"port": 2}}
    fleet = {
        "name": "one",
        "model": "m",
        "engine": {"kind": "simulator"},
        "router": {"port": 3},
        "hosts": [{"name": "h", "root": "h", "slots": slots}],
    }
    (home / "config").mkdir(parents=True)
    (home / "config/fleet.yaml").write_text(yaml.safe_dump({"fleets": [fleet]}))
    return home


@contextmanager
def exporter(home: Path, url: str) -> Iterator[str]:
    """Run it as a user starts it; yield where its metrics are."""
    environment = {"GREENLIGHT_HOME": str(home), "GREENLIGHT_DATABASE_URL": url}
    command = [str(Path(sys.executable).with_name("greenlight")), "exporter", "run"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[-1]
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0


def read(address: str) -> Samples:
    text = httpx.get(address, timeout=20, trust_env=False).text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_tables_hold_is_what_prometheus_reads_and_nothing_is_made_up(
    home: Path, url: str
) -> None:
    engine = database.open_engine(url)
    journal = DatabaseJournal(engine)
    with exporter(home, url) as address:
        empty = read(address)
        assert {key for key, up in empty.items() if key[0].endswith("exporter_up")} == {
            ("greenlight_exporter_up", (("part", part),))
            for part in ("rollouts", "approvals", "keys", "audit", "schedules", "log", "airflow")
        }
        assert not [name for name, _ in empty if name.endswith("timestamp_seconds")]

        journal.open_rollout(a_rollout("first", fleet="one"))
        journal.append(
            Event(
                rollout_id="first",
                at=NOON,
                step=Step.FINISH,
                phase=Phase.DONE,
                detail={"outcome": Outcome.LIVE},
            )
        )
        journal.open_rollout(a_rollout("second", fleet="one", minute=7))
        DatabaseApprovals(engine).append(
            Approval(
                decided_at=datetime.now(UTC),
                decided_by="ana",
                decision=Decision.REJECTED,
                reason="slow",
                model="m",
                version=2,
                digest="d" * 64,
                evidence_digest="e" * 64,
            )
        )
        schedules = DatabaseSchedules(engine)
        proposed = schedules.add(replace(a_schedule("demo"), text=SCHEDULE))
        applied = as_applied(proposed, by="t", at=NOON)
        schedules.change(applied, was=proposed.state)
        found = read(address)
        asked = httpx.get(address.replace("/metrics", "/targets"), trust_env=False).json()
    engines = [(one["targets"], one["labels"]["colour"]) for one in asked]
    assert engines == [(["127.0.0.1:2"], "green")]  # live, and where the second goes
    planned = (("bound", "desired"), ("fleet", "demo"))
    assert found["greenlight_schedule_hosts", planned] == 2
    when = found["greenlight_schedule_applied_timestamp_seconds", (("fleet", "demo"),)]
    assert when == NOON.timestamp()
    live = (("fleet", "one"), ("outcome", "live"))
    assert found["greenlight_rollouts_total", live] == 1
    assert found["greenlight_rollout_last_timestamp_seconds", live] == NOON.timestamp()
    running = found["greenlight_rollout_unfinished_since_timestamp_seconds", (("fleet", "one"),)]
    assert running == NOON.replace(minute=7).timestamp()
    served = (("colour", "green"), ("fleet", "one"), ("model", "m"))
    assert found["greenlight_live_version", served] == 2
    assert found["greenlight_approvals_total", (("decision", "rejected"),)] == 1
    assert found["greenlight_approvals_total", (("decision", "approved"),)] == 0
    engine.dispose()


def test_a_part_that_can_not_be_read_says_so_and_leaves_the_others_alone(
    home: Path, url: str
) -> None:
    fleets = home / "config/fleet.yaml"
    before = fleets.read_text()
    with exporter(home, url) as address:
        fleets.write_text("fleets: nonsense\n")
        found = read(address)
        targets = httpx.get(address.replace("/metrics", "/targets"), trust_env=False)
        fleets.write_text(before)
        again = read(address)
    assert found["greenlight_exporter_up", (("part", "rollouts"),)] == 0
    assert targets.status_code == 503
    assert found["greenlight_exporter_up", (("part", "keys"),)] == 1
    assert not [name for name, _ in found if name.startswith("greenlight_rollout")]
    assert again["greenlight_exporter_up", (("part", "rollouts"),)] == 1


def test_what_airflow_sends_to_the_port_of_the_same_number_is_on_the_page(
    home: Path, url: str
) -> None:
    with exporter(home, url) as address:
        port = httpx.URL(address).port
        assert port is not None
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"airflow.scheduler_heartbeat:1|c", ("127.0.0.1", port))
            sender.sendto(b"\xff nonsense", ("127.0.0.1", port))
        beat = ("airflow_heartbeats_total", (("component", "scheduler"),))
        wait_for(lambda: read(address)[beat] == 1)
        malformed = ("greenlight_statsd_lines_total", (("outcome", "malformed"),))
        wait_for(lambda: read(address)[malformed] == 1)
