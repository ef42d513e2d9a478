"""What keys and tokens share: where they are in a request, how they are refused, their scopes."""

from __future__ import annotations

from collections.abc import Iterable

from greenlight.gateway.principals import ANY_MODEL, MODEL_PREFIX
from greenlight.gateway.refusals import Refusal

SCHEME = "bearer"
CHALLENGE = "WWW-Authenticate"


def bearer_of(authorization: str | None) -> str | Refusal:
    """Return the credential of an `Authorization` header."""
    scheme, _, credential = (authorization or "").partition(" ")
    credential = credential.strip(" ")
    if scheme.lower() == SCHEME and credential:
        return credential
    return Refusal(
        status=401,
        code="missing_credential",
        message="no credential came along; send the header `Authorization: Bearer` with an API key "
        "or an access token",
        headers={CHALLENGE: "Bearer"},  # RFC 6750 3.1: no error code when nothing was presented
    )


def refused(message: str, *, code: str = "invalid_token") -> Refusal:
    """Return the refusal of a credential that was presented; the message never shows it."""
    return Refusal(
        status=401,
        code=code,
        message=message,
        headers={CHALLENGE: 'Bearer error="invalid_token"'},
    )


def narrowed(asked: Iterable[str], *, most: Iterable[str]) -> frozenset[str]:
    """Return the scopes that a credential really has: what it asks for and its tenant may carry.

    `model:*` on one side allows what the other side names.
    """
    wanted, limit = frozenset(asked), frozenset(most)
    kept = wanted & limit
    if ANY_MODEL in limit:
        kept |= _models(wanted)
    if ANY_MODEL in wanted:
        kept |= _models(limit)
    return kept


def _models(scopes: frozenset[str]) -> frozenset[str]:
    return frozenset(s for s in scopes if s.startswith(MODEL_PREFIX) and s != MODEL_PREFIX)
