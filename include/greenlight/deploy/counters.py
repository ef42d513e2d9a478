"""Counters of the router and of engines: they only grow, until whoever counts is started again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCounts:
    """Requests of clients that a colour got, and how many failed, by the router's counters."""

    requests: int
    errors: int

    def since(self, earlier: LiveCounts) -> LiveCounts:
        """Return what came after `earlier`; where one went back, all of it: the router is new."""
        requests, errors = self.requests - earlier.requests, self.errors - earlier.errors
        return self if min(requests, errors) < 0 else LiveCounts(requests=requests, errors=errors)

    def plus(self, more: LiveCounts) -> LiveCounts:
        """Return both together."""
        return LiveCounts(requests=self.requests + more.requests, errors=self.errors + more.errors)


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstTokens:
    """How soon requests got their first token, by engines' histograms, whoever asked.

    `within`: how many got it within each of the `bounds`, in seconds and rising. The last bound is
    +inf and has them all. A request that still waits for its first token is nowhere.
    """

    bounds: tuple[float, ...]
    within: tuple[int, ...]

    @property
    def n(self) -> int:
        """How many requests got a first token."""
        return self.within[-1]

    def bound_from(self, seconds: float) -> float | None:
        """Return the lowest finite bound that is not below; `None`: there is none."""
        return next((b for b in self.bounds if seconds <= b < math.inf), None)

    def later_than(self, bound: float) -> int:
        """Return how many got it later than one of the bounds."""
        return self.n - self.within[self.bounds.index(bound)]

    def since(self, earlier: FirstTokens) -> FirstTokens:
        """Return what came after `earlier`; where one went back, all of it: the engine is new."""
        if self.bounds != earlier.bounds:
            return self
        came = tuple(now - then for now, then in zip(self.within, earlier.within, strict=True))
        return self if min(came) < 0 else FirstTokens(bounds=self.bounds, within=came)

    def plus(self, more: FirstTokens) -> FirstTokens:
        """Return both together, at the bounds that both have."""
        mine, other = (dict(zip(t.bounds, t.within, strict=True)) for t in (self, more))
        shared = tuple(bound for bound in self.bounds if bound in other)
        return FirstTokens(bounds=shared, within=tuple(mine[b] + other[b] for b in shared))


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """An engine, or a colour, that could not be measured. It is not zero."""

    reason: str


def together(engines: Sequence[FirstTokens | Unread]) -> FirstTokens | Unread:
    """Return all engines of a colour as one; without any of them the colour is not known."""
    total: FirstTokens | None = None
    for engine in engines:
        if isinstance(engine, Unread):
            return engine
        total = engine if total is None else total.plus(engine)
    return total or Unread(reason="it has no engine")


class _Counters(Protocol):
    def since(self, earlier: Self) -> Self: ...

    def plus(self, more: Self) -> Self: ...


C = TypeVar("C", bound=_Counters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally(Generic[C]):
    """What was counted since a step began; whoever counts may be started again meanwhile.

    Counting then goes on from zero. What came after the last reading and before the restart nobody
    knows. It is left out: what one interval had at most, where every look got a reading.
    """

    counted: C
    last: C

    @classmethod
    def begun(cls, now: C) -> Tally[C]:
        """Return a tally that has nothing yet."""
        return cls(counted=now.since(now), last=now)

    def after(self, now: C) -> Tally[C]:
        """Return it with what came since it was last looked at."""
        return Tally(counted=self.counted.plus(now.since(self.last)), last=now)
