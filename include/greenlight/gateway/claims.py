"""What the claims of an access token must say, after RFC 8725 (best practice) and RFC 9068.

The signature is checked elsewhere, and first.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from greenlight.gateway.credentials import narrowed, refused
from greenlight.gateway.gateway_file import GatewayFile, Issuer
from greenlight.gateway.principals import CredentialKind, Principal
from greenlight.gateway.refusals import Refusal

Claims = Mapping[str, Any]

MAX_SUBJECT = 255
"""Characters of `sub`; OpenID Connect's own limit."""
FAR = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
ACCESS_TOKEN = "at+jwt"  # noqa: S105 - a media type (RFC 9068)
UNNAMED = "JWT"
"""What a token without `typ` is taken for."""
OF_AN_ID_TOKEN = ("nonce", "at_hash", "c_hash", "s_hash")
KEYCLOAK_ACCESS = "Bearer"
"""What Keycloak's claim `typ` says in an access token; else `ID`, `Refresh` or `Logout`."""


def principal_of(
    header: Claims,
    claims: Claims,
    *,
    issuer: Issuer,
    gateway: GatewayFile,
    pseudonyms: bytes,
    now: datetime,
) -> Principal | Refusal:
    """Return who a token with a good signature stands for, or which rule it breaks.

    `pseudonyms`: the secret that makes subjects out of identities.
    """
    if problem := _Token(header, claims, issuer, now.timestamp()).problem():
        return refused(f"the token is not accepted: {problem}")
    name = issuer.tenant or claims.get(issuer.tenant_claim)
    tenant = gateway.tenant(name) if isinstance(name, str) else None
    if tenant is None:
        where = "its issuer's `tenant`" if issuer.tenant else f"its claim {issuer.tenant_claim!r}"
        return refused(f"the token is not accepted: {where} names no tenant of this gateway")
    return Principal(
        kind=CredentialKind.TOKEN,
        subject=pseudonym(issuer.issuer, claims["sub"], secret=pseudonyms),
        tenant=tenant.name,
        scopes=narrowed(_words(claims.get(issuer.scope_claim)), most=tenant.scopes),
        expires_at=datetime.fromtimestamp(claims["exp"], UTC),
    )


def pseudonym(issuer: str, sub: str, *, secret: bytes) -> str:
    """Return a stable name behind which nobody without the secret can guess a `sub`.

    `sub` is often a mail address: a plain hash of it is found again by hashing a list of them.
    """
    digest = hmac.digest(secret, f"{issuer}\n{sub}".encode(), hashlib.sha256)
    return f"sub_{base64.b32encode(digest[:16]).decode().rstrip('=').lower()}"


def identity(issuer: str, sub: str) -> str:
    """Return who a pseudonym is, as the audit log knows it until it is erased."""
    return f"{issuer} {sub}"


@dataclass(frozen=True, slots=True)
class _Token:
    """One token and what its issuer may say. Each rule returns what is wrong, or nothing."""

    header: Claims
    claims: Claims
    issuer: Issuer
    now: float

    def problem(self) -> str | None:
        """Return what the first rule that is broken says."""
        rules = (
            self._issuer, self._audience, self._type, self._binding, self._expiry, self._beginning,
            self._subject,
        )  # fmt: skip
        return next((problem for rule in rules if (problem := rule())), None)

    def _issuer(self) -> str | None:
        wanted = self.issuer.issuer
        return None if self.claims.get("iss") == wanted else f"its `iss` must be {wanted!r}"

    def _audience(self) -> str | None:
        said = self.claims.get("aud")
        audiences = [said] if isinstance(said, str) else said
        if isinstance(audiences, list) and self.issuer.audience in audiences:
            return None
        return f"its `aud` must be or hold {self.issuer.audience!r}"

    def _type(self) -> str | None:
        """RFC 8725 3.11 and 3.12: a token that was made for something else is no access token."""
        said = self.header.get("typ", UNNAMED)
        allowed = {_media_type(name) for name in self.issuer.types}
        if not isinstance(said, str) or _media_type(said) not in allowed:
            return f"its type (`typ`) must be one of {', '.join(self.issuer.types)}"
        if _media_type(said) == ACCESS_TOKEN:
            return None
        if any(name in self.claims for name in OF_AN_ID_TOKEN):
            return "it is an ID token, which tells a client who logged in; no API takes it"
        if "events" in self.claims:
            return "it is a security event (RFC 8417)"
        if self.claims.get("typ", KEYCLOAK_ACCESS) != KEYCLOAK_ACCESS:
            return f"its claim `typ` must be {KEYCLOAK_ACCESS!r}"
        return None

    def _binding(self) -> str | None:
        """RFC 8705 and 9449: whoever holds such a token must prove more than to hold it."""
        bound = "cnf" in self.claims
        return "it is bound to a client's key (`cnf`), which is not supported" if bound else None

    def _expiry(self) -> str | None:
        expires = _seconds(self.claims.get("exp"))
        if expires is None:
            return "its `exp` is missing, or no time in seconds"
        return "it has expired (`exp`)" if self.now >= expires + self.issuer.leeway_s else None

    def _beginning(self) -> str | None:
        for name in ("nbf", "iat"):
            if name not in self.claims:
                continue
            begins = _seconds(self.claims[name])
            if begins is None:
                return f"its `{name}` is no time in seconds"
            if begins > self.now + self.issuer.leeway_s:
                return f"its `{name}` is in the future"
        return None

    def _subject(self) -> str | None:
        sub = self.claims.get("sub")
        if isinstance(sub, str) and 0 < len(sub) <= MAX_SUBJECT and sub.isprintable():
            return None
        return f"its `sub` must be 1 to {MAX_SUBJECT} printable characters"


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < FAR else None


def _words(value: object) -> list[str]:
    """Return scopes, which issuers write as one string (RFC 8693) or as a list."""
    if isinstance(value, str):
        return value.split(" ")
    if isinstance(value, list):
        return [word for word in value if isinstance(word, str)]
    return []


def _media_type(name: str) -> str:
    return name.lower().removeprefix("application/")
