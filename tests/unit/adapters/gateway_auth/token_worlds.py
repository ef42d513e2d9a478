"""An authenticator whose issuers' key sets are handed in, and tokens for it."""

import asyncio
import base64
import json

from greenlight.adapters.gateway_auth.jwt import TokenAuthenticator, TrustedIssuer
from greenlight.adapters.gateway_auth.key_sets import KeySet
from greenlight.core.errors import UnavailableError
from greenlight.testing.gateway_access import AUDIENCE, ISSUER, PEPPER, a_gateway
from greenlight.testing.manual_clock import NOON, ManualClock
from greenlight.testing.oidc_issuer import ALGORITHMS, new_key, sign

KEYS = {name: new_key(name, f"key-{name}") for name in ALGORITHMS}
NOW = int(NOON.timestamp())


def b64(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def part(value):
    return b64(json.dumps(value).encode())


def claims(**changes):
    """Good claims, changed; a claim that is None is left out."""
    good = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": "alice@example.com", "iat": NOW - 5,
        "exp": NOW + 300, "scope": "chat model:*", "tenant": "acme", "client_id": "web",
    }  # fmt: skip
    return {name: value for name, value in (good | changes).items() if value is not None}


def token(algorithm="ES256", *, header=None, **changes):
    return sign(claims(**changes), KEYS[algorithm], header=header)


def public(*keys):
    return {"keys": [key.as_dict(private=False) for key in keys]}


class World:
    """One issuer whose answers a test changes."""

    def __init__(self, *, issuer=None, **settings):
        named = {"issuer": ISSUER, "audience": AUDIENCE, "algorithms": ALGORITHMS}
        self.gateway = a_gateway(issuers=(named | (issuer or {}),))
        self.clock, self.published, self.questions = ManualClock(), public(*KEYS.values()), 0
        self.identified = []
        found = self.gateway.issuers[0]
        self.key_set = KeySet(ISSUER, self._publish, clock=self.clock, max_age_s=found.max_age_s)
        self.authenticator = TokenAuthenticator(
            self.gateway,
            issuers={ISSUER: TrustedIssuer(settings=found, keys=self.key_set)},
            pepper=PEPPER,
            clock=self.clock,
            identify=lambda *who: self.identified.append(who),
            **settings,
        )

    async def _publish(self):
        self.questions += 1
        await asyncio.sleep(0)
        if self.published is None:
            raise UnavailableError("away")
        return self.published

    def ask(self, text):
        return asyncio.run(self.authenticator.authenticate(text))
