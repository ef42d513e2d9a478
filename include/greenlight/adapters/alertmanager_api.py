"""Alertmanager's API (v2), as far as alerts are sent to it."""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.core.types import JsonDict
from greenlight.cost.alerts import Alert

TIMEOUT_S = 10.0
RETRIED = frozenset({408, 429})
RUNBOOK = "docs/runbooks/cost.md#budgets-and-days-that-stand-out"
"""Alerts that are sent here are all about money; Prometheus sends the others."""


class AlertmanagerApi:
    """`cost.alerts.AlertSink`. Alerts with the same labels are the same one to Alertmanager."""

    def __init__(self, url: str, *, transport: httpx.BaseTransport | None = None) -> None:
        """`transport` replaces the network."""
        self._url = url.rstrip("/")
        self._client = httpx.Client(timeout=TIMEOUT_S, transport=transport, trust_env=False)

    def send(self, alerts: Sequence[Alert]) -> None:
        """Post them in one call; none: nobody is asked.

        Raises:
            UnavailableError: Alertmanager doesn't answer, or fails.
            ConfigError: it refuses them, or something else answers there.
        """
        if not alerts:
            return
        where = f"{self._url}/api/v2/alerts"
        try:
            response = self._client.post(where, json=[_posted(alert) for alert in alerts])
        except httpx.UnsupportedProtocol as error:
            raise ConfigError(f"alertmanager_url {self._url!r} is no http(s) URL") from error
        except httpx.TransportError as error:
            raise UnavailableError(
                f"Alertmanager at {self._url} does not answer: {error}"
            ) from error
        if response.is_server_error or response.status_code in RETRIED:
            raise UnavailableError(f"{where} answers {response.status_code}: {response.text[:300]}")
        if not response.is_success:
            raise ConfigError(
                f"{where} refuses {len(alerts)} alerts with {response.status_code}: "
                f"{response.text[:300]}; check alertmanager_url"
            )


def _posted(alert: Alert) -> JsonDict:
    return {
        "labels": {"alertname": alert.name, "severity": alert.severity, **alert.labels},
        "annotations": {
            "summary": alert.summary,
            "description": alert.description,
            "runbook_url": RUNBOOK,
        },
        "startsAt": alert.starts_at.isoformat(),
        "endsAt": alert.ends_at.isoformat(),
    }
