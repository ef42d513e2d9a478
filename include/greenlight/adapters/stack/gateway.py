"""The gateway as a service of the embedded stack: `greenlight gateway run`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import httpx

from greenlight.adapters.stack.ports import LOOPBACK
from greenlight.adapters.stack.postgres import database_url
from greenlight.adapters.stack.secrets import StackSecrets
from greenlight.adapters.stack.services import Service, ServiceName
from greenlight.core.digest import digest_file
from greenlight.core.settings import Ports, Settings


def url(ports: Ports) -> str:
    """Return where clients ask, without `/v1`."""
    return f"http://{LOOPBACK}:{ports.gateway}"


def server(
    settings: Settings, *, ports: Ports, secrets: StackSecrets, inherited: Mapping[str, str]
) -> Service:
    """Return the gateway as a service; a changed gateway.yaml is another one."""
    file = settings.config_file("gateway")
    own_database = database_url("greenlight", port=ports.postgres, password=secrets.postgres)
    return Service(
        name=ServiceName.GATEWAY,
        command=[str(Path(sys.executable).with_name("greenlight")), "gateway", "run"],
        settings={
            "GREENLIGHT_HOME": str(settings.home),
            "GREENLIGHT_DATABASE_URL": settings.database_url or own_database,
            "GREENLIGHT_PORTS__GATEWAY": str(ports.gateway),
            "GREENLIGHT_PORTS__GATEWAY_METRICS": str(ports.gateway_metrics),
            "GATEWAY_FILE_SHA256": digest_file(file) if file.exists() else "",
        },
        inherited=inherited,
        cwd=settings.home,
    )


def why_not_ready(ports: Ports) -> str | None:
    """Return why it can't be asked yet; none when it lives, whether or not a fleet does."""
    try:
        answer = httpx.get(f"{url(ports)}/healthz", timeout=5, trust_env=False)
    except httpx.HTTPError as error:
        return f"no answer yet ({type(error).__name__})"
    return None if answer.status_code == httpx.codes.OK else f"/healthz says {answer.status_code}"
