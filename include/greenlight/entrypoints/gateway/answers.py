"""Kept answers: this process' memory, then the store that all share, then one who answers for all.

A request that is being answered somewhere isn't answered a second time: the others wait for it, in
this process on a future and in other processes by asking the store. A leader that dies is replaced
when its lead lapses. An answer that can't be kept is told as such, and those who waited go on by
themselves. Without the store, or while it is away, each process works with its memory alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from greenlight.adapters.memory_answers import MemoryAnswers
from greenlight.core.clock import Clock
from greenlight.core.errors import UnavailableError
from greenlight.gateway.answer_counts import AnswerCounts
from greenlight.gateway.gateway_file import CacheSettings
from greenlight.gateway.ports import AnswerStore, KeptAnswer

T = TypeVar("T")

LEAD_S = 10.0
"""A lead lapses after so long; a living leader prolongs it three times in between."""
FIRST_POLL_S, LAST_POLL_S = 0.02, 0.5
TOLD_S = 4 * LAST_POLL_S
"""So long the store says that an answer isn't kept: whoever waits for it asks in this time."""
AWAY_S = 1.0
"""A store that did not answer isn't asked for so long, or every request would wait for it."""
NOT_KEPT = KeptAnswer(body=b"", colour="", at_s=0.0)
"""Says that there is no answer to wait for. A real one has a body."""


class Level(StrEnum):
    """Where an answer was."""

    MEMORY = "memory"
    STORE = "store"
    SHARED = "shared"
    """It was being given to somebody else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """An answer that was kept."""

    answer: KeptAnswer
    level: Level


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """The caller answers for all, and must then `keep` it or `give_up`, whatever happens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """The caller answers for itself; nobody waits for it."""


Found = Hit | Lead | Alone


