"""Simulated rollouts for `analysis.py`: a load on two colours, judged by the shipped code.

Times are lognormal, in seconds. Both colours get the same requests at the same instants and share
queueing bursts; each has a slow wobble of its own. Clients' requests come beside them, by share,
and engines' histograms count both. Nothing here sleeps: time is counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
from greenlight.deploy.counters import FirstTokens

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
BOUNDS = (0.5, 1.0, 2.5, 5.0, math.inf)
LATE_S = 4.0
"""The first token of those clients' requests that green keeps waiting."""

Floats = npt.NDArray[np.float64]
Generator = np.random.Generator


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is simulated: the load's rate, how fast both are, and what is wrong with green.

    `live_late`: the part of clients' requests that it keeps waiting, such as long prompts, of which
    the load has none.
    """

    rate: float
    ttft_s: float = 0.15
    ttft_factor: float = 1.0
    extra_errors: float = 0.0
    live_late: float = 0.0
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
    """What both colours share: the load's arrivals and prompts, and when bursts are."""

    at_s: Floats
    prompt: npt.NDArray[np.int64]
    streamed: npt.NDArray[np.bool_]
    starts: Floats
    ends: Floats

    def burst(self, at_s: Floats) -> npt.NDArray[np.bool_]:
        """Return which of these instants are in a burst."""
        last = np.searchsorted(self.starts, at_s) - 1
        return np.asarray((last >= 0) & (at_s < self.ends[np.maximum(last, 0)]))


def weather(rng: Generator, world: World, seconds: float) -> Weather:
    """Draw arrivals and bursts of one step."""
    at_s = arrivals(rng, world.rate, seconds)
    starts = np.cumsum(rng.exponential(BURST_EVERY_S, int(seconds / BURST_EVERY_S * 3) + 5))
    ends = starts + rng.exponential(BURST_S, starts.size)
    return Weather(
        at_s=at_s,
        prompt=np.arange(at_s.size) % PROMPTS,
        streamed=rng.random(at_s.size) < STREAMED,
        starts=starts,
        ends=ends,
    )


def arrivals(rng: Generator, rate: float, seconds: float) -> Floats:
    """Draw the instants of a Poisson process."""
    if not rate:
        return np.empty(0)
    at_s = np.cumsum(rng.exponential(1 / rate, int(rate * seconds * 1.3) + 50))
    return at_s[at_s < seconds]


def wobble(rng: Generator, seconds: int, deviation: float) -> Floats:
    """Return a slow factor of one colour: an autoregressive walk, a value a second."""
    kept = np.exp(-1 / OWN_SECONDS)
    steps = rng.normal(0, deviation * np.sqrt(1 - kept**2), seconds)
    level = np.empty_like(steps)
    level[0] = rng.normal(0, deviation)
    for second in range(1, level.size):
        level[second] = kept * level[second - 1] + steps[second]
    return np.asarray(np.exp(level), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Requests to one colour, and what became of them, as arrays of one length."""

    at_s: Floats
    ttft: Floats
    gap: Floats
    ok: npt.NDArray[np.bool_]


class Side:
    """One colour during one step: the load's samples as they come, and what others count."""

    def __init__(
        self, rng: Generator, seen: Weather, world: World, colour: Colour, share: float
    ) -> None:
        seconds, bad, of_live = seen.at_s.max(), colour is Colour.GREEN, rng.spawn(1)[0]
        slow = 1 + world.load_effect * share
        pace = slow * wobble(rng, int(seconds) + 2, world.own_wobble)
        golden = _served(rng, seen, world, seen.at_s, pace=pace, bad=bad)
        self.samples = _answers(rng, seen, golden, colour)
        at_s = arrivals(of_live, LIVE_RATE * share, seconds)
        live = _served(of_live, seen, world, at_s, pace=pace, bad=bad)
        late = of_live.random(at_s.size) < (world.live_late if bad else 0.0)
        self._live_at, self._live_failed = live.at_s, np.cumsum(~live.ok)
        self._came, self._within = _histogram(
            golden, replace(live, ttft=np.where(late, LATE_S, live.ttft))
        )

    def live(self, now: float) -> LiveCounts:
        """Return the router's counters."""
        requests = int(np.searchsorted(self._live_at, now))
        return LiveCounts(
            requests=requests, errors=int(self._live_failed[requests - 1]) if requests else 0
        )

    def first_tokens(self, now: float) -> FirstTokens:
        """Return the engines' histogram."""
        n = int(np.searchsorted(self._came, now))
        within = self._within[n - 1].tolist() if n else [0] * len(BOUNDS)
        return FirstTokens(bounds=BOUNDS, within=tuple(within))


def _served(
    rng: Generator, seen: Weather, world: World, at_s: Floats, *, pace: Floats, bad: bool
) -> Served:
    n, burst, slow = at_s.size, seen.burst(at_s), pace[at_s.astype(int)]
    ttft = rng.lognormal(np.log(world.ttft_s), 0.5, n) + burst * rng.exponential(BURST_WAIT_S, n)
    ttft *= slow * (world.ttft_factor if bad else 1.0)
    gap = rng.lognormal(np.log(0.02), 0.1, n) * slow
    failing = BASE_ERRORS + BURST_ERRORS * burst + (world.extra_errors if bad else 0.0)
    return Served(at_s=at_s, ttft=ttft, gap=gap, ok=rng.random(n) >= failing)


def _histogram(*all_of_them: Served) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return when first tokens came, rising, and how many had come within each bound by then."""
    came = np.concatenate([(of.at_s + of.ttft)[of.ok] for of in all_of_them])
    ttft = np.concatenate([of.ttft[of.ok] for of in all_of_them])
    order = np.argsort(came)
    return came[order], np.cumsum(ttft[order, None] <= np.array(BOUNDS), axis=0)


def _answers(
    rng: Generator, seen: Weather, golden: Served, colour: Colour
) -> Iterator[tuple[float, Sample]]:
    """Return samples, each with the second it is seen, in that order."""
    tokens = TOKENS[seen.prompt]
    total = golden.ttft + golden.gap * tokens
    answered = seen.at_s + np.where(golden.ok, total, rng.uniform(0, 5, seen.at_s.size))
    columns = (answered, seen.prompt, seen.at_s, seen.streamed, golden.ok, golden.ttft, golden.gap,
               total, tokens)  # fmt: skip
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


def run_step(
    rng: Generator, world: World, settings: AnalysisSettings, share: int
) -> tuple[Action, float, tuple[str, ...]]:
    """Look every interval until the step ends; return how, when, and the rules that failed."""
    seen, part = weather(rng, world, settings.step_max_s), share / 100
    sides = {
        colour: Side(rng, seen, world, colour, traffic)
        for colour, traffic in ((Colour.BLUE, 1 - part), (Colour.GREEN, part))
    }
    upcoming = {colour: next(side.samples, None) for colour, side in sides.items()}
    sets = {colour: SampleSet() for colour in Colour}
    elapsed = previous = 0.0
    while True:
        elapsed += settings.interval_s
        for colour, side in sides.items():
            upcoming[colour] = take(side.samples, upcoming[colour], sets[colour], elapsed)
        analysis = judge(
            sets[Colour.BLUE],
            sets[Colour.GREEN],
            {colour: side.live(elapsed) for colour, side in sides.items()},
            settings,
            look=Look(elapsed_s=elapsed, previous_s=previous),
            share=share,
            first_tokens={colour: side.first_tokens(elapsed) for colour, side in sides.items()},
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
