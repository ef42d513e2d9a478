"""Short dips: hosts that would come back soon are cheaper kept than stopped and started."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from greenlight.scaling.demand_series import Counts


def fill_gaps(needed: Counts, longest: int, *, circular: bool = False) -> Counts:
    """Return `needed` with every dip of at most `longest` steps filled up to its edges.

    Host by host (the k-th is needed when k or more are) this keeps one that would be idle for at
    most `longest` steps. `circular`: the last step is followed by the first, as in a week.
    """
    if longest < 1 or not needed.size:
        return needed
    padded = np.pad(needed, longest + 1, mode="wrap" if circular else "constant")
    size = longest + 1
    dilated = ndimage.maximum_filter1d(padded, size, origin=-(size // 2), mode="nearest")
    closed = ndimage.minimum_filter1d(dilated, size, origin=(size - 1) // 2, mode="nearest")
    return np.asarray(closed[longest + 1 : longest + 1 + needed.size])


def ahead(needed: Counts, steps: int) -> Counts:
    """Return the most that is needed in each step and the `steps` after it."""
    if steps < 1:
        return needed
    padded = np.pad(needed, (0, steps), mode="edge")
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, steps + 1).max(axis=1))
