"""Smaller than a named baseline by at least so much."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from greenlight.quantize.gate_strategies.base import GateRule
from greenlight.quantize.measurements import GateResult, Metric, Verdict


class Reduction(GateRule):
    """A reduction of bytes; the metric is the ratio to the baseline, counted exactly.

    `baseline` must be the one that the metric names: "80 % smaller" against FP32 is 60 % against
    BF16, and a gate that does not know which it looks at means nothing.
    """

    strategy: Literal["reduction"] = "reduction"
    at_least_reduced: Annotated[float, Field(gt=0, lt=1)]
    baseline: Annotated[str, Field(min_length=1)]

    def judge(self, metric: Metric) -> GateResult:
        """Pass when the bytes fell by the share asked for, against the baseline asked for."""
        limit = 1 - self.at_least_reduced
        if metric.baseline is None or _dtypes(self.baseline) not in _dtypes(metric.baseline):
            return self.result(
                metric,
                Verdict.INSUFFICIENT,
                f"measured against {metric.baseline or 'nothing named'}, not {self.baseline}",
                limit=limit,
            )
        enough = metric.value <= limit
        return self.result(
            metric,
            Verdict.PASS if enough else Verdict.FAIL,
            f"{1 - metric.value:.1%} smaller than {metric.baseline}, "
            f"asked for {self.at_least_reduced:.1%}",
            bound=metric.value,
            limit=limit,
        )


def _dtypes(baseline: str) -> str:
    """Return a baseline with its dtype in the short spelling: `float32` is `fp32`."""
    short = baseline.lower()
    for long, brief in (("bfloat16", "bf16"), ("float32", "fp32"), ("float16", "fp16")):
        short = short.replace(long, brief)
    return short
