"""When to stop asking a fleet that fails, and how often a request may be sent again.

Both are small state machines over a monotonic time that is passed in. The circuit is the one of
Nygard's "Release It!": closed, open, half-open; the retry budget is Finagle's: a share of recent
requests, so that retries can't multiply the load of a fleet that is already overloaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MOST_SAVED = 10.0
"""Retries that a long quiet time can have saved up."""


class Circuit(StrEnum):
    """Whether a fleet is asked."""

    CLOSED = "closed"
    """It is."""
    OPEN = "open"
    """It isn't: it has failed too often in a row."""
    HALF_OPEN = "half_open"
    """One request finds out."""


@dataclass(slots=True, kw_only=True)
class Breaker:
    """The circuit of one fleet, in one worker."""

    failures: int
    """So many in a row open it."""
    open_s: float
    _in_row: int = 0
    _until: float = 0.0
    _probing: bool = False

    def state(self, now: float) -> Circuit:
        """Return the state at `now`."""
        if self._in_row < self.failures:
            return Circuit.CLOSED
        return Circuit.OPEN if now < self._until else Circuit.HALF_OPEN

    def admits(self, now: float) -> bool:
        """Return whether a request may be sent; in half-open the first alone may."""
        state = self.state(now)
        if state is Circuit.HALF_OPEN and not self._probing:
            self._probing = True
            return True
        return state is Circuit.CLOSED

    def wait_s(self, now: float) -> float:
        """Return how long a client should wait."""
        return max(1.0, self._until - now)

    def succeeded(self) -> None:
        """The fleet answered."""
        self._in_row, self._probing = 0, False

    def failed(self, now: float) -> None:
        """The fleet did not answer, or with its own failure."""
        self._in_row += 1
        self._probing = False
        if self._in_row >= self.failures:
            self._until = now + self.open_s

    def abandoned(self) -> None:
        """A request ended without telling anything about the fleet: its client left."""
        self._probing = False


@dataclass(slots=True, kw_only=True)
class RetryBudget:
    """Every request earns a share of a retry; a retry costs a whole one."""

    share: float
    _saved: float = 1.0

    def earn(self) -> None:
        """A request was sent for the first time."""
        self._saved = min(MOST_SAVED, self._saved + self.share)

    def spend(self) -> bool:
        """Return whether one may be sent again."""
        if self._saved < 1 or self.share == 0:
            return False
        self._saved -= 1
        return True
