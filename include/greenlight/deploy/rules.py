"""What every rule has: its settings, what it sees, and how bounds become a verdict.

A rule passes only when the one-sided bound clears the limit, and fails only when the other bound
proves the limit broken; in between the evidence is insufficient. Limits are relative to blue,
measured at the same time: a ratio for times and lengths, a difference for shares.

Repeated looks are paid for. A rule may fail at any of the K looks of a step, and pass at any of its
C checkpoints; each look gets 1/K (each checkpoint 1/C) of the error allowed. By the union bound,
whatever the looks have in common, green exactly at a limit is failed wrongly, or passed, with at
most that error over the whole step.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from greenlight.core.types import JsonDict, Value
from greenlight.deploy.bounds import Bounds
from greenlight.deploy.counters import FirstTokens, LiveCounts, Unread
from greenlight.deploy.sample_size import settling_n
from greenlight.deploy.samples import Columns, Floats

Margin = Annotated[float, Field(gt=0, lt=1)]


NOT_READ = Unread(reason="nobody asked its engines")


class Verdict(StrEnum):
    """What a rule, or all of them, say about green."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    INSUFFICIENT = "insufficient"
    """More requests may settle it."""
    ERROR = "error"
    """It could not be measured."""
    NOT_APPLICABLE = "not applicable"
    """The rule has nothing to say here; it never makes a verdict by itself."""
    NOT_MEASURED = "not measured"
    """It could not be measured, and is not required: no verdict, but not silent about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """The confidence of one look: for a pass, and for a fail."""

    to_pass: float
    to_fail: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One colour. `live`: `None` when the router's counters could not be read.

    `first_tokens`: of all requests that its engines were asked, the load's too. `unanswered`:
    requests of the load that only the other colour has answered so far. Left out, the slow ones
    would be missing; they count as slower than every limit.
    """

    columns: Columns
    live: LiveCounts | None
    first_tokens: FirstTokens | Unread = NOT_READ
    unanswered: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Both colours at one look. `blue`: `None` in a first deployment.

    `equal_load`: both carry a comparable part of the traffic, so that times may be compared.
    """

    blue: Side | None
    green: Side
    equal_load: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the estimate must stay within; `None`: any."""

    at_least: float | None = None
    at_most: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleResult:
    """One rule's verdict with its numbers; `None`: there is none.

    `estimate` is what is limited: green over blue, green minus blue, or green alone. `low` and
    `high` are its one-sided bounds at `confidence`: a fail's own, else those that a pass needs.
    Shares are 0 to 1, times in seconds. `n_needed`: requests (prompts, for agreement) of each
    colour that would settle it.
    """

    rule: str
    verdict: Verdict
    reason: str
    blue: float | None = None
    green: float | None = None
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    confidence: float | None = None
    n_blue: int | None = None
    n_green: int | None = None
    n_needed: int | None = None

    def to_json(self) -> JsonDict:
        """Return plain JSON. An infinite number (failed requests, no bound) becomes `None`."""
        return {name: _finite(getattr(self, name)) for name in self.__slots__}


