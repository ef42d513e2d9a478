"""How many requests a verdict takes."""

from __future__ import annotations

import math

HALF_TAIL_Z = 2.576
"""Two-sided 99 %."""


def half_tail_n(quantile: float) -> int:
    """Return the fewest values from which a quantile may be read (p50: 27, p99: 2,628).

    With fewer, the 99 % margin of the quantile's *rank* is wider than half the tail above it: the
    "p99" read may as well be the p98.4 or the p99.6. `n ≥ z²·p(1-p) / ((1-p)/2)²`.
    """
    tail = 1 - quantile
    return math.ceil(HALF_TAIL_Z**2 * quantile * tail / (tail / 2) ** 2)


def faultless_n(margin: float, *, confidence: float) -> int:
    """Return how many faultless requests prove that fewer than a share `margin` is faulty.

    The exact bound (Clopper and Pearson) of 0 faults in n is `1 - (1 - confidence)^(1/n)`.
    """
    return math.ceil(math.log(1 - confidence) / math.log1p(-margin))


def settling_n(n: int, *, estimate: float, bound: float, limit: float) -> int | None:
    """Return the n at which these same values would settle the question.

    Margins shrink with the root of n. `None` when the estimate is on the wrong side of the limit,
    or no margin is known: more of the same does not help.
    """
    if not (math.isfinite(estimate) and math.isfinite(bound)):
        return None
    room, margin = limit - estimate, bound - estimate
    if room == 0 or margin == 0 or (room > 0) != (margin > 0):
        return None
    return max(n + 1, math.ceil(n * (margin / room) ** 2))
