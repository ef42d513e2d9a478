from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from scaling_worlds import A_DAY, HOST, LONDON, changed, constant, learned, local_demand, size

from greenlight.scaling.demand_profile import NotEnoughData
from greenlight.scaling.look_back import LookBack, look_back
from greenlight.scaling.schedule import WeeklyEntry

MONDAY = date(2026, 3, 23)
WEEK = (
    WeeklyEntry(start=0, end=540, size=size(2), reason="x"),
    WeeklyEntry(start=540, end=1020, size=size(10), reason="x"),
    WeeklyEntry(start=1020, end=0, size=size(2), reason="x"),
)


def looked(*, hosts=10.0, part=slice(0), factor=1.0, day=MONDAY, zone="UTC", **more):
    series = local_demand(28, zone=zone)
    demand = changed(series, part, factor)
    there = replace(series, values=np.full(series.values.size, hosts))
    return look_back(
        constant(weekly=WEEK, zone=zone, **more),
        learned(series.until(np.datetime64(MONDAY, "us")), zone=zone),
        demand=demand,
        hosts=there,
        tokens_per_second=HOST,
        day=day,
    )


def test_a_day_as_planned_has_nothing_to_tell():
    found = looked(gpus_per_host=2)
    assert (found.slo_pct, found.planned_slo_pct, found.worst_hour) == (100.0, 100.0, None)
    assert found.planned_hours == 2 * (16 * 2 + 8 * 10)
    assert found.hours == 2 * 24 * 10
    assert found.spare_hours == 2 * 16 * 8
    assert found.error == pytest.approx(0, abs=0.01)


def test_a_burst_that_nobody_planned_names_its_hour():
    burst = slice(21 * A_DAY + 4 * 20, 21 * A_DAY + 4 * 21)
    found = looked(part=burst, factor=20.0)
    assert found.worst_hour == 20
    assert found.slo_pct < 100
    assert found.planned_slo_pct == found.slo_pct
    assert found.error > 0.1


def test_hosts_beside_the_plan_are_told_apart_from_it():
    found = looked(hosts=5.0)
    assert found.planned_slo_pct == 100.0
    assert found.slo_pct < 50


def test_hours_are_local():
    burst = slice(27 * A_DAY + 4 * 19, 27 * A_DAY + 4 * 20)  # 19:00 UTC, 20:00 in London
    found = looked(part=burst, factor=20.0, zone=LONDON, day=date(2026, 3, 29))
    assert found.worst_hour == 20
    assert isinstance(found, LookBack)


def test_a_day_that_was_hardly_measured_has_no_figures():
    gone = slice(21 * A_DAY, 21 * A_DAY + 40)
    found = looked(part=gone, factor=np.nan)
    assert isinstance(found, NotEnoughData)
    assert "58% of 2026-03-23" in found.why
    assert isinstance(looked(day=MONDAY + timedelta(days=90)), NotEnoughData)
