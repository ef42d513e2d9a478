"""Simulated rollouts for `analysis.py`: a load on two colours, judged by the shipped code.

Times are lognormal, in seconds. Both colours get the same requests at the same instants and share
queueing bursts; each has a slow wobble of its own. Nothing here sleeps: time is counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from greenlight.deploy.analysis import (
    Action,
    AnalysisSettings,
    LiveCounts,
    Look,
    Sample,
    SampleSet,
    Verdict,
    judge,
    next_action,
)
from greenlight.deploy.colours import Colour

SHARES = (10, 50, 100)
LIVE_RATE = 50.0
STREAMED = 0.8
LOAD_EFFECT = 0.25
"""Times at 100 % of the traffic over times without any, less one."""
OWN_WOBBLE, OWN_SECONDS = 0.05, 20.0
BURST_EVERY_S, BURST_S, BURST_WAIT_S = 40.0, 3.0, 0.3
BASE_ERRORS, BURST_ERRORS = 0.001, 0.008
PROMPTS = 50
MAX_TOKENS = 64
TOKENS = np.random.default_rng(1).integers(8, MAX_TOKENS + 1, PROMPTS)

Floats = npt.NDArray[np.float64]
Generator = np.random.Generator


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is simulated: the load's rate, and what is wrong with green."""

    rate: float
    ttft_factor: float = 1.0
    extra_errors: float = 0.0
    own_wobble: float = OWN_WOBBLE
    load_effect: float = LOAD_EFFECT


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a rollout ended: live, or at which share and second it went back, and why."""

    live: bool
    seconds: float
    share: int
    failed: tuple[str, ...] = ()
    """The rules that failed; none: it was undecided when the step's longest time was over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What both colours share: arrivals, prompts, and when bursts are."""

    at_s: Floats
    prompt: npt.NDArray[np.int64]
    streamed: npt.NDArray[np.bool_]
    burst: npt.NDArray[np.bool_]


def weather(rng: Generator, world: World, seconds: float) -> Weather:
    """Draw arrivals and bursts of one step."""
    gaps = rng.exponential(1 / world.rate, int(world.rate * seconds * 1.3) + 50)
    at_s = np.cumsum(gaps)
    at_s = at_s[at_s < seconds]
    starts = np.cumsum(rng.exponential(BURST_EVERY_S, int(seconds / BURST_EVERY_S * 3) + 5))
    ends = starts + rng.exponential(BURST_S, starts.size)
    last = np.searchsorted(starts, at_s) - 1
    return Weather(
        at_s=at_s,
        prompt=np.arange(at_s.size) % PROMPTS,
        streamed=rng.random(at_s.size) < STREAMED,
        burst=(last >= 0) & (at_s < ends[np.maximum(last, 0)]),
    )


def wobble(rng: Generator, at_s: Floats, deviation: float) -> Floats:
    """Return a slow factor of one colour: an autoregressive walk, a value a second."""
    kept = np.exp(-1 / OWN_SECONDS)
    steps = rng.normal(0, deviation * np.sqrt(1 - kept**2), int(at_s.max()) + 2)
    level = np.empty_like(steps)
    level[0] = rng.normal(0, deviation)
    for second in range(1, level.size):
        level[second] = kept * level[second - 1] + steps[second]
    return np.asarray(np.exp(level[at_s.astype(int)]), dtype=np.float64)


def answers(
    rng: Generator, seen: Weather, world: World, colour: Colour, share: float
) -> Iterator[tuple[float, Sample]]:
    """Draw a colour's samples; yield each with the second it is seen, in that order."""
    n = seen.at_s.size
    bad = colour is Colour.GREEN
    slow = (1 + world.load_effect * share) * wobble(rng, seen.at_s, world.own_wobble)
    ttft = rng.lognormal(np.log(0.15), 0.5, n) + seen.burst * rng.exponential(BURST_WAIT_S, n)
    ttft *= slow * (world.ttft_factor if bad else 1.0)
    gap = rng.lognormal(np.log(0.02), 0.1, n) * slow
    tokens = TOKENS[seen.prompt]
    total = ttft + gap * tokens
    failing = BASE_ERRORS + BURST_ERRORS * seen.burst + (world.extra_errors if bad else 0.0)
    ok = rng.random(n) >= failing
    answered = seen.at_s + np.where(ok, total, rng.uniform(0, 5, n))
    columns = (answered, seen.prompt, seen.at_s, seen.streamed, ok, ttft, gap, total, tokens)
    order = np.argsort(answered, kind="stable")
    return _samples(colour, [column[order].tolist() for column in columns])


