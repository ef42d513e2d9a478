"""Kept answers in memory, for tests that need no Redis. It can be away."""

from __future__ import annotations

from greenlight.core.clock import Clock
from greenlight.core.errors import UnavailableError
from greenlight.gateway.ports import KeptAnswer


class MemoryAnswerStore:
    """`gateway.ports.AnswerStore` in dictionaries. `calls` counts what it was asked."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._answers: dict[str, tuple[KeptAnswer, float]] = {}
        self._leads: dict[str, tuple[str, float]] = {}
        self.away = False
        self.calls = 0

    async def get(self, key: str) -> KeptAnswer | None:
        """Return an answer."""
        self._asked()
        answer, ends = self._answers.get(key, (None, 0.0))
        return answer if self._clock.monotonic() < ends else None

    async def put(self, key: str, answer: KeptAnswer, *, ttl_s: float) -> None:
        """Keep one."""
        self._asked()
        self._answers[key] = (answer, self._clock.monotonic() + ttl_s)

    async def lead(self, key: str, *, owner: str, ttl_s: float) -> bool:
        """Return whether this owner may answer the request; asking again prolongs it."""
        self._asked()
        leader, ends = self._leads.get(key, (owner, 0.0))
        if leader != owner and self._clock.monotonic() < ends:
            return False
        self._leads[key] = (owner, self._clock.monotonic() + ttl_s)
        return True

    async def step_down(self, key: str, *, owner: str) -> None:
        """Let another lead, if it is this owner who does."""
        self._asked()
        if self._leads.get(key, ("", 0.0))[0] == owner:
            del self._leads[key]

    def _asked(self) -> None:
        self.calls += 1
        if self.away:
            raise UnavailableError("the store of kept answers is away")
