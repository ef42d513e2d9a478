"""Bounds for proportions: single ones, and two measured on the same items.

Both models answer the same items, so only the items they disagree on carry information about the
difference. Paired differences use Tango's score interval (Stat. Med. 1998; 17:891-908), paired
ratios the score interval of Tang, Tang and Chan (Stat. Med. 2003; 22:1217-1233). Enumerating every
outcome (`benchmarks/gate.py`) shows that a one-sided 95 % bound of theirs errs in at most 5.1 % of
cases from 300 items on, where the usual Wald bound errs in up to 7.5 %. The exact conditional
(McNemar) test is not used: it tests "no difference", and a margin leaves nothing to condition on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from greenlight.core.errors import InputError
from greenlight.quantize.statistics import CONFIDENCE, Estimate, Floats, Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Flips:
    """How two models' answers to the same `n` items compare.

    `lost`: only the parent was right. `gained`: only the candidate was right. `kept`: both were.
    """

    kept: int
    lost: int
    gained: int
    n: int

    @property
    def rate(self) -> float:
        """The share of items on which exactly one of the two was right."""
        return (self.lost + self.gained) / self.n


def count_flips(parent_right: Numbers, candidate_right: Numbers) -> Flips:
    """Count flips of paired outcomes.

    Raises:
        InputError: the two differ in length, or hold nothing.
    """
    if parent_right.size != candidate_right.size or not parent_right.size:
        raise InputError(
            f"{parent_right.size} answers of the parent and {candidate_right.size} of the "
            "candidate cannot be paired"
        )
    parent, candidate = parent_right.astype(bool), candidate_right.astype(bool)
    return Flips(
        kept=int((parent & candidate).sum()),
        lost=int((parent & ~candidate).sum()),
        gained=int((~parent & candidate).sum()),
        n=int(parent.size),
    )


def paired_difference(flips: Flips, *, confidence: float = CONFIDENCE) -> Estimate:
    """Bound the candidate's proportion minus the parent's."""
    value = (flips.gained - flips.lost) / flips.n
    z = NormalDist().inv_cdf(confidence)
    return Estimate(
        value=value,
        low=_solve(lambda x: float(difference_score(flips, x)) - z, left=-1.0, right=value),
        high=_solve(lambda x: float(difference_score(flips, x)) + z, left=value, right=1.0),
        n=flips.n,
        confidence=confidence,
        method=f"Tango score interval; {_described(flips)}",
        deviation=float(np.sqrt(max(flips.rate - value**2, 0.0))),
    )


def paired_ratio(flips: Flips, *, confidence: float = CONFIDENCE) -> Estimate | None:
    """Bound the candidate's proportion over the parent's ("recovery").

    `None` when the parent was never right: there is nothing to recover.
    """
    parent = flips.kept + flips.lost
    if not parent:
        return None
    value = (flips.kept + flips.gained) / parent
    z = NormalDist().inv_cdf(confidence)
    spread = flips.gained + flips.lost * value**2 + flips.kept * (1 - value) ** 2
    return Estimate(
        value=value,
        low=_solve(lambda x: float(ratio_score(flips, x)) - z, left=1e-9, right=value),
        high=_solve(lambda x: float(ratio_score(flips, x)) + z, left=max(value, 1e-9), right=1e3),
        n=flips.n,
        confidence=confidence,
        method=f"Tang-Tang-Chan score interval; {_described(flips)}",
        deviation=float(np.sqrt(spread * flips.n) / parent),
    )


def proportion(successes: int, n: int, *, confidence: float = CONFIDENCE) -> Estimate:
    """Bound one proportion exactly (Clopper and Pearson 1934)."""
    from scipy import stats

    if n < 1:
        raise InputError("a proportion needs at least one item")
    value = successes / n
    low = stats.beta.ppf(1 - confidence, successes, n - successes + 1) if successes else 0.0
    high = stats.beta.ppf(confidence, successes + 1, n - successes) if successes < n else 1.0
    return Estimate(
        value=value,
        low=float(low),
        high=float(high),
        n=n,
        confidence=confidence,
        method="Clopper-Pearson",
        deviation=float(np.sqrt(value * (1 - value))),
    )


def difference_score(flips: Flips, difference: float) -> float:
    """Return Tango's standardized distance of the data from a true `difference`."""
    score = difference_scores(
        np.array([flips.lost], dtype=float),
        np.array([flips.gained], dtype=float),
        n=flips.n,
        difference=difference,
    )
    return float(score[0])


def difference_scores(lost: Floats, gained: Floats, *, n: int, difference: float) -> Floats:
    """Return Tango's score for many outcomes at once."""
    a = 2 * n
    b = -gained - lost + (2 * n - gained + lost) * difference
    c = -lost * difference * (1 - difference)
    only_parent = (np.sqrt(np.maximum(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = n * (2 * only_parent + difference * (1 - difference))
    return _standardize(gained - lost - n * difference, variance)


def ratio_score(flips: Flips, ratio: float) -> float:
    """Return Tang, Tang and Chan's standardized distance of the data from a true `ratio`."""
    score = ratio_scores(
        np.array([flips.kept], dtype=float),
        np.array([flips.lost], dtype=float),
        np.array([flips.gained], dtype=float),
        n=flips.n,
        ratio=ratio,
    )
    return float(score[0])


def ratio_scores(kept: Floats, lost: Floats, gained: Floats, *, n: int, ratio: float) -> Floats:
    """Return Tang, Tang and Chan's score for many outcomes at once."""
    some = kept + gained + lost
    a = n * (1 + ratio)
    b = (kept + lost) * ratio**2 - (kept + gained + 2 * lost)
    c = lost * (1 - ratio) * some / n
    only_parent = (np.sqrt(np.maximum(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = n * (1 + ratio) * only_parent + some * (ratio - 1)
    return _standardize(kept + gained - (kept + lost) * ratio, variance)


def _standardize(distance: Floats, variance: Floats) -> Floats:
    """Return distance over deviation; where nothing varies, ±inf or 0."""
    flat = variance <= 1e-12
    safe = np.sqrt(np.where(flat, 1.0, variance))
    exact = np.where(np.abs(distance) <= 1e-12, 0.0, np.copysign(np.inf, distance))
    return np.asarray(np.where(flat, exact, distance / safe), dtype=np.float64)


def _solve(crosses: Callable[[float], float], *, left: float, right: float) -> float:
    """Return where a falling function crosses zero; the end it never reaches otherwise."""
    if crosses(right) > 0:
        return right
    if crosses(left) < 0:
        return left
    for _ in range(60):
        middle = (left + right) / 2
        if crosses(middle) > 0:
            left = middle
        else:
            right = middle
    return (left + right) / 2


def _described(flips: Flips) -> str:
    return f"{flips.lost} lost, {flips.gained} gained of {flips.n}"
