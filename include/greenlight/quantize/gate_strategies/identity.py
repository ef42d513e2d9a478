"""What must be the same, exactly."""

from __future__ import annotations

from typing import Literal

from greenlight.quantize.gate_strategies.base import GateRule
from greenlight.quantize.measurements import GateResult, Metric, Verdict


class Identity(GateRule):
    """The value must equal `equals`: 0 differences, or a share of 1."""

    strategy: Literal["identity"] = "identity"
    equals: Literal[0, 1]

    def judge(self, metric: Metric) -> GateResult:
        """Pass on exact equality; no interval can soften it."""
        same = metric.value == self.equals
        return self.result(
            metric,
            Verdict.PASS if same else Verdict.FAIL,
            f"{metric.value:g}, must be {self.equals}",
            bound=metric.value,
            limit=float(self.equals),
        )
