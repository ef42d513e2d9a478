"""Greenlight's own servers as services of the embedded stack: gateway, nginx, exporter, loops."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from greenlight.adapters.stack.certificates import Certificates, certificates_in
from greenlight.adapters.stack.ports import LOOPBACK
from greenlight.adapters.stack.postgres import database_url
from greenlight.adapters.stack.secrets import StackSecrets
from greenlight.adapters.stack.services import Service, ServiceName
from greenlight.core.digest import digest_file
from greenlight.core.settings import Ports, Settings
from greenlight.gateway.gateway_file import load_gateway_file

COMMANDS = {
    ServiceName.GATEWAY: ("gateway", "run"),
    ServiceName.EDGE: ("gateway", "edge"),
    ServiceName.EXPORTER: ("exporter", "run"),
    ServiceName.SCALING: ("scaling", "run"),
}
EDGE_NAMES = (LOOPBACK, "localhost")
SCALING_METRICS = "scaling-loop.prom"
"""In the folder of metrics: written again and again while the loops live."""


def gateway_url(ports: Ports) -> str:
    """Return where clients ask, without `/v1`."""
    return f"http://{LOOPBACK}:{ports.gateway}"


def has_own_edge(settings: Settings) -> bool:
    """Return whether nginx is one of the stack's services: gateway.yaml has no `edge`.

    Raises:
        ConfigError: gateway.yaml is wrong.
    """
    return load_gateway_file(settings.config_file("gateway")).edge is None


def edge_certificates(settings: Settings) -> Certificates:
    """Return where nginx' certificate is, and the authority that clients trust."""
    return certificates_in(settings.home / "edge")


def edge_url(ports: Ports) -> str:
    """Return where clients ask over TLS, without `/v1`."""
    return f"https://{EDGE_NAMES[0]}:{ports.edge}"


def own_environment(settings: Settings, *, ports: Ports, secrets: StackSecrets) -> dict[str, str]:
    """Return what each of Greenlight's processes in the stack is told: its home and database."""
    embedded = database_url("greenlight", port=ports.postgres, password=secrets.postgres)
    return {
        "GREENLIGHT_HOME": str(settings.home),
        "GREENLIGHT_DATABASE_URL": settings.database_url or embedded,
    }


def servers(
    settings: Settings, *, ports: Ports, secrets: StackSecrets, inherited: Mapping[str, str]
) -> list[Service]:
    """Return them in the order of starting; with another file a server is another one."""
    told = {
        ServiceName.GATEWAY: {
            "GREENLIGHT_PORTS__GATEWAY": str(ports.gateway),
            "GREENLIGHT_PORTS__GATEWAY_METRICS": str(ports.gateway_metrics),
            "GREENLIGHT_PORTS__EDGE": str(ports.edge),
            "GATEWAY_FILE_SHA256": _digest(settings.config_file("gateway")),
        },
        ServiceName.EDGE: {
            "GREENLIGHT_PORTS__EDGE": str(ports.edge),
            "GREENLIGHT_PORTS__GATEWAY": str(ports.gateway),
            "CERTIFICATE_SHA256": _digest(edge_certificates(settings).server),
        },
        ServiceName.EXPORTER: {"GREENLIGHT_PORTS__EXPORTER": str(ports.exporter)},
        ServiceName.SCALING: {"SCALING_FILE_SHA256": _digest(settings.config_file("scaling"))},
    }
    own = own_environment(settings, ports=ports, secrets=secrets)
    program = str(Path(sys.executable).with_name("greenlight"))
    return [
        Service(
            name=name,
            command=[program, *COMMANDS[name]],
            settings=own | more,
            inherited=inherited,
            cwd=settings.home,
        )
        for name, more in told.items()
    ]


def _digest(file: Path) -> str:
    return digest_file(file) if file.exists() else ""
