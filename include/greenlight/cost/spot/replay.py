"""What a mixed fleet would have cost, and how often it would have been short of hosts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from greenlight.core.errors import InputError
from greenlight.cost.spot.fleet import FleetPlan, SpotSettings
from greenlight.cost.spot.traces import SpotTrace

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """How a plan went on a trace. Money is in the trace's currency, over `hours`.

    `paid`: for all hosts, replacements among them. `lost`: work done again, and capacity that was
    missing while replacements started, both at the on-demand price. `all_on_demand`: what the same
    number of hosts would have cost. `short`: the share of host-hours that were missing.
    `unknown_hours`: hours left out of everything because a price was unknown.
    """

    hours: float
    paid: float
    lost: float
    all_on_demand: float
    interruptions: int
    short: float
    unknown_hours: float

    @property
    def saving(self) -> float | None:
        """Net of interruptions and lost work, as a share of on demand; `None`: nothing is known."""
        if not self.all_on_demand:
            return None
        return 1 - (self.paid + self.lost) / self.all_on_demand


def replay_fleet(
    plan: FleetPlan,
    trace: SpotTrace,
    settings: SpotSettings,
    *,
    on_demand: float,
    back_after: timedelta = HOUR,
) -> Replayed:
    """Replay a plan. `on_demand`: an hour of a host.

    Hosts of a pool that is taken are replaced on demand, which takes a cold start; when the pool
    has been there again for `back_after`, they move back without a gap. Who moves back pays both
    hosts for the cold start.

    Raises:
        InputError: the trace is empty, or doesn't know a pool of the plan.
    """
    if unknown := sorted(pool for pool, _ in plan.spot if pool not in trace.prices):
        raise InputError(f"the trace has no pool {', '.join(unknown)}")
    if not trace.steps:
        raise InputError("the trace is empty")
    hours = trace.step / HOUR
    back = math.ceil(back_after / trace.step)
    known = np.ones(trace.steps, dtype=np.bool_)
    paid = np.full(trace.steps, plan.on_demand * on_demand * hours)
    lost = np.zeros(trace.steps)
    short = np.zeros(trace.steps)
    interruptions = 0
    for pool, count in plan.spot:
        replaced, cuts, returns = _replaced(trace.taken[pool], back=back)
        known &= replaced | np.isfinite(trace.prices[pool])
        each = np.where(replaced, on_demand, np.nan_to_num(trace.prices[pool]))
        paid += count * each * hours
        starting = count * settings.cold_start_s / 3600
        paid[returns] += starting * on_demand
        lost[cuts] += (starting + count * settings.lost_work_s / 3600) * on_demand
        short[cuts] += starting
        interruptions += count * int((cuts & known).sum())
    hosts = plan.on_demand + sum(count for _, count in plan.spot)
    measured = float(known.sum()) * hours
    return Replayed(
        hours=measured,
        paid=float(paid[known].sum()),
        lost=float(lost[known].sum()),
        all_on_demand=hosts * on_demand * measured,
        interruptions=interruptions,
        short=float(short[known].sum()) / (hosts * measured) if measured else math.nan,
        unknown_hours=float((~known).sum()) * hours,
    )


def _replaced(
    taken: np.typing.NDArray[np.bool_], *, back: int
) -> tuple[np.typing.NDArray[np.bool_], ...]:
    """Return in which steps hosts are replaced, in which they are cut off, and move back."""
    replaced = np.zeros(taken.size, dtype=np.bool_)
    cuts, returns = replaced.copy(), replaced.copy()
    quiet, is_away = back, False
    for i, gone in enumerate(taken):
        if gone:
            cuts[i] = not is_away
            is_away, quiet = True, 0
        elif is_away:
            quiet += 1
            if quiet > back:
                is_away, returns[i] = False, True
        replaced[i] = is_away
    return replaced, cuts, returns