class Answers:
    """The two levels together, for one event loop."""

    def __init__(
        self,
        memory: MemoryAnswers,
        store: AnswerStore | None,
        *,
        settings: CacheSettings,
        counts: AnswerCounts,
        clock: Clock,
        chance: Callable[[], float],
        owner: str,
        lead_s: float = LEAD_S,
    ) -> None:
        """`chance` draws from [0, 1). `owner`: distinct for every process that ever runs."""
        self._memory, self._store, self._settings = memory, store, settings
        self._counts, self._clock, self._chance = counts, clock, chance
        self._owner, self._lead_s = owner, lead_s
        self._flights: dict[str, asyncio.Future[KeptAnswer | None]] = {}
        """Requests that are looked up or answered here; `None`: somebody else is to lead."""
        self._leads: set[str] = set()
        self._keeper: asyncio.Task[None] | None = None
        self._away_until = float("-inf")

    async def get_or_lead(self, key: str) -> Found:
        """Return the answer, or who answers. Waits for an answer that is being given."""
        deadline = self._clock.monotonic() + self._settings.wait_s
        waits = False
        while True:
            if (answer := self._memory.get(key)) is not None:
                return self._counted(_hit(answer, Level.SHARED if waits else Level.MEMORY))
            self._counts.memory_misses += not waits
            flight = self._flights.get(key)
            if flight is None:
                level = Level.SHARED if waits else Level.STORE
                return self._counted(await self._look_up(key, level, deadline))
            self._counts.waits += not waits
            waits = True
            try:
                async with asyncio.timeout(deadline - self._clock.monotonic()):
                    answer = await asyncio.shield(flight)
            except TimeoutError:
                return self._counted(Alone())
            if answer is not None:
                return self._counted(_hit(answer, Level.SHARED))

    async def keep(self, key: str, answer: KeptAnswer) -> None:
        """Keep an answer, the leader's or a fresh one, and give it to those who wait."""
        if not answer.body or len(answer.body) > self._settings.answer_bytes:
            await self.give_up(key)
            return
        self._counts.kept += 1
        ttl_s = self._settings.ttl_s * (1 - self._settings.jitter * self._chance())
        self._memory.put(key, answer, ttl_s=ttl_s)
        await self._end(key, answer, told=(answer, ttl_s))

    async def give_up(self, key: str, *, to_another: bool = False) -> None:
        """Say that there is no answer to keep: it failed, or isn't the only one. Who leads may.

        `to_another`: only the caller went away; the next of those who wait leads.
        """
        self._counts.not_kept += 1
        if to_another:
            await self._end(key, None, told=None)
        else:
            await self._end(key, NOT_KEPT, told=(NOT_KEPT, TOLD_S))

    async def close(self) -> None:
        """Let others lead what was led here."""
        if self._keeper is not None:
            self._keeper.cancel()
        for key in list(self._leads):
            await self.give_up(key, to_another=True)

    def _counted(self, found: Found) -> Found:
        if isinstance(found, Lead):
            self._counts.misses += 1
        elif isinstance(found, Alone):
            self._counts.alone += 1
        elif found.level is Level.MEMORY:
            self._counts.memory_hits += 1
        elif found.level is Level.STORE:
            self._counts.store_hits += 1
        else:
            self._counts.shared_hits += 1
        return found

    async def _look_up(self, key: str, level: Level, deadline: float) -> Found:
        """Ask the store for all of this process that ask for the key."""
        self._flights[key] = asyncio.get_running_loop().create_future()
        landed: KeptAnswer | None = None
        leads = False
        try:
            found = await self._from_store(key, level, deadline)
            leads = isinstance(found, Lead)
            landed = found.answer if isinstance(found, Hit) else NOT_KEPT
        finally:  # also when this caller goes away: the next one looks it up
            if not leads:
                self._land(key, landed)
        if leads:
            self._leads.add(key)
            if self._keeper is None:
                self._keeper = asyncio.get_running_loop().create_task(self._keep_leading())
        return found

    async def _from_store(self, key: str, level: Level, deadline: float) -> Found:
        pause_s = FIRST_POLL_S
        while True:
            if (found := await self._stored(key, level)) is not None:
                return found
            if await self._may_lead(key):
                # the one who led until now may have kept its answer since we looked
                found = await self._stored(key, Level.SHARED)
                if found is None:
                    return Lead()
                await self._ask(lambda s: s.step_down(key, owner=self._owner), otherwise=None)
                return found
            if self._clock.monotonic() >= deadline:
                return Alone()
            self._counts.waits += level is Level.STORE
            level = Level.SHARED
            await asyncio.sleep(pause_s)
            pause_s = min(1.5 * pause_s, LAST_POLL_S)

    async def _stored(self, key: str, level: Level) -> Hit | Alone | None:
        """Return what the store has, and take it into memory for as long as it is good."""
        answer = await self._ask(lambda store: store.get(key), otherwise=None)
        if answer is None:
            return None
        if not answer.body:
            return Alone()
        left_s = self._settings.ttl_s - (self._clock.now().timestamp() - answer.at_s)
        if left_s <= 0:
            self._counts.store_expired += 1
            return None
        self._memory.put(key, answer, ttl_s=min(left_s, self._settings.ttl_s))
        return Hit(answer=answer, level=level)

    async def _may_lead(self, key: str) -> bool:
        return await self._ask(
            lambda store: store.lead(key, owner=self._owner, ttl_s=self._lead_s), otherwise=True
        )

    async def _end(
        self, key: str, landed: KeptAnswer | None, *, told: tuple[KeptAnswer, float] | None
    ) -> None:
        """Tell those who wait here, then those who wait elsewhere."""
        led = key in self._leads
        self._leads.discard(key)
        if led:
            self._land(key, landed)
        if told is not None and (led or told[0].body):
            answer, ttl_s = told
            await self._ask(lambda store: store.put(key, answer, ttl_s=ttl_s), otherwise=None)
        if led:
            await self._ask(lambda s: s.step_down(key, owner=self._owner), otherwise=None)

    def _land(self, key: str, answer: KeptAnswer | None) -> None:
        flight = self._flights.pop(key)
        flight.set_result(answer)

    async def _keep_leading(self) -> None:
        """Prolong the leads of this process while it has any."""
        try:
            while True:
                await asyncio.sleep(self._lead_s / 3)
                if not self._leads:
                    break
                await asyncio.gather(*map(self._prolong, list(self._leads)))
        finally:
            self._keeper = None

    async def _prolong(self, key: str) -> None:
        if key in self._leads:  # it may have ended by now, and would be led by nobody
            await self._may_lead(key)

    async def _ask(self, call: Callable[[AnswerStore], Awaitable[T]], *, otherwise: T) -> T:
        """Return what the store says, or `otherwise` when there is none or it is away."""
        if self._store is None or self._clock.monotonic() < self._away_until:
            return otherwise
        try:
            return await call(self._store)
        except UnavailableError:
            self._counts.store_errors += 1
            self._away_until = self._clock.monotonic() + AWAY_S
            return otherwise


def _hit(answer: KeptAnswer, level: Level) -> Hit | Alone:
    return Hit(answer=answer, level=level) if answer.body else Alone()
