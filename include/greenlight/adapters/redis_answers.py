"""The second level of the cache: answers in Redis, which can't read them.

A value is sealed with AES-256-GCM by a key that belongs to its name alone (HMAC of the name under
the secret), and the name is authenticated with it: a value that was copied to another name, written
by somebody else or damaged does not open, and is a miss. A key of its own for every name also means
that the random nonces of all values together can't run out.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from greenlight.adapters.redis_connection import RedisLane
from greenlight.core.errors import ConfigError
from greenlight.gateway.answer_counts import AnswerCounts
from greenlight.gateway.ports import KeptAnswer

PREFIX = "greenlight:answers"
LEAST_SECRET = 16
ROOM = 0.75
"""Of the memory that Redis may take; the rest is for limits, which must never be refused."""
VERSION = b"\x01"
NONCE_BYTES = 12
HEAD = struct.Struct("<dB")
"""When it was given; how long the colour's name is."""

KEEP = """
local memory = redis.call('INFO', 'memory')
local used, most = memory:match('used_memory:(%d+)'), memory:match('maxmemory:(%d+)')
if tonumber(most) > 0 and tonumber(used) + #ARGV[1] > tonumber(most) * tonumber(ARGV[3]) then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
LEAD = """
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
STEP_DOWN = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"


class RedisAnswers:
    """`gateway.ports.AnswerStore`."""

    def __init__(
        self, lane: RedisLane, *, secret: bytes, counts: AnswerCounts, prefix: str = PREFIX
    ) -> None:
        """`secret`: with another one nothing that is kept can be read.

        Raises:
            ConfigError: it is too short to be a secret.
        """
        if len(secret) < LEAST_SECRET:
            raise ConfigError(
                f"the secret that seals kept answers has {len(secret)} bytes, at least "
                f"{LEAST_SECRET} are needed"
            )
        self._lane, self._secret, self._counts, self._prefix = lane, secret, counts, prefix

    async def get(self, key: str) -> KeptAnswer | None:
        """Return an answer; one that doesn't open is none.

        Raises:
            UnavailableError: Redis does not answer.
        """
        name = f"{self._prefix}:answer:{key}"
        sealed: bytes | None = await self._lane.ask("GET", name)
        if sealed is None:
            return None
        answer = self._opened(name, sealed)
        if answer is None:
            self._counts.unreadable += 1
        return answer

    async def put(self, key: str, answer: KeptAnswer, *, ttl_s: float) -> None:
        """Keep one, unless Redis has too little room.

        Raises:
            UnavailableError: Redis does not answer.
        """
        name = f"{self._prefix}:answer:{key}"
        sealed = self._sealed(name, answer)
        kept = await self._lane.ask("EVAL", KEEP, 1, name, sealed, _millis(ttl_s), ROOM)
        if not kept:
            self._counts.full += 1

    async def lead(self, key: str, *, owner: str, ttl_s: float) -> bool:
        """Return whether this owner may answer the request; asking again prolongs it.

        Raises:
            UnavailableError: Redis does not answer.
        """
        name = f"{self._prefix}:lead:{key}"
        return bool(await self._lane.ask("EVAL", LEAD, 1, name, owner, _millis(ttl_s)))

    async def step_down(self, key: str, *, owner: str) -> None:
        """Let another lead, if it is this owner who does.

        Raises:
            UnavailableError: Redis does not answer.
        """
        await self._lane.ask("EVAL", STEP_DOWN, 1, f"{self._prefix}:lead:{key}", owner)

    async def close(self) -> None:
        """Close the connection."""
        await self._lane.close()

    def _sealed(self, name: str, answer: KeptAnswer) -> bytes:
        colour = answer.colour.encode()
        text = HEAD.pack(answer.at_s, len(colour)) + colour + answer.body
        nonce = os.urandom(NONCE_BYTES)
        return VERSION + nonce + self._cipher(name).encrypt(nonce, text, name.encode())

    def _opened(self, name: str, sealed: bytes) -> KeptAnswer | None:
        nonce, text = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        if not sealed.startswith(VERSION) or len(text) < HEAD.size:
            return None
        try:
            opened = self._cipher(name).decrypt(nonce, text, name.encode())
        except InvalidTag:
            return None
        at_s, length = HEAD.unpack_from(opened)
        body = HEAD.size + length
        return KeptAnswer(body=opened[body:], colour=opened[HEAD.size : body].decode(), at_s=at_s)

    def _cipher(self, name: str) -> AESGCM:
        return AESGCM(hmac.digest(self._secret, b"kept answer\0" + name.encode(), hashlib.sha256))


def _millis(seconds: float) -> int:
    return max(1, round(seconds * 1000))
