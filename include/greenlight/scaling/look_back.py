"""Yesterday's plan against what happened: what it was worth, and where it was wrong.

Only minutes whose demand and hosts were both measured count; how many that were is told with the
rest. A day of which too little was measured has no figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import numpy as np

from greenlight.scaling.calendars import wall_clock, zone_of
from greenlight.scaling.demand_profile import DemandProfile, NotEnoughData
from greenlight.scaling.demand_series import HOUR, MINUTE, DemandSeries, Floats, Times
from greenlight.scaling.schedule import Schedule

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class LookBack:
    """One local day. Hours are GPU-hours; `share`: of the day that was measured.

    `planned_slo_pct`: with the scheduled size alone; `slo_pct`: with the hosts that were there.
    `error`: mean absolute error of the expected demand over the demand (WAPE). `worst_hour`: the
    local hour with the most demand that missed its hosts; `None`: none did. `spare_hours`: of hosts
    beyond what demand needed.
    """

    day: date
    share: float
    planned_hours: float
    hours: float
    spare_hours: float
    planned_slo_pct: float
    slo_pct: float
    error: float
    worst_hour: int | None


def look_back(
    schedule: Schedule,
    profile: DemandProfile,
    *,
    demand: DemandSeries,
    hosts: DemandSeries,
    tokens_per_second: float,
    day: date,
    min_share: float = 0.75,
) -> LookBack | NotEnoughData:
    """Compare a local day's plan with it. `profile`: what the plan was made from.

    `hosts`: ready ones, as a series like the demand; both are told in minutes here.
    """
    minutes = _minutes(schedule, day)
    came, ready = _at(demand, minutes), _at(hosts, minutes)
    known = np.isfinite(came) & np.isfinite(ready)
    share = float(known.mean())
    if share < min_share or not came[known].sum():
        return NotEnoughData(
            why=f"{share:.0%} of {day} has both demand and hosts measured, at least "
            f"{min_share:.0%}, with some demand, are needed"
        )
    minutes, came, ready = minutes[known], came[known], ready[known]
    needed = np.ceil(came / tokens_per_second - _ROUNDING)
    planned = np.array([size.desired for size in schedule.sizes(minutes)], dtype=np.float64)
    missed = np.where(ready < needed, came, 0.0)
    hour = MINUTE / HOUR * schedule.gpus_per_host
    return LookBack(
        day=day,
        share=share,
        planned_hours=float(planned.sum()) * hour,
        hours=float(ready.sum()) * hour,
        spare_hours=float(np.maximum(0.0, ready - needed).sum()) * hour,
        planned_slo_pct=100 - 100 * float(came[planned < needed].sum() / came.sum()),
        slo_pct=100 - 100 * float(missed.sum() / came.sum()),
        error=float(np.abs(profile.expected(minutes) - came).sum() / came.sum()),
        worst_hour=_worst_hour(missed, minutes, schedule),
    )


def _minutes(schedule: Schedule, day: date) -> Times:
    zone = zone_of(schedule.zone)
    start, end = (
        datetime.combine(when, time(0), tzinfo=zone).astimezone(UTC).replace(tzinfo=None)
        for when in (day, day + timedelta(days=1))
    )
    return np.arange(np.datetime64(start, "us"), np.datetime64(end, "us"), np.timedelta64(MINUTE))


def _at(series: DemandSeries, minutes: Times) -> Floats:
    """Return a series' values at times; NaN outside of it."""
    place = ((minutes - series.start) // np.timedelta64(series.step)).astype(np.int64)
    inside = (place >= 0) & (place < series.values.size)
    last = max(0, series.values.size - 1)
    return np.where(inside, series.values[np.clip(place, 0, last)], np.nan)


def _worst_hour(missed: Floats, minutes: Times, schedule: Schedule) -> int | None:
    if not missed.sum():
        return None
    wall = wall_clock(minutes, zone_of(schedule.zone))
    hours = (wall - wall.astype("datetime64[D]")) // np.timedelta64(HOUR)
    return int(np.argmax(np.bincount(hours.astype(np.int64), weights=missed, minlength=24)))
