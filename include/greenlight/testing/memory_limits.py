"""Limits counted in memory, for tests that need no Redis. By a clock that is passed in."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from greenlight.core.clock import Clock
from greenlight.gateway.limits import (
    RATE_WINDOW_S,
    Charge,
    Decision,
    Exceeded,
    Limit,
    LimitKind,
    Reservation,
    Standing,
)

Key = tuple[str, str, str]
STREAM_RETRY_S = 1.0
COUNTED_S = RATE_WINDOW_S + 1
"""A step of a second is counted whole: it is in the window while any moment of it is."""


class MemoryLimits:
    """`gateway.ports.LimitStore` in dictionaries: every step, lease and period there ever was."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._numbers = itertools.count()
        self._steps: defaultdict[Key, defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
        self._leases: defaultdict[Key, dict[str, float]] = defaultdict(dict)
        self._spent: defaultdict[tuple[Key, str], int] = defaultdict(int)
        self._open: dict[str, float] = {}

    async def reserve(
        self, limits: Sequence[Limit], charge: Charge, *, request_id: str, expires_s: float
    ) -> Decision:
        """Admit a call under all of the limits, or refuse it and change nothing."""
        now = self._now()
        hit = [
            (self._wait(limit, charge, now), limit)
            for limit in limits
            if _asked(limit, charge)
            and self._used(limit, now) + _asked(limit, charge) > limit.amount
        ]
        if hit:
            wait, limit = max(hit, key=lambda one: one[0])
            return Exceeded(
                limit=limit,
                asked=_asked(limit, charge),
                remaining=max(0, limit.amount - self._used(limit, now)),
                retry_after_s=None if wait == float("inf") else wait,
                standings=self._standings(limits, now),
            )
        name = f"{request_id}/{next(self._numbers)}"
        self._open[name] = now + expires_s
        for limit in limits:
            self._change(limit, _asked(limit, charge), at=now)
            if limit.kind is LimitKind.STREAMS:
                self._leases[_key(limit)][name] = now + expires_s
        return Reservation(
            id=name,
            limits=tuple(limits),
            charge=charge,
            at_s=now,
            standings=self._standings(limits, now),
        )

    async def settle(self, reservation: Reservation, actual: Charge) -> None:
        """Replace what was reserved by what was used, and end the stream. Twice is once."""
        if self._open.pop(reservation.id, 0.0) <= self._now():
            return
        for limit in reservation.limits:
            change = _asked(limit, actual) - _asked(limit, reservation.charge)
            self._change(limit, change, at=reservation.at_s)
            self._leases[_key(limit)].pop(reservation.id, None)

    async def standing(self, limits: Sequence[Limit]) -> Sequence[int]:
        """Return what is used of each."""
        return [self._used(limit, self._now()) for limit in limits]

    def _now(self) -> float:
        return self._clock.now().timestamp()

    def _change(self, limit: Limit, amount: int, *, at: float) -> None:
        key = _key(limit)
        if limit.kind in _RATES:
            self._steps[key][int(at)] = max(0, self._steps[key][int(at)] + amount)
        elif limit.kind is not LimitKind.STREAMS:
            period = (key, _period(limit, at)[0])
            self._spent[period] = max(0, self._spent[period] + amount)

    def _used(self, limit: Limit, now: float) -> int:
        if limit.kind in _RATES:
            return sum(amount for _, amount in self._counted(limit, now))
        if limit.kind is LimitKind.STREAMS:
            return len(self._running(limit, now))
        return self._spent[_key(limit), _period(limit, now)[0]]

    def _counted(self, limit: Limit, now: float) -> list[tuple[int, int]]:
        steps = sorted(self._steps[_key(limit)].items())
        return [(step, amount) for step, amount in steps if amount and step + COUNTED_S > int(now)]

    def _running(self, limit: Limit, now: float) -> list[float]:
        return [ends for ends in self._leases[_key(limit)].values() if ends > now]

    def _wait(self, limit: Limit, charge: Charge, now: float) -> float:
        asked = _asked(limit, charge)
        if asked > limit.amount:
            return float("inf")
        if limit.kind is LimitKind.STREAMS:
            return STREAM_RETRY_S
        if limit.kind not in _RATES:
            return _period(limit, now)[1] - now
        missing = self._used(limit, now) + asked - limit.amount
        for step, amount in self._counted(limit, now):
            missing -= amount
            if missing <= 0:
                return step + COUNTED_S - now
        raise AssertionError("a window holds less than is used of it")

    def _standings(self, limits: Sequence[Limit], now: float) -> tuple[Standing, ...]:
        return tuple(self._standing(limit, now) for limit in limits)

    def _standing(self, limit: Limit, now: float) -> Standing:
        reset_s, next_s = 0.0, None if limit.kind is LimitKind.STREAMS else 0.0
        used = self._used(limit, now)
        if limit.kind is LimitKind.STREAMS:
            reset_s = max(self._running(limit, now), default=now) - now
        elif used and limit.kind in _RATES:
            steps = self._counted(limit, now)
            reset_s, next_s = steps[-1][0] + COUNTED_S - now, steps[0][0] + COUNTED_S - now
        elif used:
            reset_s = next_s = _period(limit, now)[1] - now
        return Standing(
            limit=limit, remaining=max(0, limit.amount - used), reset_s=reset_s, next_s=next_s
        )


_RATES = frozenset({LimitKind.REQUESTS, LimitKind.TOKENS})


def _key(limit: Limit) -> Key:
    return limit.holder, limit.kind, limit.subject


def _asked(limit: Limit, charge: Charge) -> int:
    if limit.kind in {LimitKind.REQUESTS, LimitKind.STREAMS}:
        return 1
    return charge.tokens if limit.kind is LimitKind.TOKENS else charge.spend


def _period(limit: Limit, at: float) -> tuple[str, float]:
    """Return the day or month, and when it ends."""
    day = datetime.fromtimestamp(at, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if limit.kind is LimitKind.SPEND_DAY:
        return f"{day:%Y-%m-%d}", (day + timedelta(days=1)).timestamp()
    after = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return f"{day:%Y-%m}", after.timestamp()
