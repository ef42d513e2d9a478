"""Rules on shares of requests that are bad in some way: green's against blue's, or green's alone.

Requests are the unit. Only for golden-text agreement the prompt is: asked again, a deterministic
model repeats itself and proves nothing new.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
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

    @property
    def share(self) -> float:
        """The part that is bad; `n` is at least 1."""
        return self.bad / self.n

    def bounds(self, confidence: float) -> Bounds:
        """Bound that part."""
        return bounds.share(self.bad, self.n, confidence)


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
        return self._compared(blue, green, levels)

    def _unmeasured(self, blue: Count, green: Count) -> RuleResult:
        return self._without_numbers(
            Verdict.ERROR,
            f"{self.bad_word}: nothing was measured: blue has {blue.n:,}, green {green.n:,}",
        )

    def _compared(self, blue: Count, green: Count, levels: Levels) -> RuleResult:
        def at(confidence: float) -> Bounds:
            return bounds.difference(green.bounds(confidence), blue.bounds(confidence))

        of_blue, of_green = blue.share, green.share
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
        return _judged_alone(self.name, self.bad_word, green, at_most=self.alone, levels=levels)


class Errors(BadShare):
    """Requests of the load that were not answered to their end."""

    strategy: Literal["errors"]
    bad_word: ClassVar[str] = "failed requests"

    def _count(self, side: Side) -> Count:
        return Count(bad=int((~side.columns.ok).sum()), n=side.columns.n)


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


class Agreement(Rule):
    """Golden prompts that green answers otherwise than its evidence recorded: at most `margin`.

    Green is judged alone: blue runs another version, of which the recording says nothing. A prompt
    counts as changed when half of its answers or more are. Where nothing was recorded there is
    nothing to compare: the verdict is `insufficient` when the rule is required, else it does not
    apply.
    """

    strategy: Literal["agreement"]
    margin: Margin

    def fewest(self, levels: Levels) -> int:
        """Return the prompts that pass when every one is answered as recorded."""
        return faultless_n(self.margin, confidence=levels.to_pass)

    def _judge(self, seen: Observed, levels: Levels) -> RuleResult:
        changed = _changed(seen.green)
        if not changed.n:
            return self._without_numbers(
                Verdict.INSUFFICIENT,
                "no answer was compared with a recorded one: the version's evidence holds none, or "
                "green answered none of its prompts",
            )
        return _judged_alone(
            self.name, "changed golden answers", changed, at_most=self.margin, levels=levels
        )


def _changed(side: Side) -> Count:
    known = ~np.isnan(side.columns.agrees)
    prompts, index = np.unique(side.columns.prompt[known], return_inverse=True)
    if not prompts.size:
        return Count(bad=0, n=0)
    agreed = np.bincount(index, weights=side.columns.agrees[known]) / np.bincount(index)
    return Count(bad=int((agreed <= 0.5).sum()), n=int(prompts.size))


def _judged_alone(
    rule: str, bad_word: str, green: Count, *, at_most: float, levels: Levels
) -> RuleResult:
    return Comparison(
        rule=rule,
        says=f"{bad_word} {green.share:.2%} ({green.bad:,} of {green.n:,}), green alone,",
        bounds_at=green.bounds,
        limits=Limits(at_most=at_most),
        limit_says=f"{at_most:.2%}",
        show="{:.2%}".format,
        blue=None,
        green=green.share,
        n_blue=None,
        n_green=green.n,
        fewest=faultless_n(at_most, confidence=levels.to_pass),
        faultless=not green.bad,
    ).judged(levels)


def _points(value: float) -> str:
    return f"{value * 100:+.2f} points"
