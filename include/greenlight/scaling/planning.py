"""A schedule from what was learned: sizes of the coming week, ahead of demand, few enough to read.

The order of steps matters. A quantile of demand says how many hosts are needed in each five
minutes. What a host needs to start is looked ahead, so that it serves when it is needed and not
when it is ordered. Dips that cost more than they save are filled. Then neighbours are joined, the
cheapest pair first, until the schedule is short enough for a person and for the cloud's limits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from types import MappingProxyType
from typing import Annotated

import numpy as np
from pydantic import Field

from greenlight.core.types import Value
from greenlight.scaling.calendars import LocalCalendar
from greenlight.scaling.capacity import HostCapacity, LeadTime
from greenlight.scaling.cells import ROUNDING, Needs, Run, expected_of, joined, most_of, needs_of
from greenlight.scaling.demand_profile import DemandProfile
from greenlight.scaling.demand_series import Counts, Floats
from greenlight.scaling.gaps import fill_gaps
from greenlight.scaling.schedule import (
    MINUTES_A_DAY,
    MINUTES_A_WEEK,
    Blackout,
    DatedEntry,
    Expected,
    Limits,
    Override,
    Schedule,
    Size,
    WeeklyEntry,
    live_overrides,
    minutes_between,
    minutes_of_week,
)

DAYS = 7


class PlanSettings(Value):
    """How a schedule is made.

    `quantile` of demand that the desired size serves; `minimum_quantile`: the size that the fast
    loop may go down to. It may be low only where the loop sees ahead: a loop that follows the load
    itself comes a cold start too late. `spare`: hosts on top of both. `surprise`: how far above the
    desired size the loop may go, as a share of it. `drain_s`: how long a host that is stopped still
    costs. `grid_min`: entries start at a multiple of it. `max_entries` of the week; AWS allows 125
    scheduled actions a group.
    """

    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.99
    minimum_quantile: Annotated[float, Field(gt=0, lt=1)] = 0.95
    spare: Annotated[int, Field(ge=0)] = 0
    surprise: Annotated[float, Field(ge=0)] = 0.5
    drain_s: Annotated[float, Field(ge=0)] = 120.0
    grid_min: Annotated[int, Field(ge=5, le=60, multiple_of=5)] = 30
    max_entries: Annotated[int, Field(ge=1, le=2016)] = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetFacts:
    """What is known of a fleet, all of it measured or set."""

    name: str
    capacity: HostCapacity
    lead: LeadTime
    gpus_per_host: int
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planner:
    """Everything that the steps share."""

    facts: FleetFacts
    settings: PlanSettings
    blackouts: Sequence[Blackout]

    def needs(self, profile: DemandProfile, first: date, days: int) -> Needs:
        return needs_of(
            profile,
            first=first,
            days=days,
            tokens_per_second=self.facts.capacity.tokens_per_second,
            lead_s=self.facts.lead.seconds,
            quantile=self.settings.quantile,
            minimum_quantile=self.settings.minimum_quantile,
            spare=self.settings.spare,
        )

    def cells(self, hosts: Counts, cell: Counts, count: int, *, circular: bool) -> Counts:
        """Return the sizes of a grid: short dips filled, between floor and ceiling."""
        limits = self.facts.limits
        worth = (self.facts.lead.seconds + self.settings.drain_s) / 60 / self.settings.grid_min
        filled = fill_gaps(most_of(hosts, cell, count), int(worth), circular=circular)
        return np.clip(filled, limits.floor, limits.ceiling)

    def size(self, run: Run) -> Size:
        most = min(self.facts.limits.ceiling, math.ceil(run.desired * (1 + self.settings.surprise)))
        return Size(minimum=run.minimum, desired=run.desired, maximum=max(run.desired, most))

    def reason(self, run: Run, exact: Floats) -> str:
        if not exact.size:
            return "an hour that this week lacks: as the one before"
        most, limits, hosts = float(exact.max()), self.facts.limits, run.desired
        said = f"P{100 * self.settings.quantile:g} of demand is {most:.1f} hosts"
        if hosts == limits.ceiling and most > hosts:
            return f"{said}, the ceiling is {hosts}"
        if hosts == limits.floor and most + self.settings.spare <= hosts - 1:
            return f"{said}, the floor is {hosts}"
        if hosts > math.ceil(most - ROUNDING) + self.settings.spare:
            return f"{said}; {hosts} for what comes before or after"
        return said

    def parts(
        self, profile: DemandProfile, needs: Needs, cell: Counts, runs: Sequence[Run]
    ) -> list[tuple[Run, str, Expected | None]]:
        """Return the runs with their reasons and what is expected of them."""
        length = [run.end - run.start for run in runs]
        hosts = np.repeat([run.desired for run in runs], length).astype(np.int64)[cell]
        met = profile.attainment(needs.times, hosts * self.facts.capacity.tokens_per_second)
        found = []
        for run in runs:
            part = (cell >= run.start) & (cell < run.end)
            expected = expected_of(
                needs.demand[part],
                met[part],
                hosts[part],
                gpus_per_host=self.facts.gpus_per_host,
            )
            found.append((run, self.reason(run, needs.exact[part]), expected))
        return found


def plan(
    profile: DemandProfile,
    facts: FleetFacts,
    *,
    now: datetime,
    settings: PlanSettings,
    blackouts: Sequence[Blackout] = (),
    overrides: Sequence[Override] = (),
) -> Schedule:
    """Return the schedule of the seven days that start with the local day of `now`.

    Special days among them get dated entries; the weekly ones stay as on any other week.
    """
    planner = _Planner(facts=facts, settings=settings, blackouts=blackouts)
    today = now.astimezone(profile.calendar.zone).date()
    schedule = Schedule(
        fleet=facts.name,
        zone=profile.calendar.zone.key,
        made_at=now.astimezone(UTC),
        lead_s=facts.lead.seconds,
        gpus_per_host=facts.gpus_per_host,
        basis=f"{facts.capacity.tokens_per_second:.4g} tokens/s a host ({facts.capacity.source}); "
        f"{facts.lead.seconds:.0f} s to start one ({facts.lead.source})",
        limits=facts.limits,
        weekly=_weekly(planner, profile, today),
        dated=_dated(planner, profile, today),
        overrides=live_overrides(overrides, now),
        blackouts=tuple(blackouts),
    )
    needs = planner.needs(profile, today, DAYS)
    hosts = np.array([size.desired for size in schedule.sizes(needs.times)], dtype=np.int64)
    met = profile.attainment(needs.times, hosts * facts.capacity.tokens_per_second)
    whole = expected_of(needs.demand, met, hosts, gpus_per_host=facts.gpus_per_host)
    return replace(schedule, expected=whole)


def _weekly(planner: _Planner, profile: DemandProfile, today: date) -> tuple[WeeklyEntry, ...]:
    plain = LocalCalendar(zone=profile.calendar.zone, special=MappingProxyType({}))
    ordinary = replace(profile, calendar=plain)
    needs = planner.needs(ordinary, today, DAYS)
    grid = planner.settings.grid_min
    cell = minutes_of_week(needs.wall) // grid
    minimum, desired = (
        planner.cells(hosts, cell, MINUTES_A_WEEK // grid, circular=True)
        for hosts in (needs.minimum, needs.desired)
    )
    for blackout in planner.blackouts:
        still = np.unique(minutes_between(blackout.start, blackout.end) // grid)
        minimum[still], desired[still] = minimum[still].max(), desired[still].max()
    runs = joined(minimum, desired, most=planner.settings.max_entries)
    return tuple(
        WeeklyEntry(
            start=run.start * grid,
            end=run.end * grid % MINUTES_A_WEEK,
            size=planner.size(run),
            reason=reason,
            expected=expected,
        )
        for run, reason, expected in planner.parts(ordinary, needs, cell, runs)
    )


def _dated(planner: _Planner, profile: DemandProfile, today: date) -> tuple[DatedEntry, ...]:
    grid = planner.settings.grid_min
    most = max(4, planner.settings.max_entries // DAYS)
    entries: list[DatedEntry] = []
    for day in (today + timedelta(days=number) for number in range(DAYS)):
        special = profile.calendar.special_day(day)
        if special is None:
            continue
        needs = planner.needs(profile, day, 1)
        cell = minutes_of_week(needs.wall) % MINUTES_A_DAY // grid
        minimum, desired = (
            planner.cells(hosts, cell, MINUTES_A_DAY // grid, circular=False)
            for hosts in (needs.minimum, needs.desired)
        )
        midnight = datetime.combine(day, time(0))
        entries += [
            DatedEntry(
                start=midnight + timedelta(minutes=run.start * grid),
                end=midnight + timedelta(minutes=run.end * grid),
                size=planner.size(run),
                reason=f"{special.name}: {reason}",
                expected=expected,
            )
            for run, reason, expected in planner.parts(
                profile, needs, cell, joined(minimum, desired, most=most)
            )
        ]
    return tuple(entries)
