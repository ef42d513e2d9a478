"""What the monitoring of the stack is told. The real servers run in tests/integration/stack."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from greenlight.adapters.stack.monitoring import Monitoring, targets_of
from greenlight.core.settings import Ports, Settings, read_config
from greenlight.deploy.fleet import Fleet, FleetFile
from greenlight.testing.haproxy_worlds import a_fleet

PORTS = Ports(prometheus=7001, alertmanager=7002, node_exporter=7003, gateway_metrics=7004)


def fleet(**router: object) -> Fleet:
    keys = [("gpu-1", "blue"), ("gpu-1", "green"), ("gpu-2", "blue"), ("gpu-2", "green")]
    return a_fleet({key: 20000 + n for n, key in enumerate(keys)}, **router)  # type: ignore[arg-type]


@pytest.fixture
def monitoring(tmp_path: Path) -> Monitoring:
    return Monitoring(settings=Settings(home=tmp_path / "a home"), ports=PORTS)


def test_every_slot_is_asked_and_named_by_host_and_colour() -> None:
    found = targets_of([fleet()])
    assert len(found) == 4
    assert found[1] == {
        "targets": ["127.0.0.1:20001"],
        "labels": {
            "kind": "engine", "fleet": "lab", "model": "tiny", "host": "gpu-1",
            "colour": "green", "region": "local",
        },
    }  # fmt: skip


def test_a_router_is_asked_when_it_has_a_port_for_that() -> None:
    assert targets_of([fleet(metrics_port=7005)])[-1] == {
        "targets": ["127.0.0.1:7005"],
        "labels": {"kind": "router", "fleet": "lab", "model": "tiny"},
    }
    elsewhere = targets_of([fleet(metrics_port=7005, metrics_address="router")])
    assert elsewhere[-1]["targets"] == ["router:7005"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_accepts_what_it_is_told(monitoring: Monitoring) -> None:
    monitoring.prepare([fleet(metrics_port=7005)])
    path = monitoring.folder / "prometheus.yml"

    def check() -> subprocess.CompletedProcess[str]:
        command = ["promtool", "check", "config", str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)

    assert check().returncode == 0, check().stderr
    path.write_text(path.read_text().replace("scrape_configs", "scrape_config"))
    assert check().returncode != 0


@pytest.mark.skipif(shutil.which("amtool") is None, reason="Alertmanager is not installed")
def test_alertmanager_accepts_the_example(monitoring: Monitoring) -> None:
    path = monitoring.settings.config_file("alertmanager")
    command = ["amtool", "check-config", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nobody_listens_beyond_loopback(monitoring: Monitoring) -> None:
    monitoring.prepare([])
    for service in monitoring.services():
        (listens,) = [o for o in service.command if o.startswith("--web.listen-address=")]
        assert listens.startswith("--web.listen-address=127.0.0.1:")


def test_a_changed_file_is_another_service(monitoring: Monitoring) -> None:
    monitoring.prepare([])
    before = {service.name: service.digest for service in monitoring.services()}
    own = monitoring.settings.home / "config/alertmanager.yaml"
    own.parent.mkdir()
    own.write_text("route: {receiver: me}\nreceivers: [{name: me}]\n")
    after = {service.name: service.digest for service in monitoring.services()}
    assert {name for name in before if before[name] != after[name]} == {"alertmanager"}


def test_the_examples_of_fleets_can_be_watched(monitoring: Monitoring) -> None:
    fleets = read_config(monitoring.settings.config_file("fleet"), FleetFile).fleets
    monitoring.prepare(fleets)
    written = json.loads((monitoring.folder / "targets.json").read_text())
    addresses = [target for group in written for target in group["targets"]]
    assert len(addresses) == len(set(addresses)) > 6
