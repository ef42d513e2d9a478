"""Bounds of what two colours differ by, from the bounds of each.

Each colour's share is bounded exactly (Clopper and Pearson 1934), each colour's quantile by exact
order statistics, without assuming a distribution. Both are combined by MOVER (Zou and Donner 2008,
Stat. Med. 27:1693-1702), the method behind Newcombe's difference of proportions: the distances of
estimate and bound add like standard errors, and keep their asymmetry. Two bounds simply subtracted
would ask for nearly three times the requests. Newcombe's own Wilson bounds are not used: far out
in the tail, where repeated looks must be judged, three errors in thirty requests would look like
proof. Every bound is one-sided, at the confidence given. `benchmarks/analysis.py` measures how
often the combined ones err.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import special

from greenlight.deploy.samples import Floats

_SMALLEST = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """A number and its one-sided bounds, each at the same confidence. ±inf: not bounded."""

    value: float
    low: float
    high: float


@lru_cache(maxsize=4096)
def share(hits: float, n: int, confidence: float) -> Bounds:
    """Bound one proportion exactly; `n` is at least 1."""
    alpha = 1 - confidence
    low = special.betaincinv(hits, n - hits + 1, alpha) if hits > 0 else 0.0
    high = special.betaincinv(hits + 1, n - hits, confidence) if hits < n else 1.0
    return Bounds(value=hits / n, low=float(low), high=float(high))


@lru_cache(maxsize=65536)
def ranks(n: int, quantile: float, confidence: float) -> tuple[int, int, int]:
    """Return the ranks, from 1, of a quantile's lower bound, itself and its upper bound.

    Rank 0 and rank n + 1 stand for "not bounded": that few values hold no bound.
    """
    alpha = 1 - confidence
    near = int(n * quantile)
    reach = int(9 * math.sqrt(n * quantile * (1 - quantile))) + 20
    first = max(0, near - reach)
    at_most = special.bdtr(np.arange(first, min(n, near + reach) + 1), n, quantile)
    # X(l) > Q means fewer than l values at or below Q; X(u) < Q means u or more below it.
    low = first + int(np.searchsorted(at_most, alpha, side="right"))
    high = first + int(np.searchsorted(at_most, confidence, side="left")) + 1
    return low, math.ceil(n * quantile), high


def quantile(values: Floats, p: float, confidence: float) -> Bounds:
    """Bound a quantile of at least one positive value; +inf among them is a value."""
    low, middle, high = ranks(int(values.size), p, confidence)
    wanted = [rank - 1 for rank in (low, middle, high) if 1 <= rank <= values.size]
    ordered = np.partition(values, wanted)
    return Bounds(
        value=float(ordered[middle - 1]),
        low=float(ordered[low - 1]) if low else 0.0,
        high=float(ordered[high - 1]) if high <= values.size else math.inf,
    )


def mean(values: Floats, confidence: float) -> Bounds:
    """Bound a mean by Student's t; fewer than two values bound nothing."""
    middle, n = float(values.mean()), int(values.size)
    if n < 2:
        return Bounds(value=middle, low=-math.inf, high=math.inf)
    reach = float(special.stdtrit(n - 1, confidence) * values.std(ddof=1) / math.sqrt(n))
    return Bounds(value=middle, low=middle - reach, high=middle + reach)


def difference(green: Bounds, blue: Bounds) -> Bounds:
    """Bound green minus blue. `blue.value` is finite.

    When green's value itself is +inf, the distance below it is not known, and the two bounds are
    subtracted.
    """
    if math.isinf(green.value):
        low = green.low - blue.high if math.isfinite(blue.high) else -math.inf
        return Bounds(value=math.inf, low=low, high=math.inf)
    value = green.value - blue.value
    below = math.hypot(green.value - green.low, blue.high - blue.value)
    above = math.hypot(green.high - green.value, blue.value - blue.low)
    return Bounds(value=value, low=value - below, high=value + above)


def ratio(green: Bounds, blue: Bounds) -> Bounds:
    """Bound green over blue, both positive: the difference of their logarithms."""
    found = difference(_logarithm(green), _logarithm(blue))
    return Bounds(value=_power(found.value), low=_power(found.low), high=_power(found.high))


def _logarithm(bounds: Bounds) -> Bounds:
    """Return the logarithms; a value of zero counts as next to nothing, so that it stays finite."""
    value = math.log(max(bounds.value, _SMALLEST))
    low, high = (math.log(x) if x > 0 else -math.inf for x in (bounds.low, bounds.high))
    return Bounds(value=value, low=min(low, value), high=max(high, value))


def _power(exponent: float) -> float:
    return math.exp(exponent) if exponent < 700 else math.inf
