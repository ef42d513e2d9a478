"""A gateway.yaml, keys and events for tests of who gets in."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta

import sqlalchemy as sa

from greenlight.adapters.database_tables import METADATA
from greenlight.core.types import JsonDict
from greenlight.gateway.api_keys import ApiKey, issue
from greenlight.gateway.audit import AuditEvent, EventName
from greenlight.gateway.gateway_file import GatewayFile
from greenlight.gateway.key_format import KeyText, new_key_text
from greenlight.testing.manual_clock import NOON

PEPPER = "a pepper for tests, which is no secret"
ISSUER = "https://login.example"
AUDIENCE = "https://api.example"


def a_gateway(*, issuers: tuple[JsonDict, ...] = (), **changes: object) -> GatewayFile:
    """Return a gateway with two tenants and two models."""
    model = {"upstream": "http://127.0.0.1:1", "context": 100, "default_max_tokens": 10}
    found: JsonDict = {
        "models": [{"name": name, "fleet": "demo", **model} for name in ("small", "large")],
        "tenants": [
            {"name": "acme", "limits": {}},
            {"name": "narrow", "scopes": ["chat", "model:small"]},
        ],
        "issuers": list(issuers),
    }
    return GatewayFile.model_validate(found | changes)


def past_triggers(engine: sa.Engine, *statements: str) -> None:
    """Do what only the owner of a database can."""
    with engine.begin() as connection:
        for statement in ("SET LOCAL session_replication_role = replica", *statements):
            connection.execute(sa.text(statement))


def empty_tables(engine: sa.Engine) -> None:
    """Forget all keys, budgets' limits and the audit log."""
    ours = [name for name in METADATA.tables if name.startswith(("audit_", "api_", "spend_"))]
    past_triggers(engine, *(f"DELETE FROM {name}" for name in ours))  # noqa: S608 - our own names


_numbers = itertools.count(1)


def counted_bytes(length: int) -> bytes:
    """Return bytes that differ from call to call, in place of random ones."""
    return next(_numbers).to_bytes(8, "big").rjust(length, b"\x01")


def a_key(
    *,
    tenant: str = "acme",
    scopes: tuple[str, ...] = ("chat", "model:*"),
    lifetime: timedelta | None = None,
    now: datetime = NOON,
    name: str = "",
    text: KeyText | None = None,
) -> tuple[ApiKey, KeyText]:
    """Return a key and what its holder has."""
    text = text or new_key_text(counted_bytes)
    key = issue(
        text, tenant=tenant, scopes=scopes, name=name, by="ana", lifetime=lifetime,
        pepper=PEPPER, gateway=a_gateway(), now=now,
    )  # fmt: skip
    return key, text


def an_event(
    event: str = EventName.KEY_CREATED, *, at: datetime = NOON, **changes: object
) -> AuditEvent:
    """Return an event of the operator Ana."""
    found: JsonDict = {"subject": "operator:ana", "tenant": "acme", "detail": {"key": "k"}}
    return AuditEvent(event=event, at=at, **(found | changes))
