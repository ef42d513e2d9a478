"""Too good is suspicious: a quantized model does not beat its parent."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from greenlight.quantize.gate_strategies.base import GateRule
from greenlight.quantize.gate_strategies.bounds import Better
from greenlight.quantize.measurements import GateResult, Metric, Verdict


class Ceiling(GateRule):
    """Fail when the candidate is better than the parent beyond chance and beyond a margin.

    Quantizing removes information. A result well above the parent's has another cause: the
    evaluation text was in the calibration set, another model was measured, or the parent's numbers
    are stale. The burden is turned round: it passes unless the bound proves it too good.
    """

    strategy: Literal["ceiling"] = "ceiling"
    margin: Annotated[float, Field(gt=0, lt=1)]
    better: Better
    scale: Literal["ratio", "difference"]

    @property
    def limit(self) -> float:
        """The value that must not be proven surpassed."""
        equal = 1.0 if self.scale == "ratio" else 0.0
        return equal - self.margin if self.better == "lower" else equal + self.margin

    def judge(self, metric: Metric) -> GateResult:
        """Fail on proof of being better than the limit."""
        bound = metric.high if self.better == "lower" else metric.low
        if bound is None:
            return self.result(
                metric,
                Verdict.INSUFFICIENT,
                f"{metric.value:.4g} could not be bounded from n={metric.n}",
                limit=self.limit,
            )
        too_good = bound < self.limit if self.better == "lower" else bound > self.limit
        reason = (
            f"{metric.confidence:.0%} sure of better than {self.limit:.4g}: check for a leak"
            if too_good
            else f"not proven better than {self.limit:.4g}"
        )
        return self.result(
            metric,
            Verdict.FAIL if too_good else Verdict.PASS,
            reason,
            bound=bound,
            limit=self.limit,
        )
