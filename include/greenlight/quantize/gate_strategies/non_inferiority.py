"""Not worse than the parent by more than a margin, shown with a one-sided bound."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from greenlight.quantize.gate_strategies.base import GateRule
from greenlight.quantize.gate_strategies.bounds import Better, decide
from greenlight.quantize.measurements import GateResult, Metric


class NonInferiority(GateRule):
    """Non-inferiority of a ratio (1 is equal) or a difference (0 is equal) to the parent.

    The null hypothesis is "worse by the margin or more": a pass is a proof, not an absence of
    proof of harm. `margin` is on the metric's own scale: 0.05 allows a ratio of 1.05 where lower
    is better and 0.95 where higher is; for differences it is points (0.05 is five points).
    """

    strategy: Literal["non_inferiority"] = "non_inferiority"
    margin: Annotated[float, Field(gt=0, lt=1)]
    better: Better
    scale: Literal["ratio", "difference"]

    @property
    def limit(self) -> float:
        """The value that must be excluded."""
        equal = 1.0 if self.scale == "ratio" else 0.0
        return equal + self.margin if self.better == "lower" else equal - self.margin

    def judge(self, metric: Metric) -> GateResult:
        """Pass when the bound on the worse side clears the margin."""
        found = decide(metric, limit=self.limit, better=self.better)
        return self.result(
            metric,
            found.verdict,
            found.reason,
            bound=found.bound,
            limit=self.limit,
            n_needed=found.n_needed,
        )
