"""What every gate has: a name, the metrics it looks at, and the stage it belongs to."""

from __future__ import annotations

from abc import abstractmethod
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import Field

from greenlight.core.types import Value
from greenlight.quantize.measurements import GateResult, Metric, Verdict


class Stage(StrEnum):
    """When a gate can be judged: after measuring a candidate, or after serving the winner."""

    CANDIDATE = "candidate"
    SERVED = "served"


class GateRule(Value):
    """Settings that all strategies share.

    `metric` is a name or a pattern (`perplexity_ratio.*`): every metric that matches is judged by
    itself, and fewer than `at_least` of them is `insufficient`.
    """

    name: Annotated[str, Field(min_length=1)]
    metric: Annotated[str, Field(min_length=1)]
    at_least: Annotated[int, Field(ge=1)] = 1
    stage: Stage = Stage.CANDIDATE
    min_n: Annotated[int, Field(ge=0)] = 0
    """Below this many units the verdict is `insufficient`, whatever the numbers say."""
    why: str = ""
    """Where the limit comes from; shown beside the verdict."""

    @abstractmethod
    def judge(self, metric: Metric) -> GateResult:
        """Judge one metric that matches; `min_n` was already seen to."""

    def matching(self, metrics: tuple[Metric, ...]) -> tuple[Metric, ...]:
        """Return the metrics that this gate looks at."""
        return tuple(m for m in metrics if fnmatchcase(m.name, self.metric))

    def result(
        self,
        metric: Metric,
        verdict: Verdict,
        reason: str,
        *,
        bound: float | None = None,
        limit: float | None = None,
        n_needed: int | None = None,
    ) -> GateResult:
        """Return a verdict on `metric` with its numbers."""
        return GateResult(
            gate=self.name,
            metric=metric.name,
            verdict=verdict,
            reason=reason,
            value=metric.value,
            bound=bound,
            limit=limit,
            n=metric.n,
            n_needed=n_needed,
        )
