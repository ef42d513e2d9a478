"""`greenlight cost spot`: would a part of the fleet on spot pools pay, by prices of the past."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np

from greenlight.core.errors import InputError
from greenlight.cost.spot.fleet import FleetPlan, Pool, SpotSettings, plan_fleet
from greenlight.cost.spot.replay import Replayed, replay_fleet
from greenlight.cost.spot.traces import SpotTrace, rates, read_trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A plan made from the first half of a trace, and how it went on the second."""

    plan: FleetPlan
    replayed: Replayed


def plan_and_try(
    path: Path, *, hosts: int, on_demand: Decimal, step: timedelta, settings: SpotSettings
) -> Tried:
    """Plan from the first half of a file's prices and interruptions, and replay on the second.

    Raises:
        InputError: the file can't be read, or is too short to be halved.
    """
    known, later = read_trace(path, step=step).halves()
    if not known.steps:
        raise InputError(f"{path} spans less than two steps of {step}: give a longer trace")
    pools = [_pool(name, known, on_demand) for name in sorted(known.prices)]
    plan = plan_fleet(hosts, pools, settings, on_demand=on_demand)
    return Tried(
        plan=plan, replayed=replay_fleet(plan, later, settings, on_demand=float(on_demand))
    )


def _pool(name: str, known: SpotTrace, on_demand: Decimal) -> Pool:
    prices = known.prices[name]
    there = prices[np.isfinite(prices)]
    return Pool(
        name=name,
        price=Decimal(f"{float(there.mean()):.6f}") if there.size else None,
        on_demand=on_demand,
        interruptions=rates(known)[name],
    )
