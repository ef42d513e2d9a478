"""Greenlight's webhook in an MLflow: made once, and brought to what it should be.

Over MLflow's REST API: importing its client takes seconds of a core, and nothing else of it is
needed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx

from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.core.types import JsonDict

NAME = "greenlight-review"
PATH = "/api/2.0/mlflow/webhooks"
TIMEOUT_S = 30.0
KEY_VARIABLE = "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"


def ensure_webhook(
    mlflow_url: str,
    *,
    url: str,
    secret: str,
    events: Sequence[str],
    transport: httpx.BaseTransport | None = None,
) -> bool:
    """Make the webhook, or give it this address and secret; return whether it is new.

    The secret can't be read back, so it is written again each time. `events`: `entity.action`.

    Raises:
        ConfigError: MLflow refuses it; the message says what it lacks.
        UnavailableError: MLflow does not answer, or fails.
    """
    body = {
        "name": NAME,
        "description": "Tells Greenlight which version somebody wants live.",
        "url": url,
        "secret": secret,
        "status": "ACTIVE",
        "events": [
            {"entity": entity.upper(), "action": action.upper()}
            for entity, action in (event.split(".") for event in events)
        ],
    }
    where = mlflow_url.rstrip("/")
    with httpx.Client(
        base_url=where, timeout=TIMEOUT_S, transport=transport, trust_env=False
    ) as client:
        found = _find(client)
        if found is None:
            _call(client, "POST", PATH, json=body)
        else:
            _call(client, "PATCH", f"{PATH}/{found}", json=body)
    return found is None


def _find(client: httpx.Client) -> str | None:
    token: str | None = None
    while True:
        params = {"max_results": 100} | ({"page_token": token} if token else {})
        page = _call(client, "GET", PATH, params=params)
        for webhook in page.get("webhooks", []):
            if webhook.get("name") == NAME:
                return str(webhook["webhook_id"])
        token = page.get("next_page_token")
        if not token:
            return None


def _call(client: httpx.Client, method: str, path: str, **options: Any) -> JsonDict:
    where = f"MLflow at {client.base_url}"
    try:
        response = client.request(method, path, **options)
    except httpx.TransportError as error:
        raise UnavailableError(f"{where} does not answer: {error}") from error
    if response.is_server_error:
        raise UnavailableError(
            f"{where} answers {response.status_code} to {method} {path}. If it knows webhooks "
            f"that it can't read, {KEY_VARIABLE} is not the one they were made with"
        )
    if not response.is_success:
        raise ConfigError(
            f"{where} refuses the webhook with {response.status_code}: {_said(response)}. An "
            "address without https, or a private one, needs MLFLOW_WEBHOOK_ALLOWED_SCHEMES and "
            "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS on the server"
        )
    answer: JsonDict = response.json()
    return answer


def _said(response: httpx.Response) -> str:
    try:
        return str(response.json().get("message", response.text))[:300].rstrip(".")
    except (ValueError, AttributeError):
        return response.text[:300]
