"""A clock that stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


class ManualClock:
    """`core.clock.Clock`: wall and monotonic time go together."""

    def __init__(self, now: datetime = NOON) -> None:
        self._began = self._now = now

    def now(self) -> datetime:
        """Return the time a test has set."""
        return self._now

    def monotonic(self) -> float:
        """Return the seconds since the clock was made."""
        return (self._now - self._began).total_seconds()

    def advance(self, seconds: float) -> None:
        """Go on by so much; back, when negative."""
        self.set(self._now + timedelta(seconds=seconds))

    def set(self, now: datetime) -> None:
        """Be at a moment."""
        self._now = now
