"""Connections to Redis: over TCP, TLS or a unix socket; the password never is in the URL.

Nothing is tried again here: a command whose answer was lost may have been carried out.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hiredis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoScriptError, RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from greenlight.core.errors import ConfigError, UnavailableError

Argument = str | bytes | int | float
Reply = Any
FAILURES = (RedisError, OSError, TimeoutError)
TOGETHER = 128
"""Commands in one round trip at most: more would make the first wait for the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """Where a Redis is and how to get in. `url`: `redis://`, `rediss://` or `unix://`."""

    url: str
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    timeout_s: float = 1.0


def open_redis(address: RedisAddress, *, connections: int = 4) -> Redis:
    """Return a client of at most so many connections; none is made yet.

    Reading has no time limit of its own, since one for every reply costs a tenth of a call: who
    asks sets one for all.

    Raises:
        ConfigError: the URL can't be used, or there is no such CA.
    """
    options: dict[str, Any] = {
        "password": address.password,
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": None,
        "max_connections": connections,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        "timeout": address.timeout_s,
    }
    if not address.url.startswith("unix://"):
        options["socket_connect_timeout"] = address.timeout_s
    if address.url.startswith("rediss://") and address.ca_file is not None:
        options["ssl_ca_certs"] = str(address.ca_file)
    if address.ca_file is not None and not address.ca_file.is_file():
        raise ConfigError(f"redis.ca_file {address.ca_file} does not exist")
    try:
        return Redis.from_pool(BlockingConnectionPool.from_url(address.url, **options))
    except ValueError as error:
        raise ConfigError(f"redis.url {address.url!r} can't be used: {error}") from error


async def check_redis(client: Redis, *, timeout_s: float) -> None:
    """Return when Redis answers and keeps what it was given.

    Raises:
        UnavailableError: it doesn't answer.
        ConfigError: it refuses the password, or may forget limits when its memory is full.
    """
    try:
        async with asyncio.timeout(timeout_s):
            memory = await client.info("memory")
    except AuthenticationError as error:
        raise ConfigError(f"Redis refuses the password of redis.password_file: {error}") from error
    except ResponseError as error:
        raise ConfigError(f"Redis lets us in, but not ask for INFO memory: {error}") from error
    except FAILURES as error:
        raise UnavailableError(f"Redis does not answer: {_said(error)}") from error
    policy = memory.get("maxmemory_policy", "noeviction")
    if memory.get("maxmemory", 0) and policy != "noeviction":
        raise ConfigError(
            f"Redis has the maxmemory-policy {policy}, which forgets limits when memory is full; "
            f"set it to noeviction, or give the gateway a Redis of its own"
        )


class RedisLane:
    """Sends commands of one event loop; those that come during a round trip share the next.

    One connection, one round trip at a time. With 64 callers this takes a third of the
    processor time of a connection each (docs/reference/limits.md).
    """

    def __init__(self, client: Redis, *, timeout_s: float) -> None:
        """`timeout_s`: for a round trip, making the connection included."""
        self._client, self._timeout_s = client, timeout_s
        self._connection: AbstractConnection = client.connection_pool.make_connection()
        self._waiting: deque[_Asked] = deque()
        self._sender: asyncio.Task[None] | None = None

    async def ask(self, *command: Argument) -> Reply:
        """Return the reply to a command. It may be carried out although the caller is cancelled.

        Commands are carried out in the order in which they are asked.

        Raises:
            NoScriptError: Redis doesn't know the script; nothing was done.
            UnavailableError: Redis does not answer, or can't do it now.
        """
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Reply] = loop.create_future()
        self._waiting.append(_Asked(command=command, reply=reply))
        if self._sender is None:
            self._sender = loop.create_task(self._send())
        return await reply

    async def close(self) -> None:
        """Close the connection; what is under way fails."""
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
        await self._connection.disconnect(nowait=True)
        await self._client.aclose()

    async def _send(self) -> None:
        batch: list[_Asked] = []
        try:
            while batch := self._next():
                await self._round_trip(batch)
        finally:
            self._sender = None
            _fail([*batch, *self._waiting], UnavailableError("the connection to Redis was closed"))
            self._waiting.clear()

    def _next(self) -> list[_Asked]:
        batch: list[_Asked] = []
        while self._waiting and len(batch) < TOGETHER:
            asked = self._waiting.popleft()
            if not asked.reply.cancelled():
                batch.append(asked)
        return batch

    async def _round_trip(self, batch: Sequence[_Asked]) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                replies = await self._replies([asked.command for asked in batch])
        except FAILURES as error:
            await self._connection.disconnect(nowait=True)  # half of a reply may be left in it
            _fail(batch, UnavailableError(f"Redis does not answer: {_said(error)}"))
            return
        except asyncio.CancelledError:
            await self._connection.disconnect(nowait=True)
            raise
        for asked, reply in zip(batch, replies, strict=True):
            asked.take(reply)

    async def _replies(self, commands: Sequence[tuple[Argument, ...]]) -> list[Reply]:
        """Return the replies, refusals among them, to commands of one round trip.

        Over the connection itself: the library's pipeline takes one from a pool for every round
        trip and tries it out first, which cost more than the round trip. Packed by hiredis, which
        the library asks to read replies, but not to write commands.
        """
        connection = self._connection
        if connection.is_connected and _was_closed(connection):
            await connection.disconnect(nowait=True)
        await connection.connect()
        packed = b"".join(map(_packed, commands))
        await connection.send_packed_command(packed, check_health=False)
        return [await _reply(connection) for _ in commands]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    command: tuple[Argument, ...]
    reply: asyncio.Future[Reply]

    def take(self, reply: Reply) -> None:
        if self.reply.done():
            return
        if isinstance(reply, NoScriptError):
            self.reply.set_exception(reply)
        elif isinstance(reply, Exception):
            self.reply.set_exception(UnavailableError(f"Redis can't do it: {_said(reply)}"))
        else:
            self.reply.set_result(reply)


def _was_closed(connection: AbstractConnection) -> bool:
    """Return whether Redis has ended an idle connection, as when it was started again."""
    reader = connection._reader  # the library tells it nowhere else
    return reader is not None and reader.at_eof()


async def _reply(connection: AbstractConnection) -> Reply:
    try:
        return await connection.read_response(timeout=math.inf)
    except ResponseError as refusal:
        return refusal


def _packed(command: tuple[Argument, ...]) -> bytes:
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # annotated for one
    return packed


def _fail(asked: Sequence[_Asked], error: UnavailableError) -> None:
    for one in asked:
        if not one.reply.done():
            one.reply.set_exception(error)


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__
