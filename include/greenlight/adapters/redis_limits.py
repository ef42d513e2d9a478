"""Limits in Redis: one script, which decides and counts in one step (`redis_limits.lua`).

A reservation that nobody hears of (the caller was cancelled, the answer was lost) is taken back, as
its stream would else hold a place until the lease ends.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from redis.exceptions import NoScriptError

from greenlight.adapters.redis_connection import Argument, RedisLane, Reply
from greenlight.core.errors import UnavailableError
from greenlight.gateway.limits import (
    Charge,
    Decision,
    Exceeded,
    Limit,
    LimitKind,
    Reservation,
    Standing,
)

SCRIPT = Path(__file__).with_suffix(".lua").read_text(encoding="utf-8")
MICRO_S = 1_000_000
PREFIX = "greenlight:limits"
AGAIN_S = (1.0, 5.0, 30.0)
"""When a settlement that Redis did not take is tried again. It may be taken twice."""
MOST_DOUBTFUL = 1000
"""With so much to try again, a reservation that Redis may have made isn't taken back: its lease
ends by itself, and while Redis is away most were never made."""
CODES = {
    LimitKind.REQUESTS: "rate",
    LimitKind.TOKENS: "rate",
    LimitKind.STREAMS: "stream",
    LimitKind.SPEND_DAY: "day",
    LimitKind.SPEND_MONTH: "month",
}


class RedisLimits:
    """`gateway.ports.LimitStore` for all workers and replicas together, by Redis' own clock."""

    def __init__(
        self,
        lane: RedisLane,
        *,
        new_id: Callable[[], str],
        prefix: str = PREFIX,
        script: str = SCRIPT,
        again_s: Sequence[float] = AGAIN_S,
    ) -> None:
        """`new_id` makes a reservation distinct even when two requests carry the same id."""
        self._lane, self._new_id, self._prefix, self._again_s = lane, new_id, prefix, again_s
        self._script = script
        self._sha = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
        self._later: set[asyncio.Task[None]] = set()

    async def reserve(
        self, limits: Sequence[Limit], charge: Charge, *, request_id: str, expires_s: float
    ) -> Decision:
        """Admit a call under all of the limits, or refuse it and change nothing.

        Raises:
            UnavailableError: Redis does not answer.
        """
        name = f"{request_id}/{self._new_id()}"
        keys = [f"{self._prefix}:open:{name}", *map(self._key, limits)]
        arguments: list[Argument] = [name, round(expires_s * MICRO_S)]
        for limit in limits:
            arguments += (CODES[limit.kind], limit.amount, _asked(limit.kind, charge))
        try:
            reply = await self._run("reserve", keys, arguments)
        except (asyncio.CancelledError, UnavailableError) as error:
            left = isinstance(error, asyncio.CancelledError)
            if left or len(self._later) < MOST_DOUBTFUL:
                back = self._settlement(name, limits, charge, Charge(tokens=0))
                self._try_later(back, after=(0.0, *self._again_s) if left else self._again_s)
            raise
        admitted, now, which, wait, *numbers = reply
        standings = _standings(limits, numbers)
        if admitted:
            return Reservation(
                id=name,
                limits=tuple(limits),
                charge=charge,
                at_s=now / MICRO_S,
                standings=standings,
            )
        limit = limits[which - 1]
        return Exceeded(
            limit=limit,
            asked=_asked(limit.kind, charge),
            remaining=standings[which - 1].remaining,
            retry_after_s=None if wait < 0 else wait / MICRO_S,
            standings=standings,
        )

    async def settle(self, reservation: Reservation, actual: Charge) -> None:
        """Replace what was reserved by what was used, and end the stream. Twice is once.

        It is done also when the caller is cancelled.

        Raises:
            UnavailableError: Redis does not answer; it is tried again for a while.
        """
        settlement = self._settlement(
            reservation.id, reservation.limits, reservation.charge, actual
        )
        try:
            await self._run("settle", *settlement)
        except asyncio.CancelledError:
            self._try_later(settlement, after=(0.0, *self._again_s))
            raise
        except UnavailableError:
            self._try_later(settlement, after=self._again_s)
            raise

    async def standing(self, limits: Sequence[Limit]) -> Sequence[int]:
        """Return what is used of each.

        Raises:
            UnavailableError: Redis does not answer.
        """
        keys = [self._key(limit) for limit in limits]
        used: list[int] = await self._run("standing", keys, [CODES[one.kind] for one in limits])
        return used

    async def close(self) -> None:
        """Give up what would be tried again, and close the connection."""
        for task in self._later:
            task.cancel()
        await asyncio.gather(*self._later, return_exceptions=True)
        await self._lane.close()

    def _key(self, limit: Limit) -> str:
        return f"{self._prefix}:{limit.holder}:{limit.kind}:{limit.subject}"

    def _settlement(
        self, name: str, limits: Sequence[Limit], reserved: Charge, actual: Charge
    ) -> tuple[list[str], list[Argument]]:
        keys = [f"{self._prefix}:open:{name}", *map(self._key, limits)]
        arguments: list[Argument] = [name]
        for limit in limits:
            change = _asked(limit.kind, actual) - _asked(limit.kind, reserved)
            arguments += (CODES[limit.kind], change)
        return keys, arguments

    async def _run(
        self,
        operation: Literal["reserve", "settle", "standing"],
        keys: Sequence[str],
        arguments: Sequence[Argument],
    ) -> Reply:
        """Run the script, and send it along when Redis doesn't know it, as after a restart."""
        rest = (len(keys), *keys, operation, *arguments)
        try:
            return await self._lane.ask("EVALSHA", self._sha, *rest)
        except NoScriptError:
            return await self._lane.ask("EVAL", self._script, *rest)

    def _try_later(
        self, settlement: tuple[list[str], list[Argument]], *, after: Sequence[float]
    ) -> None:
        task = asyncio.get_running_loop().create_task(self._try(settlement, after))
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def _try(
        self, settlement: tuple[list[str], list[Argument]], after: Sequence[float]
    ) -> None:
        for pause_s in after:
            await asyncio.sleep(pause_s)
            try:
                await self._run("settle", *settlement)
            except UnavailableError:
                continue
            return


def _asked(kind: LimitKind, charge: Charge) -> int:
    if kind is LimitKind.TOKENS:
        return charge.tokens
    if kind in {LimitKind.REQUESTS, LimitKind.STREAMS}:
        return 1
    return charge.spend


def _standings(limits: Sequence[Limit], numbers: Sequence[int]) -> tuple[Standing, ...]:
    triples = zip(limits, numbers[::3], numbers[1::3], numbers[2::3], strict=True)
    return tuple(
        Standing(
            limit=limit,
            remaining=max(0, limit.amount - used),
            reset_s=reset / MICRO_S,
            next_s=None if upcoming < 0 else upcoming / MICRO_S,
        )
        for limit, used, reset, upcoming in triples
    )
