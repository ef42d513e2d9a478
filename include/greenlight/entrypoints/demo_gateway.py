"""The demo's last step: a key of its own, and a question through the gateway that proves it."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from datetime import timedelta

import httpx

from greenlight.core.errors import UnavailableError
from greenlight.core.settings import Settings
from greenlight.entrypoints import gateway_keys

TENANT = "demo"
LIFETIME = timedelta(days=7)
QUESTION = "Say hello to the person at the terminal."
ANSWER_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """How to ask the gateway. `answer`: what it said just now, to this very line."""

    curl: str = field(repr=False)
    """A ready command line, the key included."""
    answer: str
    tokens: int


def open_door(settings: Settings, *, url: str, model: str) -> Door:
    """Make a key for a week, and ask with it.

    Raises:
        UnavailableError: the gateway did not answer as it should.
    """
    keys = gateway_keys.open_keys(settings, by="demo")
    scopes = ("chat", "completions", "models", f"model:{model}")
    issued = keys.create(tenant=TENANT, scopes=scopes, name="made by the demo", lifetime=LIFETIME)
    asked = {"model": model, "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 40}
    headers = {"Authorization": f"Bearer {issued.text}", "Content-Type": "application/json"}
    where = f"{url}/v1/chat/completions"
    try:
        found = httpx.post(where, json=asked, headers=headers, timeout=ANSWER_S, trust_env=False)
    except httpx.HTTPError as error:
        raise UnavailableError(f"the gateway at {url} did not answer: {error}") from error
    if found.status_code != httpx.codes.OK:
        raise UnavailableError(f"the gateway answered HTTP {found.status_code}: {found.text}")
    body = found.json()
    given = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    return Door(
        curl=shlex.join(["curl", "-s", where, *given, "-d", json.dumps(asked)]),
        answer=body["choices"][0]["message"]["content"],
        tokens=body["usage"]["total_tokens"],
    )
