"""What else could be done, beside a schedule, on the newest weeks: seen before anybody says yes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated

import numpy as np
from pydantic import Field

from greenlight.core.types import Value
from greenlight.scaling.calendars import LocalCalendar, wall_clock
from greenlight.scaling.demand import LearnSettings
from greenlight.scaling.demand_profile import NotEnoughData
from greenlight.scaling.demand_series import DAY, MINUTE, Counts, DemandSeries, Floats
from greenlight.scaling.nowcast import NowcastSettings
from greenlight.scaling.planning import FleetFacts, PlanSettings
from greenlight.scaling.reactive import ReactiveSettings
from greenlight.scaling.replay.fluid import FluidFleet, FluidOutcome, oracle, replay
from greenlight.scaling.replay.nightly import Nights, Sizes
from greenlight.scaling.replay.policies import Anticipating, Policy, Reactive, Static
from greenlight.scaling.schedule import Schedule


class CompareSettings(Value):
    """`days`: the newest, that are replayed. `min_measured`: less of their demand is too little."""

    days: Annotated[int, Field(ge=2)] = 14
    min_measured: Annotated[float, Field(gt=0, le=1)] = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One policy. `over_oracle`: its GPU-hours against the cheapest that serves everything."""

    policy: str
    over_oracle: float
    slo_pct: float
    served_pct: float
    gpu_hours: float
    starts: int
    stops: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All policies on the same days, the oracle first. `bridged`: the share of demand missing."""

    first: date
    last: date
    bridged: float
    rows: tuple[Compared, ...]

    def of(self, policy: str) -> Compared | None:
        """Return one policy's figures; `None`: it wasn't tried."""
        return next((row for row in self.rows if row.policy == policy), None)


def compare(
    series: DemandSeries,
    calendar: LocalCalendar,
    facts: FleetFacts,
    *,
    previous: Schedule | None,
    reactive: ReactiveSettings,
    learning: LearnSettings,
    planning: PlanSettings,
    nowcasting: NowcastSettings,
    settings: CompareSettings,
) -> Comparison | NotEnoughData:
    """Replay the newest days: static at the highest so far, HPA, the previous schedule, ours.

    `schedule`: planned every night, with the published rule between its bounds. `anticipating`: the
    same with the loop that looks a cold start ahead. `previous` is what runs now, as it is. Steps
    without demand are bridged by straight lines.
    """
    nights = Nights(
        series=series, calendar=calendar, days=_days(series, calendar, settings), learning=learning
    )
    measured = nights.demand()
    bridged = float(np.isnan(measured).mean())
    if bridged > 1 - settings.min_measured:
        return NotEnoughData(
            why=f"{bridged:.0%} of the demand of the newest {settings.days} days wasn't measured"
        )
    policies = _policies(
        nights,
        facts,
        previous=previous,
        reactive=reactive,
        planning=planning,
        nowcasting=nowcasting,
    )
    if isinstance(policies, NotEnoughData):
        return policies
    fleet = _fleet(facts, planning)
    demand = _bridged(measured)
    best = oracle(demand, fleet)
    hosts = int(fleet.needed(demand[:1])[0])
    outcomes = {"oracle": best} | {
        name: replay(demand, policy, fleet, hosts=hosts) for name, policy in policies.items()
    }
    return Comparison(
        first=nights.days[0],
        last=nights.days[-1],
        bridged=bridged,
        rows=tuple(_row(name, found, best) for name, found in outcomes.items()),
    )


def _policies(
    nights: Nights,
    facts: FleetFacts,
    *,
    previous: Schedule | None,
    reactive: ReactiveSettings,
    planning: PlanSettings,
    nowcasting: NowcastSettings,
) -> Mapping[str, Policy] | NotEnoughData:
    sizes = nights.sizes(facts, planning)
    if isinstance(sizes, NotEnoughData):
        return sizes
    nowcasts = nights.nowcasts(timedelta(seconds=facts.lead.seconds), nowcasting)
    if isinstance(nowcasts, NotEnoughData):
        return nowcasts
    count = nights.minutes.size
    floor, ceiling = facts.limits.floor, facts.limits.ceiling
    known = nights.series.until(nights.midnight(nights.days[0])).values
    highest = int(_fleet(facts, planning).needed(np.array([np.nanmax(known)]))[0])
    policies: dict[str, Policy] = {
        "static": Static(hosts=min(max(highest, floor), ceiling)),
        "hpa": Reactive(
            settings=reactive, minimums=np.full(count, floor), maximums=np.full(count, ceiling)
        ),
        "schedule": _bounded(reactive, sizes),
        "anticipating": Anticipating(
            settings=_at_capacity(reactive, facts),
            minimums=sizes.minimum,
            maximums=sizes.maximum,
            unseen=sizes.desired,
            days=nowcasts[nowcasting.slo],
        ),
    }
    if previous is not None:
        held = previous.sizes(nights.minutes)
        policies["previous"] = Reactive(
            settings=reactive,
            minimums=_array([size.minimum for size in held]),
            maximums=_array([size.maximum for size in held]),
        )
    return policies


def _bounded(reactive: ReactiveSettings, sizes: Sizes) -> Reactive:
    return Reactive(settings=reactive, minimums=sizes.minimum, maximums=sizes.maximum)


def _at_capacity(reactive: ReactiveSettings, facts: FleetFacts) -> ReactiveSettings:
    """Return the rule for a load that has its headroom already: full hosts, no tolerance."""
    speed = facts.capacity.tokens_per_second
    targets = {signal: speed for signal in reactive.targets}
    return reactive.model_copy(update={"targets": targets, "tolerance": 0.0})


def _fleet(facts: FleetFacts, planning: PlanSettings) -> FluidFleet:
    minute = MINUTE.total_seconds()
    return FluidFleet(
        tokens_per_second=facts.capacity.tokens_per_second,
        cold_start=int(np.ceil(facts.lead.seconds / minute)),
        drain=int(np.ceil(planning.drain_s / minute)),
        gpus_per_host=facts.gpus_per_host,
    )


def _days(
    series: DemandSeries, calendar: LocalCalendar, settings: CompareSettings
) -> tuple[date, ...]:
    """Return the newest whole local days of a series."""
    end: date = wall_clock(np.array([series.end]), calendar.zone)[0].astype("datetime64[D]").item()
    return tuple(end - number * DAY for number in range(settings.days, 0, -1))


def _bridged(values: Floats) -> Floats:
    there = np.isfinite(values)
    places = np.arange(values.size)
    return np.interp(places, places[there], values[there])


def _array(hosts: list[int]) -> Counts:
    return np.array(hosts, dtype=np.int64)


def _row(name: str, found: FluidOutcome, best: FluidOutcome) -> Compared:
    return Compared(
        policy=name,
        over_oracle=found.gpu_hours / best.gpu_hours if best.gpu_hours else 1.0,
        slo_pct=found.slo_pct,
        served_pct=found.served_pct,
        gpu_hours=found.gpu_hours,
        starts=found.starts,
        stops=found.stops,
    )
