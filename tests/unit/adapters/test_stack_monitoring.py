"""What the monitoring of the stack is told. The real servers run in tests/integration/stack."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from greenlight.adapters.stack.monitoring import Monitoring
from greenlight.core.settings import Ports, Settings

PORTS = Ports(prometheus=7001, alertmanager=7002, node_exporter=7003, gateway_metrics=7004)


@pytest.fixture
def monitoring(tmp_path: Path) -> Monitoring:
    return Monitoring(settings=Settings(home=tmp_path / "a home"), ports=PORTS)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_accepts_what_it_is_told(monitoring: Monitoring) -> None:
    monitoring.prepare()
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
    monitoring.prepare()
    for service in monitoring.services():
        (listens,) = [o for o in service.command if o.startswith("--web.listen-address=")]
        assert listens.startswith("--web.listen-address=127.0.0.1:")


def test_a_changed_file_is_another_service(monitoring: Monitoring) -> None:
    monitoring.prepare()
    before = {service.name: service.digest for service in monitoring.services()}
    own = monitoring.settings.home / "config/alertmanager.yaml"
    own.parent.mkdir()
    own.write_text("route: {receiver: me}\nreceivers: [{name: me}]\n")
    after = {service.name: service.digest for service in monitoring.services()}
    assert {name for name in before if before[name] != after[name]} == {"alertmanager"}
