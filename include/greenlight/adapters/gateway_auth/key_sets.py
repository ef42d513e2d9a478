"""The public keys of an issuer, as it publishes them now.

A key set is read again when it is `max_age_s` old, and when a token names a key that isn't in it,
but then not more often than every `ASK_AGAIN_S`: tokens with made-up key ids can't make us ask. All
who need the same answer wait for one question. While the issuer is away the old set is used, for at
most `STALE_S`: a key that was taken back meanwhile would still open.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key
from joserfc.util import base64_to_int

from greenlight.core.clock import Clock
from greenlight.core.errors import UnavailableError
from greenlight.core.types import JsonDict

log = logging.getLogger(__name__)

ASK_AGAIN_S = 10.0
STALE_S = 24 * 3600.0
MAX_KEYS = 64
RSA_BITS = (2048, 8192)
PRIVATE = ("d", "p", "q", "k")
CURVES = {"EC": {"P-256", "P-384"}, "OKP": {"Ed25519"}}
KEY_TYPES = {
    "RS256": "RSA", "RS384": "RSA", "RS512": "RSA", "PS256": "RSA",
    "ES256": "EC", "ES384": "EC", "EdDSA": "OKP", "Ed25519": "OKP",
}  # fmt: skip
"""Algorithms and the type of key each is for. There is none with a shared key.

EdDSA is the old name of Ed25519 (RFC 9864), which most issuers still write.
"""

KeyMap = Mapping[tuple[str, str], Key]
"""By id and type."""


class KeySet:
    """One issuer's keys. For one event loop."""

    def __init__(
        self,
        issuer: str,
        fetch: Callable[[], Awaitable[JsonDict]],
        *,
        clock: Clock,
        max_age_s: float,
        ask_again_s: float = ASK_AGAIN_S,
        stale_s: float = STALE_S,
    ) -> None:
        """`fetch` returns the issuer's key set, or raises `UnavailableError`."""
        self._issuer, self._fetch, self._clock = issuer, fetch, clock
        self._max_age_s, self._ask_again_s, self._stale_s = max_age_s, ask_again_s, stale_s
        self._read_at = self._asked_at = float("-inf")
        self._away: UnavailableError | None = None
        self._question: asyncio.Task[None] | None = None
        self.keys: KeyMap = {}
        """Another object whenever anything in it changed."""

    async def find(self, key_id: str, *, algorithm: str) -> Key | None:
        """Return the key of this id that is for the algorithm, or nothing.

        Raises:
            UnavailableError: the issuer does not answer, and what it said last is too old or
                doesn't have the key.
        """
        wanted = (key_id, KEY_TYPES[algorithm])
        if self._age() >= self._max_age_s:
            self._ask_if_due()
            if self._away is None or self._too_old():
                await self._answer()  # else nobody waits for an issuer that is away
        if self._too_old():
            raise self._gone()
        if wanted not in self.keys:
            self._ask_if_due()
            await self._answer()
        found = self.keys.get(wanted)
        if found is None and self._away is not None:
            raise self._gone()
        return found

    def _age(self) -> float:
        return self._clock.monotonic() - self._read_at

    def _too_old(self) -> bool:
        return self._age() >= max(self._stale_s, self._max_age_s)

    def _ask_if_due(self) -> None:
        now = self._clock.monotonic()
        if self._question is None and now - self._asked_at >= self._ask_again_s:
            self._asked_at = now
            self._question = asyncio.create_task(self._ask(), name=f"keys of {self._issuer}")

    async def _answer(self) -> None:
        if self._question is not None:
            await asyncio.shield(self._question)

    async def _ask(self) -> None:
        try:
            found = read_key_set(await self._fetch(), issuer=self._issuer)
        except UnavailableError as error:
            self._away = error
            log.warning("the keys of %s can't be read: %s", self._issuer, error)
        else:
            self._away, self._read_at = None, self._clock.monotonic()
            if _described(found) != _described(self.keys):
                log.info("%s has %d keys now", self._issuer, len(found))
                self.keys = found
        finally:
            self._question = None

    def _gone(self) -> UnavailableError:
        return UnavailableError(f"the keys of {self._issuer} can't be read: {self._away}")


def read_key_set(document: JsonDict, *, issuer: str) -> KeyMap:
    """Return the keys that signatures can be checked with; others are left out, and told.

    Raises:
        UnavailableError: there is none.
    """
    found: dict[tuple[str, str], Key] = {}
    twice: set[tuple[str, str]] = set()
    listed = document.get("keys")
    for data in listed[:MAX_KEYS] if isinstance(listed, list) else ():
        key, problem = _import(data)
        if key is None:
            log.warning("a key of %s is not used: %s", issuer, problem)
            continue
        name = (str(key.kid), key.key_type)
        if name in found:
            twice.add(name)
        found[name] = key
    for name in twice:
        log.warning("%s publishes two keys %s %s: neither is used", issuer, *name)
        del found[name]
    if not found:
        raise UnavailableError("it publishes no key that signatures can be checked with")
    return found


def _import(data: object) -> tuple[Key | None, str]:
    if not isinstance(data, dict) or not isinstance(data.get("kid"), str) or not data["kid"]:
        return None, "it has no `kid`"
    if problem := _problem(data):
        return None, f"{data['kid'][:80]!r} {problem}"
    try:
        return JWKRegistry.import_key(data), ""
    except (JoseError, ValueError, TypeError, KeyError, OverflowError) as error:
        return None, f"{data['kid'][:80]!r} can't be read: {error}"


def _problem(data: JsonDict) -> str | None:
    kind = data.get("kty")
    if kind not in set(KEY_TYPES.values()):
        return f"is of type {kind!r}, not one of {', '.join(sorted(set(KEY_TYPES.values())))}"
    if data.get("use", "sig") != "sig":
        return "is not for signatures (`use`)"
    if any(name in data for name in PRIVATE):
        return "is published with its private half: anybody can sign with it"
    if kind in CURVES:
        curve = data.get("crv")
        return None if curve in CURVES[kind] else f"has curve {curve!r}"
    try:
        bits = base64_to_int(data["n"]).bit_length()
    except (KeyError, ValueError, TypeError):
        return "has no modulus (`n`)"
    least, most = RSA_BITS
    return None if least <= bits <= most else f"has {bits} bits; {least} to {most} are allowed"


def _described(keys: KeyMap) -> dict[tuple[str, str], object]:
    return {name: key.as_dict(private=False) for name, key in keys.items()}
