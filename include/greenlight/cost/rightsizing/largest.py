"""High quantiles of any run of days, from the largest values of each day.

A P99.5 of two weeks lies among the largest few of each day. A backtest asks for it at every origin,
of windows that share most of their days; each day is looked at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np

from greenlight.cost.rightsizing.series import Floats, Microseconds, UsageSeries

_EXACT = 1 - 1e-12
"""Against the last bit of a product, as in `series.weighted_quantile`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Largest:
    """The largest values of a part of a series, and the weight of the whole part."""

    values: Floats
    weights: Microseconds
    total: int

    @classmethod
    def of(cls, values: Floats, weights: Microseconds, most: int) -> Largest:
        """Keep the `most` largest values, and those that equal the last of them."""
        total = int(weights.sum())
        if values.size > most:
            kept = values >= np.partition(values, values.size - most)[values.size - most]
            values, weights = values[kept], weights[kept]
        return cls(values=values, weights=weights, total=total)

    def over(self, base: float) -> Largest:
        """Return the same as multiples of `base`; of nothing, everything is none."""
        values = self.values / base if base else np.zeros(self.values.size)
        return Largest(values=values, weights=self.weights, total=self.total)


@dataclass(frozen=True, slots=True, kw_only=True)
class DayPeaks:
    """The largest values of parts of one series, remembered by where they begin and end.

    `most`: enough for every quantile from the lowest asked for on, over the longest window.
    """

    most: int
    _known: dict[tuple[np.datetime64, np.datetime64], Largest] = field(default_factory=dict)

    @classmethod
    def of(cls, series: UsageSeries, *, lowest: float, longest: timedelta) -> DayPeaks:
        """Return an empty memory for a series."""
        least = int(series.weights.min()) if series.weights.size else 1
        above = (1 - lowest * _EXACT) * (longest / timedelta(microseconds=1))
        return cls(most=int(above / max(1, least)) + 2)

    def between(self, series: UsageSeries, start: np.datetime64, end: np.datetime64) -> Largest:
        """Return the largest values of a part of the series, or of a part of it."""
        key = (start, end)
        if key not in self._known:
            part = series.between(start, end)
            self._known[key] = Largest.of(part.values, part.weights, self.most)
        return self._known[key]

    def running(self, days: Sequence[Largest], q: float) -> Floats:
        """Return the quantile of the first day, of the first two, and so on; NaN: no sample yet."""
        found = np.full(len(days), np.nan)
        values, weights, total = np.array([]), np.array([], dtype=np.int64), 0
        for i, day in enumerate(days):
            values = np.concatenate((values, day.values))
            weights = np.concatenate((weights, day.weights))
            total += day.total
            order = values.argsort()[-self.most :]
            values, weights = values[order], weights[order]
            if values.size:
                found[i] = values[_place(weights, total, q)]
        return found


def quantile_of(days: Sequence[Largest], q: float) -> float:
    """Return the quantile of all days together; NaN: there is no sample."""
    values = np.concatenate([day.values for day in days]) if days else np.array([])
    if not values.size:
        return np.nan
    order = values.argsort()
    weights = np.concatenate([day.weights for day in days])[order]
    return float(values[order][_place(weights, sum(day.total for day in days), q)])


def _place(weights: Microseconds, total: int, q: float) -> int:
    """Return where the quantile is among the largest values, which are in order."""
    reached = weights.cumsum()
    return int(reached.searchsorted(q * total * _EXACT - (total - int(reached[-1]))))
