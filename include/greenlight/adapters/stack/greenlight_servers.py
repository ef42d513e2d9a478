"""Greenlight's own servers as services of the embedded stack: the gateway and the exporter."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from greenlight.adapters.stack.ports import LOOPBACK
from greenlight.adapters.stack.postgres import database_url
from greenlight.adapters.stack.secrets import StackSecrets
from greenlight.adapters.stack.services import Service, ServiceName
from greenlight.core.digest import digest_file
from greenlight.core.settings import Ports, Settings


def gateway_url(ports: Ports) -> str:
    """Return where clients ask, without `/v1`."""
    return f"http://{LOOPBACK}:{ports.gateway}"


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
    """Return both, in the order of starting; a changed gateway.yaml is another gateway."""
    file = settings.config_file("gateway")
    told = {
        ServiceName.GATEWAY: {
            "GREENLIGHT_PORTS__GATEWAY": str(ports.gateway),
            "GREENLIGHT_PORTS__GATEWAY_METRICS": str(ports.gateway_metrics),
            "GATEWAY_FILE_SHA256": digest_file(file) if file.exists() else "",
        },
        ServiceName.EXPORTER: {"GREENLIGHT_PORTS__EXPORTER": str(ports.exporter)},
    }
    own = own_environment(settings, ports=ports, secrets=secrets)
    program = str(Path(sys.executable).with_name("greenlight"))
    return [
        Service(
            name=name,
            command=[program, name.value, "run"],
            settings=own | more,
            inherited=inherited,
            cwd=settings.home,
        )
        for name, more in told.items()
    ]
