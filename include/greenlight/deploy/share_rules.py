"""Rules on shares of requests that are bad in some way: green's against blue's, or green's alone.

Requests are the unit. Only for golden-text agreement the prompt is: asked again, a deterministic
model repeats itself and proves nothing new.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from greenlight.deploy import bounds
from greenlight.deploy.bounds import Bounds
from greenlight.deploy.rules import (
    Comparison,
    Levels,
    Limits,
    Margin,
    Observed,
    Rule,
    RuleResult,
    Side,
    Verdict,
    measured,
)
from greenlight.deploy.sample_size import faultless_n


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """`bad` of `n` requests (or prompts)."""

    bad: int
    n: int


class BadShare(Rule):
    """A share of requests that are bad in some way: green's at most `margin` above blue's.

    `alone`: the most that green may have by itself, where blue has nothing to compare with.
    `None`: the rule says nothing in a first deployment.
    """

    margin: Margin
    alone: Margin | None = None

    bad_word: ClassVar[str]
    blue_may_have_none: ClassVar[bool] = False
    """Whether a blue without a single request is normal, so that green is judged alone."""

    @abstractmethod
    def _count(self, side: Side) -> Count | None:
        """Return what a colour has; `None`: it could not be measured."""

    def fewest(self, levels: Levels) -> int:
        """Return the requests that pass when not a single one is bad."""
        return faultless_n(self.margin, confidence=levels.to_pass)

    def _judge(self, seen: Observed, levels: Levels) -> RuleResult:
        green = self._count(seen.green)
        if green is None or (seen.blue is not None and self._count(seen.blue) is None):
            return self._without_numbers(Verdict.ERROR, f"{self.bad_word}: counters are missing")
        blue = Count(bad=0, n=0) if seen.blue is None else self._count(seen.blue)
        assert blue is not None
        if seen.blue is None or (blue.n == 0 and self.blue_may_have_none):
            return self._alone(green, seen, levels)
        if not (blue.n and green.n):
            return self._unmeasured(blue, green)
        return self._compared(blue, green, seen, levels)

    def _unmeasured(self, blue: Count, green: Count) -> RuleResult:
        return self._without_numbers(
            Verdict.ERROR,
            f"{self.bad_word}: nothing was measured: blue has {blue.n:,}, green {green.n:,}",
        )

    def _compared(self, blue: Count, green: Count, seen: Observed, levels: Levels) -> RuleResult:
        related = self._correlation(seen)

        def at(confidence: float) -> Bounds:
            each = (bounds.share(count.bad, count.n, confidence) for count in (green, blue))
            return bounds.difference(*each, correlation=related)

        of_blue, of_green = blue.bad / blue.n, green.bad / green.n
        shown = f"{self.bad_word} {of_green:.2%} ({green.bad:,} of {green.n:,}) against"
        return Comparison(
            rule=self.name,
            says=f"{shown} {of_blue:.2%} is {_points(of_green - of_blue)}",
            bounds_at=at,
            limits=Limits(at_most=self.margin),
            limit_says=_points(self.margin),
            show=_points,
            blue=of_blue,
            green=of_green,
            n_blue=blue.n,
            n_green=green.n,
            fewest=self.fewest(levels),
            faultless=not (green.bad or blue.bad),
        ).judged(levels)

    def _alone(self, green: Count, seen: Observed, levels: Levels) -> RuleResult:
        if self.alone is None:
            if seen.blue is None:
                return self._nothing_live()
            return self._without_numbers(
                Verdict.INSUFFICIENT, f"{self.bad_word}: blue has nothing to compare with"
            )
        if not green.n:
            return self._unmeasured(Count(bad=0, n=0), green)
        of_green = green.bad / green.n
        return Comparison(
            rule=self.name,
            says=f"{self.bad_word} {of_green:.2%} ({green.bad:,} of {green.n:,}), green alone,",
            bounds_at=partial(bounds.share, green.bad, green.n),
            limits=Limits(at_most=self.alone),
            limit_says=f"{self.alone:.2%}",
            show="{:.2%}".format,
            blue=None,
            green=of_green,
            n_blue=None,
            n_green=green.n,
            fewest=faultless_n(self.alone, confidence=levels.to_pass),
            faultless=not green.bad,
        ).judged(levels)

    def _correlation(self, seen: Observed) -> float:
        return 0.0


class Errors(BadShare):
    """Requests of the load that were not answered to their end."""

    strategy: Literal["errors"]
    bad_word: ClassVar[str] = "failed requests"

    def _count(self, side: Side) -> Count:
        return Count(bad=int((~side.columns.ok).sum()), n=side.columns.n)


class LiveErrors(BadShare):
    """Requests of clients that failed, by the router's counters.

    Without client traffic there is nothing to count: the verdict is then `insufficient` when the
    rule is required, else it does not apply. Counters that cannot be read are an error either way.
    The router counts a failed connection for every attempt, so errors may exceed requests; then
    all failed.
    """

    strategy: Literal["live_errors"]
    required: bool = False
    bad_word: ClassVar[str] = "failed live requests"
    blue_may_have_none: ClassVar[bool] = True

    def _count(self, side: Side) -> Count | None:
        if side.live is None:
            return None
        return Count(bad=min(side.live.errors, side.live.requests), n=side.live.requests)

    def _unmeasured(self, blue: Count, green: Count) -> RuleResult:
        return self._without_numbers(
            Verdict.INSUFFICIENT,
            f"no live traffic: blue has {blue.n:,} requests, green {green.n:,}",
        )


class Goodput(BadShare):
    """Streams that missed the objective: first token within `ttft_s`, mean gap within `gap_s`.

    A failed or unanswered request missed it. An answer of one token has no gap to miss. Requests
    that are not streamed have no first token and are left out.
    """

    strategy: Literal["goodput"]
    ttft_s: Annotated[float, Field(gt=0)]
    gap_s: Annotated[float, Field(gt=0)]
    compares_times: ClassVar[bool] = True
    bad_word: ClassVar[str] = "missed objectives"

    def _count(self, side: Side) -> Count:
        ttft, gap = side.columns.ttft, side.columns.gap
        streamed = ~np.isnan(ttft)
        missed = streamed & ((ttft > self.ttft_s) | (gap > self.gap_s))
        late = side.unanswered if streamed.any() else 0
        return Count(bad=int(missed.sum()) + late, n=int(streamed.sum()) + late)


class Stops(BadShare):
    """Answers that did not end by themselves (`finish_reason` other than `stop`)."""

    strategy: Literal["stops"]
    bad_word: ClassVar[str] = "answers cut off"

    def _count(self, side: Side) -> Count:
        stop = measured(side.columns.stop)
        return Count(bad=int((stop == 0).sum()), n=int(stop.size))


class Agreement(BadShare):
    """Golden prompts whose text is not the one recorded, paired by prompt.

    A prompt counts as changed when half of its answers or more are. Where nothing was recorded for
    blue, green is judged alone.
    """

    strategy: Literal["agreement"]
    bad_word: ClassVar[str] = "changed golden answers"
    blue_may_have_none: ClassVar[bool] = True

    def _judge(self, seen: Observed, levels: Levels) -> RuleResult:
        if not self._count(seen.green).n:
            return self._without_numbers(Verdict.ERROR, "no golden answer of green was compared")
        return super()._judge(seen, levels)

    def _count(self, side: Side) -> Count:
        changed = _changed(side)
        return Count(bad=sum(changed.values()), n=len(changed))

    def _correlation(self, seen: Observed) -> float:
        """Return phi of the prompts both answered, corrected as in Newcombe's method 10."""
        assert seen.blue is not None
        blue, green = _changed(seen.blue), _changed(seen.green)
        both = blue.keys() & green.keys()
        a = sum(blue[p] and green[p] for p in both)
        b = sum(blue[p] and not green[p] for p in both)
        c = sum(green[p] and not blue[p] for p in both)
        d = len(both) - a - b - c
        spread = float((a + b) * (c + d) * (a + c) * (b + d)) ** 0.5
        product, half = a * d - b * c, len(both) / 2
        corrected = max(product - half, 0.0) if product > 0 else product
        return corrected / spread if spread else 0.0


def _changed(side: Side) -> dict[int, bool]:
    known = ~np.isnan(side.columns.agrees)
    prompts, index = np.unique(side.columns.prompt[known], return_inverse=True)
    if not prompts.size:
        return {}
    agreed = np.bincount(index, weights=side.columns.agrees[known]) / np.bincount(index)
    return {int(p): bool(a <= 0.5) for p, a in zip(prompts, agreed, strict=True)}


def _points(value: float) -> str:
    return f"{value * 100:+.2f} points"