def _samples(colour: Colour, columns: list[list[Any]]) -> Iterator[tuple[float, Sample]]:
    for when, prompt, at_s, streamed, ok, ttft, gap, total, tokens in zip(*columns, strict=True):
        yield (
            when,
            Sample(
                colour=colour,
                prompt=prompt,
                at_s=at_s,
                ok=ok,
                ttft_s=ttft if streamed else None,
                gap_s=gap if streamed else None,
                total_s=total,
                tokens=tokens,
                finish="stop" if tokens < MAX_TOKENS else "length",
            ),
        )


@dataclass(slots=True)
class LiveTraffic:
    """The router's counters of one colour, second by second."""

    rng: Generator
    rate: float
    errors: float
    counts: LiveCounts = field(default_factory=partial(LiveCounts, requests=0, errors=0))

    def after(self, seconds: float) -> LiveCounts:
        """Let time pass, and return the counters."""
        requests = int(self.rng.poisson(self.rate * seconds))
        errors = int(self.rng.binomial(requests, self.errors))
        self.counts = LiveCounts(
            requests=self.counts.requests + requests, errors=self.counts.errors + errors
        )
        return self.counts


def run_step(
    rng: Generator, world: World, settings: AnalysisSettings, share: int
) -> tuple[Action, float, tuple[str, ...]]:
    """Look every interval until the step ends; return how, when, and the rules that failed."""
    seen = weather(rng, world, settings.step_max_s)
    part = share / 100
    pending = {
        colour: answers(rng, seen, world, colour, traffic)
        for colour, traffic in ((Colour.BLUE, 1 - part), (Colour.GREEN, part))
    }
    upcoming = {colour: next(waiting, None) for colour, waiting in pending.items()}
    sets = {colour: SampleSet() for colour in Colour}
    usual = BASE_ERRORS + BURST_ERRORS * BURST_S / (BURST_EVERY_S + BURST_S)
    live = {
        Colour.BLUE: LiveTraffic(rng, LIVE_RATE * (1 - part), usual),
        Colour.GREEN: LiveTraffic(rng, LIVE_RATE * part, usual + world.extra_errors),
    }
    elapsed = previous = 0.0
    while True:
        elapsed += settings.interval_s
        for colour in Colour:
            upcoming[colour] = take(pending[colour], upcoming[colour], sets[colour], elapsed)
        analysis = judge(
            sets[Colour.BLUE],
            sets[Colour.GREEN],
            {colour: counter.after(settings.interval_s) for colour, counter in live.items()},
            settings,
            look=Look(elapsed_s=elapsed, previous_s=previous),
            share=share,
        )
        action = next_action(analysis).action
        if action is not Action.WAIT:
            return action, elapsed, tuple(r.rule for r in analysis.having(Verdict.FAIL))
        previous = elapsed


def take(
    waiting: Iterator[tuple[float, Sample]],
    upcoming: tuple[float, Sample] | None,
    into: SampleSet,
    now: float,
) -> tuple[float, Sample] | None:
    """Add what was answered by now; return the next that was not."""
    while upcoming is not None and upcoming[0] <= now:
        into.add(upcoming[1])
        upcoming = next(waiting, None)
    return upcoming


def rollout(seed: Sequence[int], world: World, settings: AnalysisSettings) -> Ended:
    """Simulate one rollout through all shares."""
    rng = np.random.default_rng(seed)
    seconds = 0.0
    for share in SHARES:
        action, elapsed, failed = run_step(rng, world, settings, share)
        seconds += elapsed
        if action is Action.ROLL_BACK:
            return Ended(live=False, seconds=seconds, share=share, failed=failed)
    return Ended(live=True, seconds=seconds, share=SHARES[-1])
