"""API keys as the gateway checks them: rows are remembered for seconds, and read by threads.

A key that was accepted is known again by its SHA-256, until its row is `key_cache_s` old: so long a
revoked one still opens. One that was refused is looked up again when its row is `ROW_S` old: a new
key or secret works soon, and a wrong one can't make the database answer more often. All who ask for
one row at once wait for one query.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

from greenlight.core.clock import Clock
from greenlight.core.errors import UnavailableError
from greenlight.gateway.api_keys import CODE, NOT_A_KEY, ApiKey, Use, check_key, check_pepper
from greenlight.gateway.credentials import refused
from greenlight.gateway.gateway_file import GatewayFile
from greenlight.gateway.key_format import KeyText, read_key_text
from greenlight.gateway.principals import Principal
from greenlight.gateway.refusals import Refusal
from greenlight.gateway.stores import KeyStore

log = logging.getLogger(__name__)

ROW_S = 1.0
MOST_ROWS = 1_000
MOST_KNOWN = 10_000
USED_S = 60.0
"""How often it is written when keys were last used."""
QUERIES = 8
"""At the same time; made-up keys can't take every connection and thread."""


class _Row(NamedTuple):
    key: ApiKey | None
    read_at: float


class _Accepted(NamedTuple):
    principal: Principal
    previous: bool
    until: float


class KeyAuthenticator:
    """`gateway.ports.Authenticator` for API keys: an asynchronous context manager, for one loop."""

    def __init__(
        self,
        gateway: GatewayFile,
        store: KeyStore,
        *,
        pepper: str,
        clock: Clock,
        used_s: float = USED_S,
        most_known: int = MOST_KNOWN,
    ) -> None:
        self._gateway, self._store, self._pepper, self._clock = gateway, store, pepper, clock
        self._used_s, self._most_known = used_s, most_known
        self._row_s = min(ROW_S, gateway.key_cache_s)
        self._rows: dict[str, _Row] = {}
        self._asking: dict[str, asyncio.Task[_Row]] = {}
        self._accepted: dict[bytes, _Accepted] = {}
        self._uses: dict[tuple[str, bool], datetime] = {}

    async def __aenter__(self) -> KeyAuthenticator:
        """Begin to write when keys were used.

        Raises:
            ConfigError: active keys were made with another pepper.
            UnavailableError: the database does not answer.
        """
        keys = await asyncio.to_thread(self._store.all_keys)
        check_pepper(keys, pepper=self._pepper, now=self._clock.now())
        self._queries, self._stop = asyncio.Semaphore(QUERIES), asyncio.Event()
        self._task = asyncio.create_task(self._write_uses(), name="last use of API keys")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Write what was used last."""
        self._stop.set()
        await asyncio.wait([self._task])

    async def authenticate(self, bearer: str) -> Principal | Refusal:
        """Return whose key it is, or why it opens nothing.

        Raises:
            UnavailableError: the database does not answer, and nothing is remembered of the key.
        """
        digest = hashlib.sha256(bearer.encode(errors="replace")).digest()
        if (known := self._accepted.get(digest)) and self._clock.monotonic() < known.until:
            self._uses[known.principal.subject, known.previous] = self._clock.now()
            return known.principal
        text = read_key_text(bearer)
        if text is None:
            return refused(NOT_A_KEY, code=CODE)
        row = self._rows.get(text.id)
        if row is None or self._clock.monotonic() - row.read_at >= self._row_s:
            row = await self._ask(text.id)
        return self._judge(digest, text, row)

    def _judge(self, digest: bytes, text: KeyText, row: _Row) -> Principal | Refusal:
        now = self._clock.now()
        found = check_key(text, row.key, pepper=self._pepper, gateway=self._gateway, now=now)
        if isinstance(found, Refusal):
            return found
        principal, use = found
        self._uses[use.key_id, use.previous] = use.at
        assert row.key is not None  # it was accepted
        _make_room(self._accepted, most=self._most_known)
        ends = [row.key.expires_at, row.key.previous_until if use.previous else None]
        left_s = min(((end - now).total_seconds() for end in ends if end), default=float("inf"))
        until = min(row.read_at + self._gateway.key_cache_s, self._clock.monotonic() + left_s)
        self._accepted[digest] = _Accepted(principal, use.previous, until)
        return principal

    async def _ask(self, key_id: str) -> _Row:
        question = self._asking.get(key_id)
        if question is None:
            question = asyncio.create_task(self._look_up(key_id), name=f"API key {key_id}")
            self._asking[key_id] = question
        return await asyncio.shield(question)

    async def _look_up(self, key_id: str) -> _Row:
        try:
            async with self._queries:
                began = self._clock.monotonic()
                key = await asyncio.to_thread(self._store.get, key_id)
        finally:
            del self._asking[key_id]
        _make_room(self._rows, most=MOST_ROWS)
        self._rows[key_id] = row = _Row(key, began)
        return row

    async def _write_uses(self) -> None:
        while not self._stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), self._used_s)
            uses, self._uses = self._uses, {}
            written = [Use(key_id=k, at=at, previous=old) for (k, old), at in uses.items()]
            try:
                await asyncio.to_thread(self._store.used, written)
            except UnavailableError as error:
                self._uses = uses | self._uses
                log.warning("when %d API keys were last used is not written: %s", len(uses), error)


def _make_room(kept: dict[Any, Any], *, most: int) -> None:
    while len(kept) >= most:
        del kept[next(iter(kept))]  # the oldest
