"""The decision that all bounded gates share: proven inside, proven outside, or neither."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from greenlight.quantize.measurements import Metric, Verdict
from greenlight.quantize.sample_size import n_needed

Better = Literal["lower", "higher"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A verdict with the bound that made it."""

    verdict: Verdict
    reason: str
    bound: float | None
    n_needed: int | None = None


def decide(metric: Metric, *, limit: float, better: Better) -> Decision:
    """Compare a metric's interval with `limit`.

    Pass: the bound on the bad side is within the limit, so that a value beyond it would have been
    accepted with a probability of at most 1 - confidence. Fail: the bound on the good side is
    beyond the limit too. Otherwise the data cannot tell, and `n_needed` says how many units would
    settle it if the value measured were the true one.
    """
    worst, best = (metric.high, metric.low) if better == "lower" else (metric.low, metric.high)
    within, beyond = ("≤", ">") if better == "lower" else ("≥", "<")
    if worst is None or best is None:
        return Decision(
            verdict=Verdict.INSUFFICIENT,
            reason=f"{_number(metric.value)} could not be bounded from n={metric.n}",
            bound=None,
        )
    sign = 1 if better == "lower" else -1
    confidence = f"{metric.confidence:.0%}"
    if sign * worst <= sign * limit:
        return Decision(
            verdict=Verdict.PASS,
            reason=f"{confidence} bound {_number(worst)} {within} {_number(limit)}",
            bound=worst,
        )
    if sign * best > sign * limit:
        return Decision(
            verdict=Verdict.FAIL,
            reason=f"{confidence} sure of {beyond} {_number(limit)}: bound {_number(best)}",
            bound=best,
        )
    needed = None
    if metric.deviation is not None:
        needed = n_needed(
            gap=metric.value - limit, deviation=metric.deviation, confidence=metric.confidence
        )
    return Decision(
        verdict=Verdict.INSUFFICIENT,
        reason=(
            f"{_number(metric.value)} with bounds {_number(min(worst, best))} to "
            f"{_number(max(worst, best))} leaves {within} {_number(limit)} open at n={metric.n}"
        ),
        bound=worst,
        n_needed=needed,
    )


def _number(value: float) -> str:
    return f"{value:.4g}"
