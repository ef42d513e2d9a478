"""The values that evidence is made of. A number without its n and its interval is not a number."""

from __future__ import annotations

from enum import StrEnum

from greenlight.core.types import Value


class Verdict(StrEnum):
    """What a gate says. Only `PASS` lets anything continue."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    INSUFFICIENT = "insufficient"


class Metric(Value):
    """One measured number.

    `low` and `high` are one-sided bounds, each at `confidence` (0.95: the pair is a two-sided 90 %
    interval); `None` where the number is exact (bytes) or could not be bounded. `n` counts the
    independent things behind it (windows, items), not tokens inside a window. `baseline` names what
    a ratio or a difference is measured against, with its dtype.
    """

    name: str
    value: float
    unit: str
    n: int
    low: float | None = None
    high: float | None = None
    confidence: float = 0.95
    method: str = "exact"
    baseline: str | None = None
    deviation: float | None = None
    """Standard deviation of one unit's contribution: what a sample-size calculation needs."""


class GateResult(Value):
    """What one gate said about one metric, with everything needed to argue about it."""

    gate: str
    metric: str
    verdict: Verdict
    reason: str
    value: float | None = None
    bound: float | None = None
    """The side of the interval that was compared."""
    limit: float | None = None
    n: int | None = None
    n_needed: int | None = None
    """How many units would settle it, when the verdict is `insufficient`."""


def overall(results: tuple[GateResult, ...]) -> Verdict:
    """Return `fail` if any gate failed, `pass` only if all passed, else `insufficient`."""
    verdicts = {result.verdict for result in results}
    if Verdict.FAIL in verdicts:
        return Verdict.FAIL
    return Verdict.PASS if verdicts == {Verdict.PASS} else Verdict.INSUFFICIENT
