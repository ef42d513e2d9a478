"""The rule of Kubernetes' Vertical Pod Autoscaler: a percentile of a decaying histogram."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from greenlight.cost.rightsizing.advice import Sized
from greenlight.cost.rightsizing.backtest import Answer
from greenlight.cost.rightsizing.series import DAY, Floats, UsageSeries
from greenlight.cost.rightsizing.strategies.base import SizingRule, history_of

_A_DAY_OF_SAMPLES = 24 * 60
"""The recommender counts on one sample a minute."""

Quantile = Annotated[float, Field(gt=0, le=1)]


class Vpa(SizingRule):
    """The recommender of kubernetes/autoscaler, for comparison.

    Its defaults (`pkg/recommender/logic/recommender.go`, `logic/estimator.go`,
    `util/histogram.go`, `util/histogram_options.go`, `model/aggregations_config.go`): buckets that
    grow by 5 %, the first of 0.01 cores or 10 MB; weights halve every 24 hours; target P90, bounds
    P50 and P95, all + 15 %; memory by the peak of each day. Bounds widen with little history: the
    upper one by 1 + 1/days, the lower one by (1 + 0.001/days)^-2. A percentile is its bucket's end,
    so that sizes move in steps of 5 %. Its smallest size (25 millicores, 250 MB) is left out.
    """

    strategy: Literal["vpa"] = "vpa"
    lookback_days: Annotated[float, Field(gt=0)] = 8.0
    target: Quantile = 0.9
    lower: Quantile = 0.5
    upper: Quantile = 0.95
    margin: Annotated[float, Field(ge=0)] = 0.15
    half_life_hours: Annotated[float, Field(gt=0)] = 24.0
    bucket_ratio: Annotated[float, Field(gt=1)] = 1.05
    first_bucket: Annotated[float, Field(gt=0)] = 0.01
    first_memory_bucket: Annotated[float, Field(gt=0)] = 1e7

    def size(self, history: UsageSeries) -> Answer:
        """Return the target with its bounds."""
        recent = self.recent(history)
        if (lacking := self.lacking(recent)) is not None:
            return lacking
        values, age = self._samples(recent)
        weights = 2.0 ** -(age / self.half_life_hours)
        ends, reached = self._histogram(values, weights, kills=recent.resource.kills)
        target, low, high = (
            ends[np.searchsorted(reached, q * reached[-1] * (1 - 1e-12))] * (1 + self.margin)
            for q in (self.target, self.lower, self.upper)
        )
        days = min(recent.span / DAY, recent.values.size / _A_DAY_OF_SAMPLES)
        return Sized(
            capacity=float(target),
            low=float(low * (1 + 0.001 / days) ** -2),
            high=float(high * (1 + 1 / days)),
            why=f"P{100 * self.target:g} with a half-life of {self.half_life_hours:g} h "
            f"+ {self.margin:.0%}",
            history=history_of(recent),
        )

    def _samples(self, recent: UsageSeries) -> tuple[Floats, Floats]:
        """Return values and their age in hours: every sample, or each day's peak of memory."""
        age = (recent.end - recent.times) / np.timedelta64(1, "h")
        if not recent.resource.kills:
            return recent.values, np.asarray(age, dtype=np.float64)
        day = np.floor(age / 24).astype(np.int64)
        days = np.unique(day)
        peaks = np.full(int(days.max()) + 1, -np.inf)
        np.maximum.at(peaks, day, recent.values)
        return peaks[days], np.asarray(days * 24, dtype=np.float64)

    def _histogram(self, values: Floats, weights: Floats, *, kills: bool) -> tuple[Floats, Floats]:
        """Return the ends of buckets up to the last that holds anything, and cumulated weights."""
        growth = self.bucket_ratio - 1
        first = self.first_memory_bucket if kills else self.first_bucket
        inside = np.log1p(values * growth / first) / np.log1p(growth)
        weight = np.bincount(np.floor(inside).astype(np.int64), weights=weights)
        ends = first * (self.bucket_ratio ** np.arange(1, weight.size + 1) - 1) / growth
        return np.asarray(ends, dtype=np.float64), np.cumsum(weight)
