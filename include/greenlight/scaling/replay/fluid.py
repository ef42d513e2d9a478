"""A replay of demand as a fluid: so many tokens a second against so many ready hosts, step by step.

Nothing queues: a step with less capacity than demand misses the objective for all of its demand,
because an engine that is asked too much is slow for everybody. That is the stricter of the two
usual counts; `served_pct` is the other one, the share of demand within capacity.

A host costs from its order, serves after the cold start, and still costs while it drains.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from greenlight.core.errors import InputError
from greenlight.scaling.demand_series import Counts, Floats
from greenlight.scaling.gaps import fill_gaps
from greenlight.scaling.replay.policies import Policy, Seen

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class FluidFleet:
    """What hosts are like. `cold_start`, `drain`: in steps."""

    tokens_per_second: float
    cold_start: int
    drain: int
    step_s: float = 60.0
    gpus_per_host: int = 1

    def needed(self, demand: Floats) -> Counts:
        """Return the fewest hosts that serve each step."""
        return np.ceil(demand / self.tokens_per_second - _ROUNDING).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FluidOutcome:
    """Hosts of each step: that served, and that cost; and how often hosts were started, stopped."""

    ready: Counts
    paid: Counts
    starts: int
    stops: int
    slo_pct: float
    served_pct: float
    gpu_hours: float


class _Hosts:
    """Hosts by what they are doing. Times are steps."""

    def __init__(self, ready: int, fleet: FluidFleet) -> None:
        self.ready = ready
        self.starting = deque[int]()
        self._draining = deque[int]()
        self._fleet = fleet

    @property
    def paid(self) -> int:
        return self.ready + len(self.starting) + len(self._draining)

    def arrive(self, step: int) -> None:
        """Let those serve that have started, and those go that have drained."""
        while self.starting and self.starting[0] <= step:
            self.starting.popleft()
            self.ready += 1
        while self._draining and self._draining[0] <= step:
            self._draining.popleft()

    def become(self, wanted: int, step: int) -> int:
        """Start or stop hosts; return how many were started, or stopped as a negative number.

        Those that are starting are stopped first, the newest before the others.
        """
        change = max(0, wanted) - self.ready - len(self.starting)
        self.starting.extend([step + self._fleet.cold_start] * change)
        for _ in range(-change):
            if self.starting:
                self.starting.pop()
            else:
                self.ready -= 1
                self._draining.append(step + self._fleet.drain)
        self.arrive(step)
        return change


def replay(
    demand: Floats,
    policy: Policy,
    fleet: FluidFleet,
    *,
    hosts: int,
    skip: int = 0,
    missing: npt.NDArray[np.bool_] | None = None,
) -> FluidOutcome:
    """Return how a policy does on a demand.

    `hosts`: ready at the start. `skip`: steps to warm up, which count for nothing. `missing`: steps
    whose load nobody measured; it was there all the same.

    Raises:
        InputError: demand is missing, or nothing is left after `skip`.
    """
    if not np.isfinite(demand).all() or demand.size <= skip:
        raise InputError(
            f"a replay needs demand in every step: {np.isnan(demand).sum()} of {demand.size} are "
            f"missing, {skip} are skipped"
        )
    loads = [None, *_seen(demand, missing)[:-1]]
    ready, paid, changes = (np.zeros(demand.size, dtype=np.int64) for _ in range(3))
    world = _Hosts(hosts, fleet)
    for step, load in enumerate(loads):
        world.arrive(step)
        seen = Seen(
            step=step,
            now=step * fleet.step_s,
            load=load,
            ready=world.ready,
            starting=len(world.starting),
        )
        changes[step] = world.become(policy.desired(seen), step)
        ready[step], paid[step] = world.ready, world.paid
    return outcome(demand, ready, paid, changes, fleet, skip=skip)


def _seen(demand: Floats, missing: npt.NDArray[np.bool_] | None) -> list[float | None]:
    if missing is None:
        return list(demand.tolist())
    return [None if gone else load for load, gone in zip(demand.tolist(), missing, strict=True)]


def oracle(demand: Floats, fleet: FluidFleet, *, skip: int = 0) -> FluidOutcome:
    """Return the cheapest way to serve all of a demand that is known beforehand.

    Hosts are ordered a cold start ahead and cost meanwhile, and cost while they drain. One that is
    needed again soon is kept where that costs no more than a stop and a start. Host by host this is
    the minimum, and hosts don't depend on each other, so it is the minimum of all.
    """
    ready = fill_gaps(fleet.needed(demand), fleet.cold_start + fleet.drain)
    change = np.diff(ready, prepend=ready[0])
    paid = ready.copy()
    for step in np.flatnonzero(change):
        risen = int(change[step])
        if risen > 0:
            paid[max(0, step - fleet.cold_start) : step] += risen
        else:
            paid[step : step + fleet.drain] -= risen
    return outcome(demand, ready, paid, change, fleet, skip=skip)


def outcome(
    demand: Floats, ready: Counts, paid: Counts, changes: Counts, fleet: FluidFleet, *, skip: int
) -> FluidOutcome:
    """Return the figures of what was ready and paid. `changes`: hosts started, less stopped."""
    counted, capacity = demand[skip:], ready[skip:] * fleet.tokens_per_second
    total = float(counted.sum())
    missed = float(counted[ready[skip:] < fleet.needed(counted)].sum())
    beyond = float(np.maximum(counted - capacity, 0.0).sum())
    moved = changes[skip:]
    return FluidOutcome(
        ready=ready,
        paid=paid,
        starts=int(moved[moved > 0].sum()),
        stops=int(-moved[moved < 0].sum()),
        slo_pct=100 - 100 * missed / total if total else 100.0,
        served_pct=100 - 100 * beyond / total if total else 100.0,
        gpu_hours=float(paid[skip:].sum()) * fleet.step_s / 3600 * fleet.gpus_per_host,
    )
