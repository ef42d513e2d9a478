"""Rules on the ratio of green to blue: quantiles of times, and lengths of answers.

Requests are the unit: what is said is said about the load that was sent.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from greenlight.deploy import bounds
from greenlight.deploy.bounds import Bounds
from greenlight.deploy.rules import (
    Comparison,
    Levels,
    Limits,
    Observed,
    Rule,
    RuleResult,
    Side,
    Verdict,
    measured,
)
from greenlight.deploy.sample_size import half_tail_n
from greenlight.deploy.samples import Floats


class TimeRatio(Rule):
    """A quantile of a time: green's at most `1 + margin` times blue's.

    Failed and unanswered requests count as slower than every limit. Read from `half_tail_n`
    requests on. More requests than `1 - quantile` may not fail on blue: then there is nothing to
    compare with.
    """

    strategy: Literal["time_ratio"]
    metric: Literal["ttft", "gap", "total"]
    quantile: Annotated[float, Field(gt=0, lt=1)]
    margin: Annotated[float, Field(gt=0)]

    compares_times: ClassVar[bool] = True

    def fewest(self, levels: Levels) -> int:
        """Return the half-tail n."""
        return half_tail_n(self.quantile)

    def _judge(self, seen: Observed, levels: Levels) -> RuleResult:
        if seen.blue is None:
            return self._nothing_live()
        blue, green = self._times(seen.blue), self._times(seen.green)
        counts = f"blue has {blue.size:,}, green {green.size:,}"
        if not (blue.size and green.size):
            return self._without_numbers(Verdict.ERROR, f"no {self.metric} was measured: {counts}")
        fewest = self.fewest(levels)
        if min(blue.size, green.size) < fewest:
            return RuleResult(
                rule=self.name,
                verdict=Verdict.INSUFFICIENT,
                reason=f"{self._label} needs {fewest:,} of each colour to be read; {counts}",
                n_blue=int(blue.size),
                n_green=int(green.size),
                n_needed=fewest,
            )
        return self._compared(blue, green, levels)

    def _compared(self, blue: Floats, green: Floats, levels: Levels) -> RuleResult:
        of_blue = bounds.quantile(blue, self.quantile, levels.to_pass).value
        of_green = bounds.quantile(green, self.quantile, levels.to_pass).value
        if np.isinf(of_blue):
            lost = float(np.isinf(blue).mean())
            return self._without_numbers(
                Verdict.ERROR, f"blue's {self._label} is a failed request: {lost:.1%} of its failed"
            )

        def at(confidence: float) -> Bounds:
            both = (bounds.quantile(v, self.quantile, confidence) for v in (green, blue))
            return bounds.ratio(*both)

        most = 1 + self.margin
        return Comparison(
            rule=self.name,
            says=f"{self._label} {_ms(of_green)} over {_ms(of_blue)} is {at(0.5).value:.3f}",
            bounds_at=at,
            limits=Limits(at_most=most),
            limit_says=f"{most:.3f}",
            show="{:.3f}".format,
            blue=of_blue,
            green=of_green,
            n_blue=int(blue.size),
            n_green=int(green.size),
            fewest=self.fewest(levels),
        ).judged(levels)

    @property
    def _label(self) -> str:
        return f"{self.metric} p{self.quantile * 100:g}"

    def _times(self, side: Side) -> Floats:
        found = measured(getattr(side.columns, self.metric))
        return np.append(found, np.full(side.unanswered, np.inf)) if found.size else found


class LengthRatio(Rule):
    """Mean tokens of an answer: green's within `1 + margin` of blue's, either way."""

    strategy: Literal["length_ratio"]
    margin: Annotated[float, Field(gt=0)]

    def fewest(self, levels: Levels) -> int:
        """Return 30: from there on, means of bounded counts are close enough to normal."""
        return 30

    def _judge(self, seen: Observed, levels: Levels) -> RuleResult:
        if seen.blue is None:
            return self._nothing_live()
        blue, green = (measured(side.columns.tokens) for side in (seen.blue, seen.green))
        counts = f"blue has {blue.size:,}, green {green.size:,}"
        if not (blue.size and green.size) or not blue.any():
            return self._without_numbers(Verdict.ERROR, f"no answer has a length: {counts}")
        if min(blue.size, green.size) < self.fewest(levels):
            return RuleResult(
                rule=self.name,
                verdict=Verdict.INSUFFICIENT,
                reason=f"lengths need {self.fewest(levels)} answers of each colour; {counts}",
                n_blue=int(blue.size),
                n_green=int(green.size),
                n_needed=self.fewest(levels),
            )
        most = 1 + self.margin
        of_blue, of_green = float(blue.mean()), float(green.mean())
        return Comparison(
            rule=self.name,
            says=f"{of_green:.1f} tokens over {of_blue:.1f} is {of_green / of_blue:.3f}",
            bounds_at=lambda c: bounds.ratio(bounds.mean(green, c), bounds.mean(blue, c)),
            limits=Limits(at_least=1 / most, at_most=most),
            limit_says=f"{1 / most:.3f} to {most:.3f}",
            show="{:.3f}".format,
            blue=of_blue,
            green=of_green,
            n_blue=int(blue.size),
            n_green=int(green.size),
            fewest=self.fewest(levels),
        ).judged(levels)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms" if np.isfinite(seconds) else "∞"
