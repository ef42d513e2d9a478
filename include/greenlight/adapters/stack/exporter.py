"""The exporter of Greenlight's tables as a service of the embedded stack."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import httpx

from greenlight.adapters.stack.ports import LOOPBACK
from greenlight.adapters.stack.postgres import database_url
from greenlight.adapters.stack.secrets import StackSecrets
from greenlight.adapters.stack.services import Service, ServiceName
from greenlight.core.settings import Ports, Settings

ANSWER_S = 10


def server(
    settings: Settings, *, ports: Ports, secrets: StackSecrets, inherited: Mapping[str, str]
) -> Service:
    """Return the exporter as a service."""
    own_database = database_url("greenlight", port=ports.postgres, password=secrets.postgres)
    return Service(
        name=ServiceName.EXPORTER,
        command=[str(Path(sys.executable).with_name("greenlight")), "exporter", "run"],
        settings={
            "GREENLIGHT_HOME": str(settings.home),
            "GREENLIGHT_DATABASE_URL": settings.database_url or own_database,
            "GREENLIGHT_PORTS__EXPORTER": str(ports.exporter),
        },
        inherited=inherited,
        cwd=settings.home,
    )


def why_not_ready(ports: Ports) -> str | None:
    """Return why it can't be asked yet."""
    url = f"http://{LOOPBACK}:{ports.exporter}/metrics"
    try:
        answer = httpx.get(url, timeout=ANSWER_S, trust_env=False)
    except httpx.HTTPError as error:
        return f"no answer yet ({type(error).__name__})"
    return None if answer.status_code == httpx.codes.OK else f"/metrics says {answer.status_code}"
