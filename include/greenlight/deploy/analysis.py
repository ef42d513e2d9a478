"""Whether green is as good as blue, and what to do about it: wait, advance or roll back.

Blue and green are measured at the same time, look after look, while samples gather. A fail acts at
once, at any look. A pass counts only at a checkpoint: when the step's minimum time is over, and
after each extension. What is still undecided when the step's longest time is over goes back: a
timer never promotes. `rules` says how looking often is paid for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, model_validator

from greenlight.core.digest import digest_json
from greenlight.core.types import JsonDict, Value
from greenlight.deploy.analysis_presets import PRESETS
from greenlight.deploy.colours import Colour
from greenlight.deploy.counters import FirstTokens, LiveCounts, Unread
from greenlight.deploy.live_rules import LiveErrors, LiveFirstTokens, LiveShare
from greenlight.deploy.ratio_rules import LengthRatio, TimeRatio
from greenlight.deploy.rules import NOT_READ, Levels, Observed, Rule, RuleResult, Side, Verdict
from greenlight.deploy.samples import Columns, Sample, SampleSet
from greenlight.deploy.share_rules import Agreement, Errors, Goodput, Stops

__all__ = [
    "Action",
    "Analysis",
    "AnalysisSettings",
    "Decision",
    "LiveCounts",
    "Look",
    "RuleResult",
    "Sample",
    "SampleSet",
    "Verdict",
    "judge",
    "next_action",
    "overall",
]

Seconds = Annotated[float, Field(gt=0)]
AnyRule = Annotated[
    TimeRatio | LengthRatio | Errors | LiveErrors | LiveFirstTokens | Goodput | Stops | Agreement,
    Field(discriminator="strategy"),
]
"""Every rule there is. A new one is a class, its settings, and an entry here."""


class AnalysisSettings(Value):
    """How a step is judged. Fixed before looking; keys that aren't given come from `preset`.

    `step_min_s`: nothing advances earlier. `extension_s`, `max_extensions`: how long an undecided
    step goes on, and how often. `confidence`: of a rule's pass, and of its fail, over all looks of
    a step. `times_up_to_share`: up to this share of green, times are compared; at 100 % blue idles
    while green serves everybody, and green's times would say more about the load than about the
    version. (A rollout whose only step is 100 sets it to 100.)
    """

    preset: str = "standard"
    interval_s: Seconds
    step_min_s: Seconds
    extension_s: Seconds
    max_extensions: Annotated[int, Field(ge=0)]
    confidence: Annotated[float, Field(ge=0.5, lt=1)]
    times_up_to_share: Annotated[float, Field(ge=0, le=100)]
    rules: Annotated[tuple[AnyRule, ...], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        preset = given.get("preset", "standard")
        if preset not in PRESETS:
            raise ValueError(f"no analysis preset {preset!r}; there are {', '.join(PRESETS)}")
        return {**PRESETS[preset], **given}

    @model_validator(mode="after")
    def _named_once(self) -> AnalysisSettings:
        names = [rule.name for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two rules are named {', '.join(twice)}")
        return self

    @classmethod
    def of(cls, preset: str = "standard", **changes: Any) -> AnalysisSettings:
        """Return a preset with some keys changed."""
        return cls.model_validate({"preset": preset, **changes})

    @property
    def step_max_s(self) -> float:
        """The longest that a step may take before it goes back."""
        return self.step_min_s + self.max_extensions * self.extension_s

    @property
    def levels(self) -> Levels:
        """The confidence of each look and checkpoint, so that all of them together keep theirs."""
        looks = math.ceil(self.step_max_s / self.interval_s)
        error = 1 - self.confidence
        return Levels(to_pass=1 - error / (1 + self.max_extensions), to_fail=1 - error / looks)

    @property
    def digest(self) -> str:
        """The digest of everything that decides; names of presets and reasons do not."""
        return digest_json(
            self.model_dump(mode="json", exclude={"preset": True, "rules": {"__all__": {"why"}}})
        )

    def reads_engines(self, share: float) -> bool:
        """Return whether a rule is judged by engines' histograms at this share of green."""
        return share <= self.times_up_to_share and any(
            isinstance(rule, LiveFirstTokens) for rule in self.rules
        )

    def lasting(self, seconds: float) -> AnalysisSettings:
        """Return the same settings for a step that takes at least `seconds`, such as the bake."""
        return self.model_copy(update={"step_min_s": seconds})

    def checkpoints(self, elapsed_s: float) -> int:
        """Return how many checkpoints lie at or before this second of the step."""
        if elapsed_s < self.step_min_s:
            return 0
        return 1 + min(self.max_extensions, int((elapsed_s - self.step_min_s) / self.extension_s))

    def out_of_reach(
        self,
        *,
        rate: float,
        stream_share: float = 1.0,
        prompts: int | None = None,
        shares: Sequence[int] = (10, 50, 100),
    ) -> tuple[str, ...]:
        """Return which rules this load can never satisfy, before anything is shifted.

        `rate`: requests a second and colour. `prompts`: golden prompts with a recorded text.
        """
        problems = []
        for rule in self.rules:
            if rule.compares_times and min(shares) > self.times_up_to_share:
                problems.append(
                    f"rule {rule.name} is never judged: steps begin at {min(shares)} %, and times "
                    f"are compared up to {self.times_up_to_share:g} %; raise times_up_to_share"
                )
            available = self._available(rule, rate=rate, stream_share=stream_share, prompts=prompts)
            fewest = rule.fewest(self.levels)
            if rule.required and available is not None and available < fewest:
                problems.append(
                    f"rule {rule.name} needs {fewest:,} golden prompts, and the version's evidence "
                    f"holds {available:,}; raise the margin, or validate with more instructions"
                    if isinstance(rule, Agreement)
                    else f"rule {rule.name} needs {fewest:,} requests of a colour, and a step has "
                    f"at most {available:,}; raise the rate, the step's time or the margin"
                )
        return tuple(problems)

    def _available(
        self, rule: Rule, *, rate: float, stream_share: float, prompts: int | None
    ) -> int | None:
        if isinstance(rule, LiveShare):
            return None
        if isinstance(rule, Agreement):
            return prompts
        return int(rate * (stream_share if rule.compares_times else 1.0) * self.step_max_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """When a step is looked at, in seconds since it began, and when it last was (0: never)."""

    elapsed_s: float
    previous_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """One look: the verdict of every rule, and of all together.

    `checkpoint`: a pass counts at this look. `over`: the step's longest time has passed.
    """

    verdict: Verdict
    results: tuple[RuleResult, ...]
    elapsed_s: float
    step_max_s: float
    checkpoint: bool
    n_blue: int | None
    n_green: int

    @property
    def over(self) -> bool:
        """Whether the step may not go on."""
        return self.elapsed_s >= self.step_max_s

    def having(self, verdict: Verdict) -> tuple[RuleResult, ...]:
        """Return the results with one verdict."""
        return tuple(result for result in self.results if result.verdict is verdict)

    def to_json(self) -> JsonDict:
        """Return plain JSON for the journal."""
        return {
            "verdict": str(self.verdict),
            "elapsed_s": round(self.elapsed_s, 3),
            "step_max_s": self.step_max_s,
            "checkpoint": self.checkpoint,
            "n_blue": self.n_blue,
            "n_green": self.n_green,
            "rules": [result.to_json() for result in self.results],
        }

    def table(self) -> str:
        """Return the numbers as aligned text, a line for every rule."""
        rows = [_HEAD, *(_cells(result) for result in self.results)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
        lines = (
            "  ".join(
                cell.ljust(width) if i < _WORDS else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        )
        return "\n".join(line.rstrip() for line in lines)


class Action(StrEnum):
    """What comes after a look."""

    WAIT = "wait"
    ADVANCE = "advance"
    ROLL_BACK = "roll_back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """An action with its reason."""

    action: Action
    reason: str


def judge(
    blue: SampleSet | None,
    green: SampleSet,
    live: Mapping[Colour, LiveCounts | None],
    settings: AnalysisSettings,
    *,
    look: Look,
    green_is: Colour = Colour.GREEN,
    share: float = 50.0,
    first_tokens: Mapping[Colour, FirstTokens | Unread] | None = None,
    engines: Mapping[Colour, int] | None = None,
) -> Analysis:
    """Judge everything that a step has gathered so far.

    "Blue" is the colour that serves now and "green" the new one, whatever slots they are in;
    `green_is` says which counters are the new one's. `blue` is `None` when nothing serves yet: then
    only rules with a limit for green alone apply. Both sets come from the same load, which sent
    every engine as many requests: what one colour's have answered and the other's have not counts
    as slow. `share`: the part of live traffic that the new colour gets, in percent. `first_tokens`:
    of all that a colour's engines were asked since the step began; `None` where no rule asks for
    them. `engines`: how many of each colour got the load; `None`: as many of both.
    """
    counted, of_each = first_tokens or {}, engines or dict.fromkeys(Colour, 1)

    def side(colour: Colour, own: Columns, *, answered_by_other: int) -> Side:
        due = answered_by_other * of_each[colour] // of_each.get(colour.other, of_each[colour])
        return Side(
            columns=own,
            live=live.get(colour),
            first_tokens=counted.get(colour, NOT_READ),
            unanswered=max(0, due - own.n),
        )

    columns = green.columns()
    of_blue = None if blue is None else blue.columns()
    n_blue = columns.n if of_blue is None else of_blue.n
    seen = Observed(
        blue=None
        if of_blue is None
        else side(green_is.other, of_blue, answered_by_other=columns.n),
        green=side(green_is, columns, answered_by_other=n_blue),
        equal_load=share <= settings.times_up_to_share,
    )
    levels = settings.levels
    results = tuple(rule.judge(seen, levels) for rule in settings.rules)
    passed = settings.checkpoints(look.elapsed_s) > settings.checkpoints(look.previous_s)
    return Analysis(
        verdict=overall(tuple(result.verdict for result in results)),
        results=results,
        elapsed_s=look.elapsed_s,
        step_max_s=settings.step_max_s,
        checkpoint=passed,
        n_blue=None if of_blue is None else of_blue.n,
        n_green=columns.n,
    )


def overall(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the worst verdict: fail, then error, then insufficient, then pass.

    Where no rule applies, nothing was measured: that is an error, not a pass.
    """
    for worst in (Verdict.FAIL, Verdict.ERROR, Verdict.INSUFFICIENT, Verdict.PASS):
        if worst in verdicts:
            return worst
    return Verdict.ERROR


def next_action(analysis: Analysis) -> Decision:
    """Return what to do after a look."""
    if analysis.verdict is Verdict.FAIL:
        return Decision(action=Action.ROLL_BACK, reason=_reasons(analysis, Verdict.FAIL))
    if analysis.verdict is Verdict.PASS and analysis.checkpoint:
        n = f"{analysis.n_green:,} requests of the new colour"
        return Decision(action=Action.ADVANCE, reason=f"every rule that applies passed on {n}")
    if analysis.over:
        return Decision(
            action=Action.ROLL_BACK,
            reason=f"undecided after {analysis.elapsed_s:.0f} s, the most a step may take is "
            f"{analysis.step_max_s:g} s: {_reasons(analysis, analysis.verdict)}",
        )
    if analysis.verdict is Verdict.PASS:
        return Decision(
            action=Action.WAIT, reason="every rule passes; it counts at the next checkpoint"
        )
    return Decision(action=Action.WAIT, reason=_reasons(analysis, analysis.verdict))


def _reasons(analysis: Analysis, verdict: Verdict) -> str:
    found = [f"{result.rule}: {result.reason}" for result in analysis.having(verdict)]
    return "; ".join(found) or "no rule applied, so nothing was judged"


_HEAD = ("rule", "verdict", "blue", "green", "estimate", "low", "high", "limit",
         "n blue", "n green", "needed")  # fmt: skip
_WORDS = 2
"""Columns aligned to the left."""


def _cells(result: RuleResult) -> tuple[str, ...]:
    low, high = result.at_least, result.at_most
    limit = f"≤ {high:.3f}" if low is None and high is not None else _number(low)
    if low is not None and high is not None:
        limit = f"{low:.3f} to {high:.3f}"
    numbers = (result.blue, result.green, result.estimate, result.low, result.high)
    counts = (result.n_blue, result.n_green, result.n_needed)
    return (
        result.rule,
        str(result.verdict),
        *(_number(number) for number in numbers),
        limit,
        *("-" if n is None else f"{n:,}" for n in counts),
    )


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if math.isfinite(value) else ("∞" if value > 0 else "-∞")
