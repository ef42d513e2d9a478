"""Money as whole billionths of a currency unit, shared out without losing or making any.

A tenant's part of an hour can be far below a cent. Integers keep sums exact: what is shared out
adds up to what there was, always. Decimals are for people and files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal

from greenlight.core.errors import InputError

NANO = Decimal("1e-9")
_RESOLUTION = 1 << 50
"""Weights below this part of the largest get nothing: less than a billionth of any real bill."""


def to_nanos(amount: Decimal) -> int:
    """Return an amount in billionths; half a billionth goes to the even one.

    Raises:
        InputError: it isn't a number.
    """
    if not amount.is_finite():
        raise InputError(f"{amount} is no amount of money")
    return int((amount / NANO).to_integral_value(rounding=ROUND_HALF_EVEN))


def from_nanos(nanos: int) -> Decimal:
    """Return billionths as an amount."""
    return Decimal(nanos).scaleb(-9)


def split(total: int, weights: Sequence[float]) -> tuple[int, ...]:
    """Share out `total` by weights, to the last unit; a credit is shared out as a debt is.

    Everyone gets the whole part of what is due; the units left go to the largest remainders, the
    first of equals first (Hamilton's method).

    Raises:
        InputError: there is no weight above zero, or one is negative or no number.
    """
    return share_out(total, whole_weights(weights))


def whole_weights(weights: Sequence[float]) -> tuple[int, ...]:
    """Return weights as whole numbers, for several totals that are shared out alike.

    Raises:
        InputError: as `split`.
    """
    largest, total = max(weights, default=0.0), sum(weights)
    if not 0 < largest < math.inf or total != total or min(weights) < 0:
        raise InputError(
            f"nothing can be shared out by {list(weights)}: weights must be numbers of 0 or more, "
            "and one of them above 0"
        )
    return tuple([round(weight / largest * _RESOLUTION) for weight in weights])


def share_out(total: int, weights: tuple[int, ...]) -> tuple[int, ...]:
    """Share out `total` by `whole_weights`, as `split` does."""
    amount, everything = abs(total), sum(weights)
    parts = [amount * weight // everything for weight in weights]
    if left := amount - sum(parts):
        over = [amount * weight % everything for weight in weights]
        for i in sorted(range(len(over)), key=over.__getitem__, reverse=True)[:left]:
            parts[i] += 1
    return tuple(parts) if total >= 0 else tuple(-part for part in parts)
