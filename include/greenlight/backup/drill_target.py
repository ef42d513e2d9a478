"""Which second a drill restores to: a random one that sentinels on both sides can prove."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random

from greenlight.backup.ports import Sentinel

CLEAR_S = 0.5
"""A sentinel's time is a moment before its commit, so a target keeps away from it."""


def choose_target(
    sentinels: Sequence[Sentinel], *, after: datetime, until: datetime, random: Random
) -> datetime | None:
    """Return a random instant between two times, with a sentinel before and one after it.

    None: no instant there could be proven.
    """
    times = sorted(sentinel.at for sentinel in sentinels)
    if len(times) < 2:
        return None
    clear = timedelta(seconds=CLEAR_S)
    begin, end = max(after, times[0]), min(until, times[-1])
    edges = [begin, *(at for at in times if begin < at < end), end]
    gaps = [(a + clear, b - clear) for a, b in pairwise(edges)]
    gaps = [(a, b) for a, b in gaps if b >= a]
    if not gaps:
        return None
    lengths = [(b - a).total_seconds() for a, b in gaps]
    first, last = random.choices(gaps, weights=[max(length, 1e-3) for length in lengths])[0]
    return first + random.random() * (last - first)


def lost_and_ahead(
    expected: Sequence[Sentinel], found: Sequence[Sentinel], *, at: datetime
) -> tuple[int, int]:
    """Return how many sentinels up to `at` are missing, and how many later ones are there."""
    there = {sentinel.number for sentinel in found}
    lost = sum(s.at <= at and s.number not in there for s in expected)
    return lost, sum(s.at > at for s in found)
