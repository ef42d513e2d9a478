"""The first level of the cache: answers in this process, the least recently used go first."""

from __future__ import annotations

from collections import OrderedDict

from greenlight.core.clock import Clock
from greenlight.gateway.answer_counts import AnswerCounts
from greenlight.gateway.ports import KeptAnswer

ENTRY_BYTES = 600
"""What an entry takes beside its texts: a key, an answer, two numbers and their places."""


class MemoryAnswers:
    """Bounded by bytes, everything an entry takes counted."""

    def __init__(self, *, max_bytes: int, clock: Clock, counts: AnswerCounts) -> None:
        self._max_bytes, self._clock, self._counts = max_bytes, clock, counts
        self._entries: OrderedDict[str, tuple[KeptAnswer, float]] = OrderedDict()
        self._bytes = 0

    @property
    def held_bytes(self) -> int:
        """What all entries take."""
        return self._bytes

    def __len__(self) -> int:
        """Return how many answers there are."""
        return len(self._entries)

    def get(self, key: str) -> KeptAnswer | None:
        """Return an answer whose time isn't over."""
        found = self._entries.get(key)
        if found is None:
            return None
        answer, ends = found
        if self._clock.monotonic() >= ends:
            self._remove(key)
            self._counts.memory_expired += 1
            return None
        self._entries.move_to_end(key)
        return answer

    def put(self, key: str, answer: KeptAnswer, *, ttl_s: float) -> None:
        """Keep an answer, unless it alone is more than there is room for."""
        self._remove(key)
        size = _size(key, answer)
        if size > self._max_bytes or ttl_s <= 0:
            return
        while self._bytes + size > self._max_bytes:
            self._remove(next(iter(self._entries)))
            self._counts.evicted += 1
        self._entries[key] = (answer, self._clock.monotonic() + ttl_s)
        self._bytes += size

    def _remove(self, key: str) -> None:
        if (found := self._entries.pop(key, None)) is not None:
            self._bytes -= _size(key, found[0])


def _size(key: str, answer: KeptAnswer) -> int:
    return ENTRY_BYTES + len(key) + len(answer.colour) + len(answer.body)
