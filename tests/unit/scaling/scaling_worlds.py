"""Demand for tests: workdays and weekends from a fixed Monday on, by the quarter of an hour."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from greenlight.scaling.calendars import calendar_of, wall_clock, zone_of
from greenlight.scaling.capacity import HostCapacity, LeadTime
from greenlight.scaling.demand import LearnSettings, learn
from greenlight.scaling.demand_profile import DemandProfile
from greenlight.scaling.demand_series import DemandSeries
from greenlight.scaling.planning import FleetFacts
from greenlight.scaling.schedule import Limits, Schedule, Size, WeeklyEntry

MONDAY = np.datetime64("2026-03-02T00:00:00", "us")
STEP = timedelta(minutes=15)
A_DAY = 96
HOST = 100.0
"""Tokens a second."""
LONDON = "Europe/London"


def at(text: str) -> datetime:
    """Return a UTC moment."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def rush(hour, weekday):
    """Return the demand of local times: little at night, a rush from 9 to 17 on workdays."""
    busy = (hour >= 9) & (hour < 17) & (weekday < 5)
    return np.where(busy, 950.0, 150.0)


def local(text: str) -> datetime:
    """Return a local time, without zone, as a dated entry has it."""
    return datetime.fromisoformat(text)


def local_demand(days=21, *, zone="UTC", start=MONDAY, noise=0.0, seed=1, shape=rush):
    """Return demand that follows people's clocks in a zone."""
    times = start + np.arange(days * A_DAY) * np.timedelta64(STEP)
    wall = wall_clock(times, zone_of(zone))
    day = wall.astype("datetime64[D]")
    hour = (wall - day) / np.timedelta64(1, "h")
    weekday = (day.astype(np.int64) + 3) % 7
    rng = np.random.default_rng(seed)
    values = shape(hour, weekday) * (1 + rng.normal(0, noise, times.size))
    return DemandSeries(start=start, step=STEP, values=np.maximum(values, 0.0))


def changed(series, part, factor):
    """Return a series with a part multiplied."""
    values = series.values.copy()
    values[part] *= factor
    return replace(series, values=values)


def learned(series, *, zone="UTC", own=(), **settings) -> DemandProfile:
    """Learn, and expect it to be enough."""
    found = learn(series, calendar_of(zone, own=own), LearnSettings(**settings))
    assert isinstance(found, DemandProfile), found
    return found


def facts(*, lead_s=300.0, floor=1, ceiling=50, gpus=1) -> FleetFacts:
    """Return a fleet whose host serves HOST tokens a second."""
    return FleetFacts(
        name="chat",
        capacity=HostCapacity(tokens_per_second=HOST, source="benchmark 7"),
        lead=LeadTime(seconds=lead_s, source="P90 of 9 starts"),
        gpus_per_host=gpus,
        limits=Limits(floor=floor, ceiling=ceiling),
    )


def size(minimum, desired=None, maximum=None) -> Size:
    """Return a size, by default the same throughout."""
    desired = minimum if desired is None else desired
    return Size(minimum=minimum, desired=desired, maximum=desired if maximum is None else maximum)


def constant(hosts=4, *, floor=1, ceiling=50, **more) -> Schedule:
    """Return a schedule with one size all week."""
    entry = WeeklyEntry(start=0, end=0, size=size(hosts, hosts, hosts + 2), reason="always")
    values = {
        "fleet": "chat",
        "zone": "UTC",
        "made_at": at("2026-03-01T22:00"),
        "lead_s": 300.0,
        "gpus_per_host": 1,
        "basis": "benchmark 7",
        "limits": Limits(floor=floor, ceiling=ceiling),
        "weekly": (entry,),
    }
    return Schedule(**{**values, **more})
