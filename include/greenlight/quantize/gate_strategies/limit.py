"""An absolute limit: a minimum, a maximum, or both."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from greenlight.quantize.gate_strategies.base import GateRule
from greenlight.quantize.gate_strategies.bounds import Decision, decide
from greenlight.quantize.measurements import GateResult, Metric, Verdict


class Limit(GateRule):
    """Keep a metric within limits.

    `uses: bound` demands that the whole interval lies inside, which for a minimum and a maximum
    together is an equivalence test (two one-sided tests). `uses: value` compares the number itself:
    for what is counted exactly (bytes, overlaps), not for what was sampled.
    """

    strategy: Literal["limit"] = "limit"
    min: float | None = None
    max: float | None = None
    uses: Literal["bound", "value"] = "bound"

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self

    def judge(self, metric: Metric) -> GateResult:
        """Pass when every limit is kept; the side that decides is reported."""
        judged = metric
        if self.uses == "value":
            judged = metric.model_copy(update={"low": metric.value, "high": metric.value})
        sides: list[tuple[float, Decision]] = []
        if self.max is not None:
            sides.append((self.max, decide(judged, limit=self.max, better="lower")))
        if self.min is not None:
            sides.append((self.min, decide(judged, limit=self.min, better="higher")))
        order = [Verdict.FAIL, Verdict.INSUFFICIENT, Verdict.PASS]
        limit, worst = min(sides, key=lambda side: order.index(side[1].verdict))
        reason = worst.reason
        if self.uses == "value":
            reason = f"{metric.value:.4g} against a limit of {limit:.4g}"
        return self.result(
            metric,
            worst.verdict,
            reason,
            bound=worst.bound,
            limit=limit,
            n_needed=worst.n_needed,
        )
