"""Intervals for means and quantiles over blocks, by resampling whole blocks.

Tokens of one window are not independent, windows nearly are: a window is the unit that is drawn,
and `n` counts windows. Means are ratios of sums (tokens weigh the same wherever they stand) with a
studentized bootstrap (bootstrap-t: Efron & Tibshirani 1993, ch. 12.5; second-order accurate where
the percentile interval is too short for some thirty windows). Quantiles use the percentile
bootstrap. All bounds are one-sided, each at its own confidence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from greenlight.core.errors import InputError

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[Any]

CONFIDENCE = 0.95
RESAMPLES = 10_000
_CHUNK = 4_000_000
"""Weights held in memory at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number with its one-sided bounds.

    `low` and `high` are `None` where `n` is too small to bound anything. `deviation` is the
    standard deviation of one unit's contribution, so that `deviation / sqrt(n)` is the standard
    error; `None` where that makes no sense (quantiles).
    """

    value: float
    low: float | None
    high: float | None
    n: int
    confidence: float
    method: str
    deviation: float | None = None


def block_sums(values: Numbers, block: Numbers) -> tuple[Floats, Floats]:
    """Return the sum of `values` and their count for every block that has any.

    Raises:
        InputError: the arrays differ in length, or hold nothing.
    """
    if values.size != block.size or not values.size:
        raise InputError(f"{values.size} values with {block.size} block numbers cannot be summed")
    index = block.astype(np.int64)
    counts = np.bincount(index).astype(np.float64)
    sums = np.bincount(index, weights=values.astype(np.float64))
    held = counts > 0
    return np.asarray(sums[held], dtype=np.float64), counts[held]


def bootstrap_ratio(
    numerator: Floats,
    denominator: Floats,
    *,
    rng: np.random.Generator,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Bound `sum(numerator) / sum(denominator)`, drawing pairs with replacement.

    Given per-block sums and counts it bounds a mean over tokens; given candidate and parent lengths
    it bounds their ratio. Fewer than two blocks, or resamples that mostly do not vary, bound
    nothing.
    """
    n = numerator.size
    total = float(denominator.sum())
    if not n or total == 0:
        raise InputError("a ratio needs at least one block and a denominator that is not zero")
    value = float(numerator.sum()) / total
    error = _standard_errors(np.ones((1, n)), numerator, denominator, np.array([value]))[0]
    low = high = None
    if n >= 2:
        studentized = np.concatenate(
            [
                _studentize(weights, numerator, denominator, value)
                for weights in _resampled_weights(n, rng=rng, resamples=resamples)
            ]
        )
        low, high = _around(value, float(error), studentized, confidence=confidence)
    return Estimate(
        value=value,
        low=low,
        high=high,
        n=n,
        confidence=confidence,
        method=f"studentized block bootstrap, {resamples} resamples",
        deviation=float(error) * float(np.sqrt(n)) if n >= 2 else None,
    )


def bootstrap_quantile(
    values: Numbers,
    block: Numbers,
    *,
    q: float,
    rng: np.random.Generator,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Bound the upper quantile `q` of `values`, drawing whole blocks with replacement.

    The quantile is the smallest value that at least a share `q` of the tokens does not exceed. Few
    tokens lie above a p99.9: below some 10,000 tokens its upper bound is hardly more than the
    maximum.
    """
    index = np.unique(block, return_inverse=True)[1]
    order = np.argsort(values)[::-1]
    ordered, owner = values[order].astype(np.float64), index[order]
    counts = np.bincount(index).astype(np.float64)
    n = counts.size
    low = high = None
    if n >= 2:
        drawn = np.concatenate(
            [
                _weighted_upper_quantile(weights, counts, ordered, owner, q=q)
                for weights in _resampled_weights(n, rng=rng, resamples=resamples)
            ]
        )
        low = float(np.quantile(drawn, 1 - confidence))
        high = float(np.quantile(drawn, confidence))
    return Estimate(
        value=float(_weighted_upper_quantile(np.ones((1, n)), counts, ordered, owner, q=q)[0]),
        low=low,
        high=high,
        n=n,
        confidence=confidence,
        method=f"percentile block bootstrap, {resamples} resamples",
    )


def _resampled_weights(n: int, *, rng: np.random.Generator, resamples: int) -> Iterator[Floats]:
    """Yield how often each of `n` blocks was drawn, one resample a row."""
    rows = max(1, _CHUNK // n)
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        drawn = rng.integers(0, n, size=(size, n)) + np.arange(size)[:, None] * n
        yield np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)


def _standard_errors(
    weights: Floats, numerator: Floats, denominator: Floats, ratios: Floats
) -> Floats:
    """Linearized standard error of a ratio of sums, one a row of `weights`."""
    n = numerator.size
    if n < 2:
        return np.zeros(len(weights))
    squares = (
        weights @ numerator**2
        - 2 * ratios * (weights @ (numerator * denominator))
        + ratios**2 * (weights @ denominator**2)
    )
    spread = np.sqrt(np.maximum(squares, 0.0) * n / (n - 1))
    return np.asarray(spread / (weights @ denominator), dtype=np.float64)


def _studentize(weights: Floats, numerator: Floats, denominator: Floats, value: float) -> Floats:
    sums = weights @ denominator
    weights, sums = weights[sums != 0], sums[sums != 0]
    ratios = (weights @ numerator) / sums
    errors = _standard_errors(weights, numerator, denominator, ratios)
    moved = ratios - value
    # Where a resample does not vary, rounding leaves a residue that is not a standard error.
    still = errors <= 1e-9 * np.maximum(np.abs(ratios), 1e-12)
    with np.errstate(divide="ignore", invalid="ignore"):
        result = np.where(still, np.sign(moved) * np.inf, moved / errors)
    return np.nan_to_num(
        np.asarray(result, dtype=np.float64), nan=0.0, posinf=np.inf, neginf=-np.inf
    )


def _around(
    value: float, error: float, studentized: Floats, *, confidence: float
) -> tuple[float | None, float | None]:
    if error <= 1e-9 * max(abs(value), 1e-12):
        return value, value
    # An order statistic, not an interpolation: infinities must stay infinities.
    upper = float(np.quantile(studentized, confidence, method="higher"))
    lower = float(np.quantile(studentized, 1 - confidence, method="lower"))
    low, high = value - upper * error, value - lower * error
    return (low if np.isfinite(low) else None), (high if np.isfinite(high) else None)


def _weighted_upper_quantile(
    weights: Floats, counts: Floats, ordered: Floats, owner: Numbers, *, q: float
) -> Floats:
    """Return the quantile of every resample; `ordered` runs from the largest value down.

    Only the tail that a resample can reach is looked at, and more of it when that was too short.
    """
    above_allowed = (1 - q) * (weights @ counts)
    depth = min(ordered.size, max(64, int(4 * (1 - q) * ordered.size)))
    while True:
        reached = np.cumsum(weights[:, owner[:depth]], axis=1) > above_allowed[:, None] + 1e-9
        if depth == ordered.size or bool(reached[:, -1].all()):
            return np.asarray(ordered[np.argmax(reached, axis=1)], dtype=np.float64)
        depth = min(ordered.size, depth * 4)
