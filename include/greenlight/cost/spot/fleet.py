"""A mixed fleet: some hosts on demand whatever happens, the rest spread over spot pools.

A spot host's price isn't what it costs. An interruption loses work that has to be done again, and
its replacement is paid while it starts. Pools are compared by what is left after that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from pydantic import Field

from greenlight.core.errors import InputError
from greenlight.core.types import Value
from greenlight.cost.rightsizing.catalogue import HOURS_A_MONTH

Share = Annotated[float, Field(ge=0, le=1)]


class SpotSettings(Value):
    """How much risk is taken.

    `floor_share`, `floor_hosts`: on demand at least, the larger of both. `max_pool_share`: of the
    spot hosts in one pool, so that a pool that is gone takes only that. `min_saving`: less than
    this share of the on-demand price, after interruptions, isn't worth it. `cold_start_s`: until a
    replacement serves. `lost_work_s`: a host's work lost with each interruption, beyond what ends
    within the notice. `away_s`: until a pool can be gone back to; its hosts are on demand then.
    """

    floor_share: Share = 0.3
    floor_hosts: Annotated[int, Field(ge=0)] = 1
    max_pool_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    min_saving: Share = 0.2
    cold_start_s: Annotated[float, Field(ge=0)] = 600.0
    lost_work_s: Annotated[float, Field(ge=0)] = 120.0
    away_s: Annotated[float, Field(ge=0)] = 7200.0

    def on_demand(self, hosts: int) -> int:
        """Return how many of so many hosts are on demand at least."""
        return min(hosts, max(self.floor_hosts, math.ceil(round(self.floor_share * hosts, 9))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One host type in one zone: what is taken away together.

    `price` and `on_demand`: of an hour. `interruptions`: of a host, an hour; `None`: unknown.
    """

    name: str
    price: Decimal | None
    on_demand: Decimal
    interruptions: float | None

    def really_costs(self, settings: SpotSettings) -> Decimal | None:
        """Return an hour's price with what interruptions add; `None`: price or risk is unknown.

        Work that is done again, cold starts there and back, and the time away are paid on demand.
        """
        if self.price is None or self.interruptions is None:
            return None
        lost_h = self.interruptions * (2 * settings.cold_start_s + settings.lost_work_s) / 3600
        away_h = self.interruptions * settings.away_s / 3600
        away = Decimal(str(away_h / (1 + away_h)))
        lost = Decimal(str(lost_h / (1 + away_h))) * self.on_demand
        return self.price * (1 - away) + self.on_demand * away + lost


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A pool that isn't used, and why."""

    pool: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPlan:
    """How many hosts are bought how. `hourly`: what they really cost, after interruptions."""

    on_demand: int
    spot: tuple[tuple[str, int], ...]
    hourly: Decimal
    hourly_on_demand: Decimal
    left_out: tuple[LeftOut, ...]

    @property
    def monthly_saving(self) -> Decimal:
        """What is saved in 730 hours, net of what interruptions cost."""
        return (self.hourly_on_demand - self.hourly) * HOURS_A_MONTH


def plan_fleet(
    hosts: int, pools: Sequence[Pool], settings: SpotSettings, *, on_demand: Decimal
) -> FleetPlan:
    """Return what to buy so that `hosts` serve. `on_demand`: an hour of the floor's type.

    Pools are filled cheapest first, each up to its share; what finds no pool is on demand.

    Raises:
        InputError: there are no hosts, or two pools have the same name.
    """
    if hosts < 1:
        raise InputError(f"a fleet of {hosts} hosts can't be planned: 1 at least")
    if len({pool.name for pool in pools}) < len(pools):
        raise InputError("two pools have the same name: a pool is a host type in a zone")
    judged = [(pool, pool.really_costs(settings)) for pool in pools]
    good = sorted(
        ((pool, cost) for pool, cost in judged if cost is not None and _pays(pool, cost, settings)),
        key=lambda both: (both[1], both[0].name),
    )
    wanted = hosts - settings.on_demand(hosts)
    most = max(1, math.floor(settings.max_pool_share * wanted + 1e-9)) if wanted else 0
    spot: list[tuple[str, int]] = []
    hourly = Decimal(0)
    for pool, cost in good:
        count = min(most, wanted - sum(n for _, n in spot))
        if count:
            spot.append((pool.name, count))
            hourly += count * cost
    rest = hosts - sum(n for _, n in spot)
    return FleetPlan(
        on_demand=rest,
        spot=tuple(spot),
        hourly=hourly + rest * on_demand,
        hourly_on_demand=hosts * on_demand,
        left_out=tuple(
            LeftOut(pool=pool.name, why=_why_not(pool, cost, settings))
            for pool, cost in judged
            if cost is None or not _pays(pool, cost, settings)
        ),
    )


def _pays(pool: Pool, cost: Decimal, settings: SpotSettings) -> bool:
    return cost <= pool.on_demand * (1 - Decimal(str(settings.min_saving)))


def _why_not(pool: Pool, cost: Decimal | None, settings: SpotSettings) -> str:
    if cost is None:
        return f"its {'price' if pool.price is None else 'rate of interruptions'} isn't known"
    return (
        f"{cost:.4f} an hour after interruptions, {pool.on_demand:.4f} on demand: saves "
        f"{1 - cost / pool.on_demand:.0%}, at least {settings.min_saving:.0%} are asked"
    )
