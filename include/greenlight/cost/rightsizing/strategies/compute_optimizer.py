"""What AWS Compute Optimizer documents: P99.5 of CPU and 20 % of headroom over two weeks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from greenlight.cost.rightsizing.advice import NotEnoughData, Sized
from greenlight.cost.rightsizing.backtest import Answer
from greenlight.cost.rightsizing.series import HOUR, UsageSeries
from greenlight.cost.rightsizing.strategies.base import SizingRule, history_of


class ComputeOptimizerLike(SizingRule):
    """The documented defaults of AWS Compute Optimizer, for comparison; its model isn't public.

    `PutRecommendationPreferences`: threshold P99_5 and headroom PERCENT_20 for CPU, headroom
    PERCENT_20 on the peak of memory; lookback 14 days (32 and 93 by preference); at least 30 hours
    of metrics in it.
    """

    strategy: Literal["compute_optimizer_like"] = "compute_optimizer_like"
    cpu_quantile: Annotated[float, Field(gt=0, le=1)] = 0.995
    headroom: Annotated[float, Field(ge=0)] = 0.2
    min_hours: Annotated[float, Field(ge=0)] = 30.0

    def size(self, history: UsageSeries) -> Answer:
        """Return the quantile, or the peak of memory, and its headroom."""
        recent = self.recent(history)
        if (lacking := self.lacking(recent)) is not None:
            return lacking
        if recent.measured < self.min_hours * HOUR:
            return NotEnoughData(
                why=f"{recent.measured / HOUR:.1f} hours measured, "
                f"at least {self.min_hours:g} are needed"
            )
        quantile = 1.0 if recent.resource.kills else self.cpu_quantile
        used = recent.quantile(quantile)
        return Sized(
            capacity=used * (1 + self.headroom),
            why=f"P{100 * quantile:g} {used:.4g} + {self.headroom:.0%}",
            history=history_of(recent),
        )
