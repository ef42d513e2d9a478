"""KRR's rule: a percentile of the points for CPU, the peak and a buffer for memory."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from greenlight.cost.rightsizing.advice import Sized
from greenlight.cost.rightsizing.backtest import Answer
from greenlight.cost.rightsizing.series import UsageSeries
from greenlight.cost.rightsizing.strategies.base import SizingRule, history_of


class Krr(SizingRule):
    """The `simple` strategy of robusta-dev/krr, for comparison.

    Its defaults: P95 of CPU (P99 in its older versions), peak memory + 15 %, two weeks (336 h), at
    least 100 points, interpolated between points as `quantile_over_time` does
    (`robusta_krr/strategies/simple.py`). It has no notion of time: every point counts the same.
    """

    strategy: Literal["krr"] = "krr"
    min_samples: Annotated[int, Field(ge=1)] = 100
    cpu_percentile: Annotated[float, Field(gt=0, le=100)] = 95.0
    memory_buffer_percentage: Annotated[float, Field(gt=0)] = 15.0

    def size(self, history: UsageSeries) -> Answer:
        """Return the percentile, or the peak and its buffer."""
        recent = self.recent(history)
        if (lacking := self.lacking(recent)) is not None:
            return lacking
        if recent.resource.kills:
            peak = float(recent.values.max())
            capacity = peak * (1 + self.memory_buffer_percentage / 100)
            why = f"peak {peak:.4g} + {self.memory_buffer_percentage:g} %"
        else:
            capacity = float(np.percentile(recent.values, self.cpu_percentile))
            why = f"P{self.cpu_percentile:g} of {recent.values.size} points"
        return Sized(capacity=capacity, why=why, history=history_of(recent))
