"""What was measured of a fleet, for whoever plans or looks back; or why that isn't enough."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from greenlight.entrypoints.scaling_facts import capacity_now, lead_of
from greenlight.scaling.calendars import LocalCalendar
from greenlight.scaling.capacity import HostCapacity, Unknown
from greenlight.scaling.demand_series import DemandSeries
from greenlight.scaling.planning import FleetFacts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenlight.entrypoints.scaling_tools import ScalingTools


@dataclass(frozen=True, slots=True, kw_only=True)
class NotPlanned:
    """There is no answer, and why: what has to be measured, or how much history lacks."""

    fleet: str
    why: tuple[str, ...]


def not_planned(fleet: str, why: str) -> NotPlanned:
    """Return that for one reason."""
    return NotPlanned(fleet=fleet, why=(why,))


def unmeasured(fleet: str, facts: Sequence[Unknown]) -> NotPlanned:
    """Return that for facts which aren't known, with what to do about each."""
    return NotPlanned(fleet=fleet, why=tuple(f"{one.why}: {one.measure}" for one in facts))


@dataclass(frozen=True, slots=True)
class Measured:
    """One fleet's measurements."""

    tools: ScalingTools

    def facts(self) -> FleetFacts | tuple[Unknown, ...]:
        """Return what a plan needs, or everything that is missing for one."""
        tools, name = self.tools, self.tools.fleet.name
        capacity, lead = self.capacity(), lead_of(tools.journal, name, tools.scaling)
        if isinstance(capacity, Unknown) or isinstance(lead, Unknown):
            return tuple(one for one in (capacity, lead) if isinstance(one, Unknown))
        return FleetFacts(
            name=name,
            capacity=capacity,
            lead=lead,
            gpus_per_host=tools.scaling.gpus_per_host,
            limits=tools.scaling.limits,
        )

    def capacity(self) -> HostCapacity | Unknown:
        """Return what one host takes of what is live."""
        tools = self.tools
        return capacity_now(
            tools.journal,
            tools.fleet.name,
            benchmark_of=tools.benchmarks.benchmark,
            measured_with=tools.measured_with,
            settings=tools.scaling.capacity,
        )

    def demand(self, *, until: datetime, replayed_days: int = 0) -> DemandSeries | None:
        """Return all demand that is learned from, and before it as much as is replayed."""
        back = timedelta(days=self.tools.scaling.learn.lookback_days + replayed_days + 1)
        return self.tools.source.demand(until - back, until)

    def demand_to_plan_for(self, *, until: datetime) -> DemandSeries | None:
        """Return what is planned and replayed: with a region lost, where that is survived."""
        found = self.demand(until=until, replayed_days=self.tools.scaling.replay.days)
        return None if found is None else found.times_as_much(self.tools.scaling.surge)

    def calendar(self, series: DemandSeries, now: datetime) -> LocalCalendar:
        """Return the fleet's days of a series and of the year to come."""
        first = int(series.start.astype("datetime64[Y]").astype(int)) + 1970
        return self.tools.scaling.calendar(range(first - 1, now.year + 2))
