"""Access tokens: taken apart, checked against their issuer's keys and rules, and remembered.

A token that was accepted is known again by its SHA-256, so that the next request with it costs no
signature: until it expires, for at most `KNOWN_S`, and only while its issuer's key set is the same.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from greenlight.adapters.gateway_auth.discovery import Discovery
from greenlight.adapters.gateway_auth.jws import (
    BadTokenError,
    SignedToken,
    check_algorithm,
    check_signature,
    read_token,
)
from greenlight.adapters.gateway_auth.key_sets import KeyMap, KeySet
from greenlight.core.clock import Clock
from greenlight.core.errors import ConfigError
from greenlight.gateway.claims import identity, principal_of
from greenlight.gateway.credentials import refused
from greenlight.gateway.gateway_file import GatewayFile, Issuer
from greenlight.gateway.principals import Principal
from greenlight.gateway.refusals import Refusal

KNOWN_S = 60.0
MOST_KNOWN = 10_000

Identify = Callable[[str, str], None]
"""Takes a subject and who it is, for the audit log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIssuer:
    """An issuer and its keys."""

    settings: Issuer
    keys: KeySet


class _Known(NamedTuple):
    principal: Principal
    until: float
    issuer: TrustedIssuer
    keys: KeyMap


class TokenAuthenticator:
    """`gateway.ports.Authenticator` for JWTs. For one event loop."""

    def __init__(
        self,
        gateway: GatewayFile,
        *,
        issuers: Mapping[str, TrustedIssuer],
        pepper: str,
        clock: Clock,
        identify: Identify,
        most_known: int = MOST_KNOWN,
    ) -> None:
        """`issuers`: by what tokens call them. `pepper`: makes subjects of identities."""
        self._gateway, self._issuers, self._clock = gateway, issuers, clock
        self._pseudonyms = hmac.digest(pepper.encode(), b"subjects", hashlib.sha256)
        self._identify, self._most_known = identify, most_known
        self._known: dict[bytes, _Known] = {}

    async def authenticate(self, bearer: str) -> Principal | Refusal:
        """Return who a token stands for, or why nobody.

        Raises:
            UnavailableError: its issuer's keys can't be read.
        """
        digest = hashlib.sha256(bearer.encode(errors="replace")).digest()
        known = self._known.get(digest)
        if known is not None:
            fresh = self._clock.monotonic() < known.until
            if fresh and known.issuer.keys.keys is known.keys:
                return known.principal
            del self._known[digest]
        try:
            return await self._check(digest, read_token(bearer))
        except BadTokenError as error:
            return refused(f"the token is not accepted: {error}")

    async def _check(self, digest: bytes, token: SignedToken) -> Principal | Refusal:
        claimed = token.claims.get("iss")
        issuer = self._issuers.get(claimed) if isinstance(claimed, str) else None
        if issuer is None:
            raise BadTokenError("its `iss` is no issuer that is trusted here")
        check_algorithm(token, allowed=issuer.settings.algorithms)
        key = await issuer.keys.find(token.key_id, algorithm=token.algorithm)
        if key is None:
            raise BadTokenError("its `kid` is no key of its issuer for its algorithm")
        keys = issuer.keys.keys
        check_signature(token, key)
        found = principal_of(
            token.header,
            token.claims,
            issuer=issuer.settings,
            gateway=self._gateway,
            pseudonyms=self._pseudonyms,
            now=self._clock.now(),
        )
        if isinstance(found, Principal):
            self._remember(digest, found, issuer, keys)
            self._identify(found.subject, identity(issuer.settings.issuer, token.claims["sub"]))
        return found

    def _remember(
        self, digest: bytes, principal: Principal, issuer: TrustedIssuer, keys: KeyMap
    ) -> None:
        left_s = KNOWN_S
        if principal.expires_at is not None:  # in its leeway it is over at once
            left_s = min(left_s, (principal.expires_at - self._clock.now()).total_seconds())
        if len(self._known) >= self._most_known:
            del self._known[next(iter(self._known))]
        until = self._clock.monotonic() + left_s
        self._known[digest] = _Known(principal, until, issuer, keys)


def trusted_issuers(gateway: GatewayFile, *, clock: Clock) -> dict[str, TrustedIssuer]:
    """Return the issuers of gateway.yaml; their keys are read when a token needs them.

    Raises:
        ConfigError: a CA can't be read, or an issuer is there twice.
    """
    names = [one.issuer for one in gateway.issuers]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"issuers: {', '.join(twice)} is there twice; a token names only one")
    return {
        one.issuer: TrustedIssuer(
            settings=one,
            keys=KeySet(one.issuer, Discovery(one).key_set, clock=clock, max_age_s=one.max_age_s),
        )
        for one in gateway.issuers
    }
