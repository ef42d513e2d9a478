"""How many items a verdict would take."""

from __future__ import annotations

import math
from statistics import NormalDist

POWER = 0.95


def n_needed(
    *, gap: float, deviation: float, confidence: float = 0.95, power: float = POWER
) -> int | None:
    """Return how many independent items settle a one-sided question.

    `gap` is the distance of the true value from the limit and `deviation` one item's standard
    deviation, in the same unit: `n = ((z_confidence + z_power) * deviation / gap)²`. `None` when
    the true value lies on the limit, where no number settles it.
    """
    if gap == 0:
        return None
    z = NormalDist()
    reach = z.inv_cdf(confidence) + z.inv_cdf(power)
    return max(1, math.ceil((reach * deviation / abs(gap)) ** 2))


def paired_n_needed(
    *,
    flip_rate: float,
    margin: float,
    true_loss: float = 0.0,
    confidence: float = 0.95,
    power: float = POWER,
) -> int | None:
    """Return the items that show a loss of accuracy to be within `margin`.

    Losses are in points of accuracy (0.05 is five points); `flip_rate` is the share of items that
    exactly one of the two models gets right.
    """
    deviation = math.sqrt(max(flip_rate - true_loss**2, 0.0))
    return n_needed(gap=margin - true_loss, deviation=deviation, confidence=confidence, power=power)
