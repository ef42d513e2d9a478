"""What MLflow's webhook says about a version, and whether it is MLflow that says it.

MLflow signs `{delivery id}.{timestamp}.{body}` with HMAC-SHA256 and sends it three times more when
nobody answers, with the same headers. The times of the two machines are compared, so a recorded
delivery is worth nothing after a few minutes; within them the run that it asks for is there.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from greenlight.core.errors import InputError
from greenlight.core.settings import explain

SIGNATURE_HEADER = "X-MLflow-Signature"
TIMESTAMP_HEADER = "X-MLflow-Timestamp"
DELIVERY_HEADER = "X-MLflow-Delivery-Id"
EVENTS = ("model_version_alias.created", "model_version_tag.set")
"""What Greenlight asks MLflow to be told of."""
ENDPOINT = "/greenlight-review/mlflow"
"""Where Airflow's API server takes deliveries (plugins/greenlight_review.py)."""
WINDOW = timedelta(minutes=5)
LARGEST_BODY = 64 * 1024
"""Bytes; MLflow's largest, a tag with its value, has 6 kB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One request as it came in. A header that is missing is `None`."""

    id: str | None
    timestamp: str | None
    signature: str | None
    body: bytes


def why_not_trusted(delivery: Delivery, *, secret: str, now: datetime) -> str | None:
    """Return why this is not MLflow, or not MLflow now; `None`: it is.

    The signature comes before the time, so that nobody without the secret learns what our clock
    says. No reason holds any part of the secret or of the signature that was expected.
    """
    if not delivery.id:
        return f"the header {DELIVERY_HEADER} is missing"
    if not delivery.timestamp:
        return f"the header {TIMESTAMP_HEADER} is missing"
    if not delivery.signature:
        return f"the header {SIGNATURE_HEADER} is missing"
    version, _, given = delivery.signature.partition(",")
    if version != "v1":
        return f"{SIGNATURE_HEADER} must begin with 'v1,'"
    expected = signature_of(
        delivery.body, delivery_id=delivery.id, timestamp=delivery.timestamp, secret=secret
    )
    if not hmac.compare_digest(expected.encode(), f"v1,{given}".encode()):
        return f"{SIGNATURE_HEADER} is not that of this body, delivery and time"
    if not (delivery.timestamp.isascii() and delivery.timestamp.isdigit()):
        return f"{TIMESTAMP_HEADER} must be seconds since 1970"
    age = now - datetime.fromtimestamp(min(int(delivery.timestamp), 2**33), tz=UTC)
    if abs(age) > WINDOW:
        when = "old" if age > timedelta(0) else "ahead of our clock"
        return (
            f"the delivery is {abs(age).total_seconds():.0f} s {when}, more than "
            f"{WINDOW.total_seconds():.0f} s: it is a replay, or a clock is wrong"
        )
    return None


def signature_of(body: bytes, *, delivery_id: str, timestamp: str, secret: str) -> str:
    """Return the value of the signature's header, as MLflow makes it."""
    signed = f"{delivery_id}.{timestamp}.".encode() + body
    made = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(made).decode()}"


class _Open(BaseModel):
    """MLflow's own shape: a later version of it may say more."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class AliasSet(_Open):
    """An alias was pointed at a version."""

    name: Annotated[str, Field(min_length=1)]
    version: Annotated[int, Field(ge=1)]
    alias: Annotated[str, Field(min_length=1)]


class TagSet(_Open):
    """A tag of a version was set."""

    name: Annotated[str, Field(min_length=1)]
    version: Annotated[int, Field(ge=1)]
    key: Annotated[str, Field(min_length=1)]
    value: str


class _AliasMessage(_Open):
    entity: Literal["model_version_alias"]
    action: Literal["created"]
    data: AliasSet


class _TagMessage(_Open):
    entity: Literal["model_version_tag"]
    action: Literal["set"]
    data: TagSet


class _Envelope(_Open):
    entity: str
    action: str


_MESSAGE: TypeAdapter[_AliasMessage | _TagMessage] = TypeAdapter(
    Annotated[_AliasMessage | _TagMessage, Field(discriminator="entity")]
)


def parse_event(body: bytes) -> AliasSet | TagSet | None:
    """Return what happened; `None`: something that Greenlight didn't ask to be told of.

    Raises:
        InputError: this is no message of MLflow's, or a value in it is not allowed.
    """
    try:
        envelope = _Envelope.model_validate_json(body)
        if f"{envelope.entity}.{envelope.action}" not in EVENTS:
            return None
        return _MESSAGE.validate_json(body).data
    except ValidationError as error:
        raise InputError(explain(error, where="webhook")) from error