class Rule(Value):
    """Settings that all rules share.

    `required`: whether too little evidence keeps green from advancing. A rule that isn't required
    can only fail, or be impossible to measure. `why`: where the limit comes from.
    """

    name: Annotated[str, Field(min_length=1)]
    why: str = ""
    required: bool = True

    compares_times: ClassVar[bool] = False
    """Times depend on the load: they are only compared where both colours carry enough of it."""

    @abstractmethod
    def fewest(self, levels: Levels) -> int:
        """Return how many requests (prompts, for agreement) a pass takes at the very best."""

    @abstractmethod
    def _judge(self, seen: Observed, levels: Levels) -> RuleResult: ...

    def judge(self, seen: Observed, levels: Levels) -> RuleResult:
        """Judge one look."""
        if self.compares_times and not seen.equal_load:
            return self._without_numbers(
                Verdict.NOT_APPLICABLE,
                "times are not compared here: blue and green carry too different a load",
            )
        found = self._judge(seen, levels)
        if found.verdict is Verdict.INSUFFICIENT and not self.required:
            return _with_verdict(found, Verdict.NOT_APPLICABLE, "not required; " + found.reason)
        return found

    def _without_numbers(self, verdict: Verdict, reason: str) -> RuleResult:
        return RuleResult(rule=self.name, verdict=verdict, reason=reason)

    def _nothing_live(self) -> RuleResult:
        return self._without_numbers(Verdict.NOT_APPLICABLE, "no blue to compare with")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a rule found, ready for a verdict. `says`: the numbers as a phrase.

    `bounds_at` returns the bounds of the estimate at a confidence. `fewest`: what a pass takes at
    the very best. `faultless`: this is the very best, so `fewest` is what it takes.
    """

    rule: str
    says: str
    bounds_at: Callable[[float], Bounds]
    limits: Limits
    limit_says: str
    show: Callable[[float], str]
    blue: float | None
    green: float
    n_blue: int | None
    n_green: int
    fewest: int
    faultless: bool = False

    def judged(self, levels: Levels) -> RuleResult:
        """Return the verdict."""
        bounds, confidence = self.bounds_at(levels.to_fail), levels.to_fail
        verdict = Verdict.FAIL if _broken(bounds, self.limits) else Verdict.INSUFFICIENT
        if verdict is not Verdict.FAIL:
            bounds, confidence = self.bounds_at(levels.to_pass), levels.to_pass
            verdict = Verdict.PASS if _cleared(bounds, self.limits) else verdict
        needed = self._needed(bounds) if verdict is Verdict.INSUFFICIENT else None
        return RuleResult(
            rule=self.rule,
            verdict=verdict,
            reason=self._reason(verdict, bounds, confidence, needed),
            blue=self.blue,
            green=self.green,
            estimate=bounds.value,
            low=bounds.low,
            high=bounds.high,
            at_least=self.limits.at_least,
            at_most=self.limits.at_most,
            confidence=confidence,
            n_blue=self.n_blue,
            n_green=self.n_green,
            n_needed=needed,
        )

    def _needed(self, bounds: Bounds) -> int | None:
        n = self.n_green if self.n_blue is None else min(self.n_green, self.n_blue)
        sides = ((self.limits.at_least, bounds.low), (self.limits.at_most, bounds.high))
        needed = self.fewest
        if self.faultless:
            return needed
        for limit, bound in sides:
            if limit is not None:
                settles = settling_n(n, estimate=bounds.value, bound=bound, limit=limit)
                if settles is None:
                    return self.fewest if n < self.fewest else None
                needed = max(needed, settles)
        return needed

    def _reason(
        self, verdict: Verdict, bounds: Bounds, confidence: float, needed: int | None
    ) -> str:
        between = f"between {self.show(bounds.low)} and {self.show(bounds.high)}"
        found = f"{self.says}, {between} at {confidence:.2%} confidence; limit {self.limit_says}"
        if verdict is not Verdict.INSUFFICIENT:
            return f"{found} {'kept' if verdict is Verdict.PASS else 'broken'}"
        many = f"about {needed:,} would settle it" if needed else "more of the same would not do"
        n = f"{self.n_green:,}" if self.n_blue is None else f"{self.n_blue:,} and {self.n_green:,}"
        return f"{found} neither kept nor broken by {n}; {many}"


def _cleared(bounds: Bounds, limits: Limits) -> bool:
    above = limits.at_least is None or bounds.low >= limits.at_least
    return above and (limits.at_most is None or bounds.high <= limits.at_most)


def _broken(bounds: Bounds, limits: Limits) -> bool:
    below = limits.at_least is not None and bounds.high < limits.at_least
    return below or (limits.at_most is not None and bounds.low > limits.at_most)


def measured(values: Floats) -> Floats:
    """Return the values that there are: all but NaN."""
    return values[~np.isnan(values)]


def _with_verdict(result: RuleResult, verdict: Verdict, reason: str) -> RuleResult:
    kept = {name: getattr(result, name) for name in result.__slots__}
    return RuleResult(**(kept | {"verdict": verdict, "reason": reason}))


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
