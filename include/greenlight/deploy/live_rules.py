"""Rules on how clients fare: who fails by the router's counters, who waits by engines'."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from greenlight.deploy import bounds
from greenlight.deploy.bounds import Bounds
from greenlight.deploy.counters import Unread
from greenlight.deploy.rules import Levels, Observed, RuleResult, Side, Verdict
from greenlight.deploy.samples import Columns
from greenlight.deploy.share_rules import BadShare, Count


class LiveShare(BadShare):
    """Requests of clients that are bad in some way.

    Without client traffic there is nothing to count: the verdict is then `insufficient` when the
    rule is required, else it does not apply.
    """

    required: bool = False
    blue_may_have_none: ClassVar[bool] = True

    def _unmeasured(self, blue: Count, green: Count) -> RuleResult:
        return self._without_numbers(
            Verdict.INSUFFICIENT,
            f"no live traffic: blue has {blue.n:,} requests, green {green.n:,}",
        )


class LiveErrors(LiveShare):
    """Requests of clients that failed, by the router's counters.

    Counters that cannot be read are an error, required or not. The router counts a failed
    connection for every attempt, so errors may exceed requests; then all failed.
    """

    strategy: Literal["live_errors"]
    bad_word: ClassVar[str] = "failed live requests"

    def _count(self, side: Side) -> Count | None:
        if side.live is None:
            return None
        return Count(bad=min(side.live.errors, side.live.requests), n=side.live.requests)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remaining(Count):
    """Clients' requests: what remains of all without the golden ones.

    `known`: golden streams, of which it is known whether they were late. `guessed`: how many golden
    requests are only assumed to be late as often; how far that may be off widens the bounds.
    """

    known: Count
    guessed: int

    def bounds(self, confidence: float) -> Bounds:
        """Bound the part that is bad; both uncertainties add like standard errors."""
        own = bounds.share(self.bad, self.n, confidence)
        if not self.guessed:
            return own
        share = self.known.share
        drawn = bounds.share(share * self.guessed, self.guessed, confidence)
        told = self.known.bounds(confidence)
        more = math.hypot(drawn.high - share, told.high - share) * self.guessed / self.n
        less = math.hypot(share - drawn.low, share - told.low) * self.guessed / self.n
        return bounds.difference(own, Bounds(value=0.0, low=-less, high=more))


class LiveFirstTokens(LiveShare):
    """Requests of clients whose first token came later than `ttft_s`, by engines' histograms.

    A histogram has buckets: the limit is the next bound at or above `ttft_s`, and the reason says
    which. Quantiles of buckets would be as coarse as these; a share at a bound is exact.

    Engines count the golden load too, which they get past the router. It is taken out again. Of it
    are at least those requests that were answered, and at least those that the engines counted
    beyond what the router sent them (golden answers that still stream); as many of them were late
    as of its own streams. What remains is clients', never more than the router counted.

    What that can't see: a request that still waits for its first token (the golden load's own
    rules count it as slow). The load's lateness is measured by its own clock, with the network on
    the way, so rather too much is taken out: a fault has to be a little larger to be seen. And
    while blue carries most of the traffic it is slower for it, which is in green's favour.

    Engines without such a histogram don't stop a rollout unless the rule is required; the verdict
    is then `not measured`.
    """

    strategy: Literal["live_ttft"]
    ttft_s: Annotated[float, Field(gt=0)]
    compares_times: ClassVar[bool] = True
    bad_word: ClassVar[str] = "late live first tokens"

    def _judge(self, seen: Observed, levels: Levels) -> RuleResult:
        sides = {"green": seen.green} | ({} if seen.blue is None else {"blue": seen.blue})
        if problem := self._problem(sides):
            verdict = Verdict.ERROR if self.required else Verdict.NOT_MEASURED
            return self._without_numbers(verdict, f"{self.bad_word}: {problem}")
        for name, side in sides.items():
            if not _streams(side.columns).any():
                return self._without_numbers(
                    Verdict.INSUFFICIENT,
                    f"{self.bad_word}: no golden stream of {name} is answered yet, so what is "
                    "clients' of its requests isn't known",
                )
        found, limit = super()._judge(seen, levels), self._limit(seen.green)
        if limit == self.ttft_s:
            return found
        next_bound = (
            f"later than {limit:g} s, the next bound of the histogram above {self.ttft_s:g}"
        )
        return replace(found, reason=f"{next_bound}: {found.reason}")

    def _problem(self, sides: Mapping[str, Side]) -> str | None:
        limits = set()
        for name, side in sides.items():
            if side.live is None:
                return f"{name}: the router's counters are missing"
            if isinstance(side.first_tokens, Unread):
                return f"{name}: {side.first_tokens.reason}"
            limits.add(self._limit(side))
            if None in limits:
                bounds = ", ".join(f"{bound:g}" for bound in side.first_tokens.bounds)
                return f"{name}: ttft_s {self.ttft_s:g} is above its histogram's bounds {bounds}"
        return None if len(limits) == 1 else "the colours' histograms have other bounds"

    def _limit(self, side: Side) -> float | None:
        found = side.first_tokens
        return None if isinstance(found, Unread) else found.bound_from(self.ttft_s)

    def _count(self, side: Side) -> Count | None:
        all_of_them, limit = side.first_tokens, self._limit(side)
        if side.live is None or isinstance(all_of_them, Unread) or limit is None:
            return None
        streams = _streams(side.columns)
        late = int((side.columns.ttft[streams] > limit).sum())
        known = Count(bad=late, n=int(streams.sum()))
        golden = max(int(side.columns.ok.sum()), all_of_them.n - side.live.requests)
        n = max(0, all_of_them.n - golden)
        bad = round(all_of_them.later_than(limit) - golden * known.share)
        return Remaining(
            bad=min(max(0, bad), n), n=n, known=known, guessed=max(0, golden - known.n)
        )


def _streams(columns: Columns) -> npt.NDArray[np.bool_]:
    """Return which requests were answered and have a first token."""
    return columns.ok & ~np.isnan(columns.ttft)
