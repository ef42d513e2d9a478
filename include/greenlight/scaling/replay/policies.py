"""What decides about hosts in a replay: one method, called before every step.

A policy sees what a real one sees: the load of the step before, or that it is missing, and the
hosts that are ready or starting. Times are seconds since the start of the replay. Each instance
serves one replay, as it may remember.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from greenlight.scaling.demand_series import Counts, Floats
from greenlight.scaling.nowcast import PAST, Nowcast
from greenlight.scaling.reactive import (
    Bounds,
    ReactiveSettings,
    Recommendation,
    Signal,
    decide,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The world before a step. `load`: offered tokens a second, of all hosts; `None`: missing."""

    step: int
    now: float
    load: float | None
    ready: int
    starting: int


class Policy(Protocol):
    """Says how many hosts there should be."""

    def desired(self, seen: Seen) -> int:
        """Return the hosts wanted from now on, those that are starting included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Static:
    """Always the same."""

    hosts: int

    def desired(self, seen: Seen) -> int:
        """Return that."""
        return self.hosts


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduled:
    """A number for each step and nothing else: the oracle, or a schedule without its fast loop."""

    hosts: Counts

    def desired(self, seen: Seen) -> int:
        """Return the step's number."""
        return int(self.hosts[seen.step])


@dataclass(slots=True, kw_only=True)
class Reactive:
    """The autoscaler's rule between the bounds of each step.

    With a minimum of one this is HPA, with one from a weekly cron it is cron + HPA, with a learned
    schedule's it is ours. `unseen`: what holds at least while no load is known; none: the minimum.
    """

    settings: ReactiveSettings
    minimums: Counts
    maximums: Counts
    unseen: Counts | None = None
    window: tuple[Recommendation, ...] = field(default=(), init=False)

    def desired(self, seen: Seen) -> int:
        """Return what the rule asks for, from tokens a second alone."""
        load = self.load(seen)
        average = None if load is None or not seen.ready else load / seen.ready
        step = seen.step
        decision = decide(
            {Signal.TOKENS: average},
            ready=seen.ready,
            starting=seen.starting,
            bounds=Bounds(
                minimum=int(self.minimums[step]),
                maximum=int(self.maximums[step]),
                unseen=0 if self.unseen is None else int(self.unseen[step]),
            ),
            window=self.window,
            now=seen.now,
            settings=self.settings,
        )
        self.window = decision.window
        return decision.desired

    def load(self, seen: Seen) -> float | None:
        """Return the load to be ready for: the one that was measured."""
        return seen.load


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Anticipated:
    """One day's nowcast with what it compares each step with, from step `first` on."""

    nowcast: Nowcast
    first: int
    now: Floats
    then: Floats
    blocks: Counts

    def load(self, step: int, loads: Sequence[float]) -> float:
        """Return the load to be ready for."""
        i = step - self.first
        return self.nowcast.anticipate(
            loads, now=float(self.now[i]), then=float(self.then[i]), block=int(self.blocks[i])
        )


@dataclass(slots=True, kw_only=True)
class Anticipating(Reactive):
    """The same rule on the load a cold start from now. `days`: oldest first."""

    days: Sequence[Anticipated]
    loads: deque[float] = field(default_factory=lambda: deque(maxlen=PAST + 1), init=False)

    def load(self, seen: Seen) -> float | None:
        """Return the load that is anticipated; `None` while none is measured."""
        if seen.load is None:
            self.loads.clear()
            return None
        self.loads.append(seen.load)
        while len(self.days) > 1 and self.days[1].first <= seen.step:
            self.days = self.days[1:]
        return self.days[0].load(seen.step, list(self.loads))
