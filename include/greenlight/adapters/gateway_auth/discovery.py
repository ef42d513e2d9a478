"""Reads an issuer's key set over HTTP: by OpenID Connect discovery, or from a fixed address.

Only from where gateway.yaml says, or the issuer itself: no redirects, TLS by the CA that is set, a
limit on time and size. Proxies of the environment are not used.
"""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import aiohttp

from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.core.types import JsonDict
from greenlight.gateway.gateway_file import Issuer

TIMEOUT_S = 5.0
MAX_BYTES = 256 * 1024
WELL_KNOWN = "/.well-known/openid-configuration"
HTTP_OK = 200


class Discovery:
    """Asks one issuer. Connections are made for each question: there are few."""

    def __init__(self, issuer: Issuer, *, timeout_s: float = TIMEOUT_S) -> None:
        """Read the CA.

        Raises:
            ConfigError: `ca_file` can't be read.
        """
        self._issuer, self._timeout_s = issuer, timeout_s
        self._tls = _trusting(issuer.ca_file)

    async def key_set(self) -> JsonDict:
        """Return the issuer's keys as it publishes them.

        Raises:
            UnavailableError: it doesn't answer, or with something else.
        """
        timeout = aiohttp.ClientTimeout(total=self._timeout_s)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls),
            timeout=timeout,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        ) as session:
            url = self._issuer.jwks_url or await self._discover(session)
            return await _get(session, url)

    async def _discover(self, session: aiohttp.ClientSession) -> str:
        """OpenID Connect Discovery 4: the document must name the issuer it was asked for."""
        name = self._issuer.issuer
        document = await _get(session, f"{name.rstrip('/')}{WELL_KNOWN}")
        if document.get("issuer") != name:
            raise UnavailableError(f"its {WELL_KNOWN} is not of {name!r}: another `issuer`")
        url = document.get("jwks_uri")
        if not isinstance(url, str):
            raise UnavailableError(f"its {WELL_KNOWN} has no `jwks_uri`")
        if not url.startswith("https://") and not name.startswith("http://"):
            raise UnavailableError("its `jwks_uri` is not https")
        return url


async def _get(session: aiohttp.ClientSession, url: str) -> JsonDict:
    try:
        async with session.get(url, allow_redirects=False) as response:
            if response.status != HTTP_OK:
                raise UnavailableError(f"{url} answered with HTTP {response.status}")
            body = await response.content.read(MAX_BYTES + 1)
            while len(body) <= MAX_BYTES and not response.content.at_eof():
                body += await response.content.read(MAX_BYTES + 1 - len(body))
    except TimeoutError as error:
        raise UnavailableError(f"{url} did not answer in time") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise UnavailableError(f"{url}: {type(error).__name__}: {error}") from error
    if len(body) > MAX_BYTES:
        raise UnavailableError(f"{url} sent more than {MAX_BYTES} bytes")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnavailableError(f"{url} sent no JSON") from error
    if not isinstance(document, dict):
        raise UnavailableError(f"{url} sent no JSON object")
    return document


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"issuers: ca_file {ca_file} can't be read: {error}") from error
