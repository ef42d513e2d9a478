"""An OpenID Connect issuer in a thread: discovery, key set, client-credentials grant, faults.

In a test: `with OidcIssuer() as issuer: … issuer.url`. Clients get tokens from `/token` with their
secret; `rotate` replaces the signing key, and `answers` makes it misbehave.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import ssl
import threading
import time
import warnings
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from greenlight.core.errors import UnavailableError
from greenlight.core.types import JsonDict

HOST = "127.0.0.1"
START_S = 30.0
AUDIENCE = "https://api.example"
CLIENT, SECRET = "batch", "secret of the client for tests"
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA", "Ed25519")


class Answer(StrEnum):
    """How discovery and key set are answered."""

    PROPERLY = "properly"
    ERROR = "error"
    REDIRECT = "redirect"
    ENDLESS = "endless"
    NO_JSON = "no JSON"
    OTHER_ISSUER = "other issuer"
    PLAIN_HTTP = "plain HTTP"
    """Its key set is said to be where anybody on the way can change it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a client's tokens say."""

    client: str = CLIENT
    secret: str = SECRET
    tenant: str = "acme"
    scope: str = "chat models model:*"
    lifetime_s: int = 300


def new_key(algorithm: str, key_id: str) -> Key:
    """Return a key pair for an algorithm."""
    about = {"kid": key_id, "use": "sig", "alg": algorithm}
    if algorithm.startswith("ES"):
        return ECKey.generate_key(f"P-{algorithm[2:]}", about)  # type: ignore[arg-type]
    if algorithm in ("EdDSA", "Ed25519"):
        return OKPKey.generate_key("Ed25519", about)  # type: ignore[arg-type]
    return RSAKey.generate_key(2048, about)  # type: ignore[arg-type]


def sign(claims: JsonDict, key: Key, *, header: JsonDict | None = None) -> str:
    """Return a token; a header of its own replaces parts of the usual one."""
    usual = {"alg": key.get("alg"), "kid": key.kid, "typ": "at+jwt"}
    with warnings.catch_warnings():  # EdDSA has a new name since RFC 9864, and issuers the old one
        warnings.simplefilter("ignore")
        return jwt.encode(usual | (header or {}), claims, key, algorithms=ALGORITHMS)


class OidcIssuer:
    """An issuer on a port that the kernel chose."""

    def __init__(
        self,
        *,
        algorithm: str = "ES256",
        grant: Grant = Grant(),
        certificate: Path | None = None,
    ) -> None:
        """`certificate`: a PEM file with certificate and key; with it, TLS."""
        self.url = ""
        self._tls = None
        if certificate is not None:
            self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._tls.load_cert_chain(certificate)
        self.answers = Answer.PROPERLY
        self.questions = 0
        """How often the key set was asked for."""
        self.grant = grant
        self._algorithm = algorithm
        self._made = 0
        self.keys: list[Key] = []
        self.rotate()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="OIDC issuer", daemon=True)

    def __enter__(self) -> OidcIssuer:
        """Start serving."""
        self._thread.start()
        if not self._started.wait(START_S):
            raise UnavailableError(f"the issuer did not start within {START_S:g} s")
        return self

    def __exit__(self, *_: object) -> None:
        """Stop serving."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(START_S)

    def rotate(self, *, keep: int = 0) -> None:
        """Sign with a new key; of the old ones `keep` stay in the key set."""
        self._made += 1
        kept = self.keys[len(self.keys) - keep :]
        self.keys = [*kept, new_key(self._algorithm, f"key-{self._made}")]

    def token(self, **changes: object) -> str:
        """Return a token as `/token` makes them; keywords replace claims."""
        now = int(time.time())
        claims: JsonDict = {
            "iss": self.url, "aud": AUDIENCE, "sub": self.grant.client, "iat": now,
            "exp": now + self.grant.lifetime_s, "jti": secrets.token_hex(8),
            "client_id": self.grant.client, "scope": self.grant.scope,
            "tenant": self.grant.tenant,
        }  # fmt: skip
        return sign(claims | changes, self.keys[-1])

    def change_grant(self, **changes: object) -> None:
        """Let tokens say something else from now on."""
        self.grant = replace(self.grant, **changes)  # type: ignore[arg-type]

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        application = web.Application()
        application.router.add_get("/.well-known/openid-configuration", self._discovery)
        application.router.add_get("/keys", self._key_set)
        application.router.add_post("/token", self._token)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, HOST, 0, ssl_context=self._tls).start()
        self.url = f"{'https' if self._tls else 'http'}://{HOST}:{runner.addresses[0][1]}"
        self._started.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _discovery(self, request: web.Request) -> web.StreamResponse:
        del request
        name = "https://other.example" if self.answers is Answer.OTHER_ISSUER else self.url
        keys = f"{self.url}/keys"
        if self.answers is Answer.PLAIN_HTTP:
            keys = keys.replace("https:", "http:")
        return web.json_response(
            {"issuer": name, "jwks_uri": keys, "token_endpoint": f"{self.url}/token"}
        )

    async def _key_set(self, request: web.Request) -> web.StreamResponse:
        self.questions += 1
        match self.answers:
            case Answer.ERROR:
                raise web.HTTPServiceUnavailable
            case Answer.REDIRECT:
                raise web.HTTPFound(f"{self.url}/keys?again")
            case Answer.NO_JSON:
                return web.Response(text="<html>")
            case Answer.ENDLESS:
                return await _endless(request)
        return web.json_response({"keys": [key.as_dict(private=False) for key in self.keys]})

    async def _token(self, request: web.Request) -> web.StreamResponse:
        """RFC 6749 4.4, with the client's secret in the header or in the form."""
        form = await request.post()
        client, secret = _basic(request.headers.get("Authorization", ""))
        given = (client or form.get("client_id"), secret or form.get("client_secret"))
        if form.get("grant_type") != "client_credentials":
            return web.json_response({"error": "unsupported_grant_type"}, status=400)
        if given != (self.grant.client, self.grant.secret):
            return web.json_response({"error": "invalid_client"}, status=401)
        return web.json_response(
            {
                "access_token": self.token(),
                "token_type": "Bearer",
                "expires_in": self.grant.lifetime_s,
                "scope": self.grant.scope,
            }
        )


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(1000):
        await response.write(b" " * 65536)
    return response


def _basic(header: str) -> tuple[str | None, str | None]:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None, None
    client, _, secret = base64.b64decode(encoded).decode().partition(":")
    return client, secret
