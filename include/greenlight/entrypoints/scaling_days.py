"""How a fleet's days went against their schedules."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

import numpy as np

from greenlight.adapters.table_metrics import FleetSchedule
from greenlight.core.errors import InputError
from greenlight.entrypoints.scaling import read_kept
from greenlight.entrypoints.scaling_measured import Measured, NotPlanned, not_planned, unmeasured
from greenlight.scaling.calendars import zone_of
from greenlight.scaling.capacity import Unknown
from greenlight.scaling.demand import learn
from greenlight.scaling.demand_profile import NotEnoughData
from greenlight.scaling.demand_series import DAY
from greenlight.scaling.kept import ScheduleState
from greenlight.scaling.look_back import LookBack, look_back
from greenlight.scaling.ports import ScheduleStore
from greenlight.scaling.schedule import Schedule

if TYPE_CHECKING:
    from greenlight.entrypoints.scaling_tools import ScalingTools

SHOWN = 3 * DAY
"""How long ago a day may be that metrics tell of."""


class Days:
    """One fleet's days."""

    def __init__(self, tools: ScalingTools) -> None:
        self._tools = tools
        self._measured = Measured(tools)
        self.fleet = tools.fleet.name

    def newest(self, count: int) -> tuple[LookBack, ...]:
        """Return what is kept of the last days, oldest first; some may have no figures."""
        today = self._today()
        return self._tools.store.look_backs(self.fleet, today - count * DAY, today)

    def look_back(self, day: date | None = None) -> LookBack | NotPlanned:
        """Compare a local day, by default yesterday, with its schedule, and keep that.

        Raises:
            InputError: the day isn't over.
            UnavailableError: Prometheus, the registry or the database doesn't answer.
        """
        zone = zone_of(self._tools.scaling.zone)
        day = day or self._today() - DAY
        start, end = (
            datetime.combine(one, time(0), tzinfo=zone).astimezone(UTC) for one in (day, day + DAY)
        )
        if end > self._tools.clock.now():
            raise InputError(f"{day} isn't over in {zone.key}: give an earlier day")
        kept = self._tools.store.applied_at(self.fleet, start)
        if kept is None:
            return not_planned(self.fleet, f"no schedule was applied when {day} began")
        found = self._compare(read_kept(kept), day=day, start=start, end=end)
        if isinstance(found, LookBack):
            self._tools.store.save_look_back(self.fleet, found)
        return found

    def _compare(
        self, schedule: Schedule, *, day: date, start: datetime, end: datetime
    ) -> LookBack | NotPlanned:
        """Learn what was known when the schedule was made, and hold the day against it."""
        capacity = self._measured.capacity()
        if isinstance(capacity, Unknown):
            return unmeasured(self.fleet, [capacity])
        known_for = end - schedule.made_at + timedelta(days=1)
        demand = self._measured.demand(until=end, replayed_days=known_for.days)
        hosts = self._tools.source.hosts(start, end)
        if demand is None or hosts is None:
            return not_planned(self.fleet, f"demand or hosts of {day} were not measured")
        known = demand.until(np.datetime64(schedule.made_at.replace(tzinfo=None), "us"))
        profile = learn(known, self._measured.calendar(demand, end), self._tools.scaling.learn)
        if isinstance(profile, NotEnoughData):
            return not_planned(self.fleet, profile.why)
        found = look_back(
            schedule,
            profile,
            demand=demand,
            hosts=hosts,
            tokens_per_second=capacity.tokens_per_second,
            day=day,
        )
        return found if isinstance(found, LookBack) else not_planned(self.fleet, found.why)

    def _today(self) -> date:
        return self._tools.clock.now().astimezone(zone_of(self._tools.scaling.zone)).date()


def fleet_schedule(store: ScheduleStore, fleet: str, *, now: datetime) -> FleetSchedule:
    """Return what the exporter tells of a fleet; of days only one of the last three."""
    applied, newest = store.applied(fleet), store.newest(fleet, count=1)
    is_open = bool(newest) and newest[0].state is ScheduleState.PROPOSED
    days = store.look_backs(fleet, (now - SHOWN).date(), now.date())
    return FleetSchedule(
        fleet=fleet,
        applied=applied,
        size=None if applied is None else read_kept(applied).at(now),
        waiting=newest[0] if is_open and newest[0].waits_for else None,
        day=days[-1] if days else None,
    )
