"""Prometheus, Alertmanager and the node exporter, on loopback.

Prometheus asks Greenlight's exporter which engines and routers there are; while that doesn't answer
it keeps those that it has.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import yaml

from greenlight.adapters import fleet_targets
from greenlight.adapters.processes import find_program
from greenlight.adapters.stack.ports import LOOPBACK
from greenlight.adapters.stack.services import Service, ServiceName
from greenlight.core.errors import ConfigError
from greenlight.core.files import write_atomically
from greenlight.core.settings import Ports, Settings
from greenlight.core.types import JsonDict

RETENTION = "60d"
"""Advice looks back a month and a half at most; older usage is in the cost rows."""
SCRAPE_S = 15
PROGRAMS = {
    ServiceName.NODE_EXPORTER: "prometheus-node-exporter",
    ServiceName.ALERTMANAGER: "prometheus-alertmanager",
    ServiceName.PROMETHEUS: "prometheus",
}


def prometheus_url(ports: Ports) -> str:
    """Return where queries are asked."""
    return f"http://{LOOPBACK}:{ports.prometheus}"


def alertmanager_url(ports: Ports) -> str:
    """Return where alerts are sent, and shown."""
    return f"http://{LOOPBACK}:{ports.alertmanager}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitoring:
    """The three servers of one home."""

    settings: Settings
    ports: Ports

    @property
    def folder(self) -> Path:
        """Configuration and data of all three."""
        return self.settings.home / "monitoring"

    def prepare(self) -> None:
        """Write what the servers read."""
        self.settings.metrics.mkdir(parents=True, exist_ok=True)
        for name in ("prometheus", "alertmanager"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / "prometheus.yml", self._prometheus.encode())

    def services(self) -> list[Service]:
        """Return the servers in the order of starting; `prepare` must have been called.

        Raises:
            ConfigError: one is not installed.
        """
        alertmanager_file = self.settings.config_file("alertmanager")
        return [
            self._service(
                ServiceName.NODE_EXPORTER,
                f"--web.listen-address={LOOPBACK}:{self.ports.node_exporter}",
                f"--collector.textfile.directory={self.settings.metrics}",
            ),
            self._service(
                ServiceName.ALERTMANAGER,
                f"--config.file={alertmanager_file}",
                f"--storage.path={self.folder / 'alertmanager'}",
                f"--web.listen-address={LOOPBACK}:{self.ports.alertmanager}",
                "--cluster.listen-address=",  # no gossip port
                digest=_sha256(alertmanager_file.read_bytes()),
            ),
            self._service(
                ServiceName.PROMETHEUS,
                f"--config.file={self.folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={self.folder / 'prometheus'}",
                f"--storage.tsdb.retention.time={RETENTION}",
                f"--web.listen-address={LOOPBACK}:{self.ports.prometheus}",
                f"--web.console.templates={self._shipped / 'consoles'}",
                digest=_sha256(self._prometheus.encode(), *map(Path.read_bytes, self._rules)),
            ),
        ]

    @property
    def _rules(self) -> list[Path]:
        return sorted((self._shipped / "rules").glob("*.yml"))

    @property
    def _shipped(self) -> Path:
        return self.settings.project / "monitoring/prometheus"

    @property
    def _prometheus(self) -> str:
        ports = self.ports
        scraped = {
            "prometheus": ports.prometheus,
            "alertmanager": ports.alertmanager,
            "node": ports.node_exporter,
            "gateway": ports.gateway_metrics,
            "greenlight": ports.exporter,
        }
        jobs: list[JsonDict] = [
            {"job_name": name, "static_configs": [{"targets": [f"{LOOPBACK}:{port}"]}]}
            for name, port in scraped.items()
        ]
        jobs.append(
            {
                "job_name": "fleet",
                "http_sd_configs": [
                    {
                        "url": f"http://{LOOPBACK}:{ports.exporter}{fleet_targets.PATH}",
                        "refresh_interval": f"{SCRAPE_S}s",
                    }
                ],
                "relabel_configs": [{"source_labels": ["kind"], "target_label": "job"}],
            }
        )
        return yaml.safe_dump(
            {
                "global": {
                    "scrape_interval": f"{SCRAPE_S}s",
                    "evaluation_interval": f"{SCRAPE_S}s",
                },
                "rule_files": [str(path) for path in self._rules],
                "alerting": {
                    "alertmanagers": [
                        {"static_configs": [{"targets": [f"{LOOPBACK}:{ports.alertmanager}"]}]}
                    ]
                },
                "scrape_configs": jobs,
            },
            sort_keys=False,
        )

    def _service(self, name: ServiceName, *options: str, digest: str = "") -> Service:
        return Service(
            name=name,
            command=[_program(name), *options],
            settings={"PATH": "/usr/bin:/bin", "GREENLIGHT_CONFIG_SHA256": digest},
            inherited={},
            cwd=self.folder,
        )


def _program(name: ServiceName) -> str:
    program = PROGRAMS[name]
    found = find_program(program)
    if found is None:
        raise ConfigError(
            f"{program}, which watches the stack, is not installed; `scripts/setup system` "
            f"installs it"
        )
    return found


def _sha256(*texts: bytes) -> str:
    return hashlib.sha256(b"\0".join(texts)).hexdigest()
