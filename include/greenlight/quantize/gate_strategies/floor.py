"""A floor under speed, beside the parent in one run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from greenlight.quantize.gate_strategies.base import GateRule
from greenlight.quantize.measurements import GateResult, Metric, Verdict


class Floor(GateRule):
    """At least this value.

    The lower bound decides where one was measured, else the value itself: a throughput from one
    run has no interval, and a floor far below 1 is meant to catch the broken, not the slower.
    """

    strategy: Literal["floor"] = "floor"
    min: Annotated[float, Field(gt=0)]

    def judge(self, metric: Metric) -> GateResult:
        """Pass at or above the floor."""
        bound = metric.value if metric.low is None else metric.low
        verdict = Verdict.PASS
        if bound < self.min:
            proven = metric.high is None or metric.high < self.min
            verdict = Verdict.FAIL if proven else Verdict.INSUFFICIENT
        return self.result(
            metric,
            verdict,
            f"{bound:.3g} against a floor of {self.min:.3g}",
            bound=bound,
            limit=self.min,
        )
