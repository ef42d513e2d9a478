from datetime import date
from itertools import pairwise

import numpy as np
import pytest
from scaling_worlds import HOST, LONDON, at, facts, learned, local_demand

from greenlight.scaling.calendars import SpecialDay
from greenlight.scaling.gaps import ahead, fill_gaps
from greenlight.scaling.planning import PlanSettings, plan
from greenlight.scaling.schedule import Blackout, week_time

NOW = at("2026-03-23T00:00")  # a Monday, the day after three weeks of demand


def planned(profile=None, *, now=NOW, blackouts=(), overrides=(), **values):
    known = {
        key: values.pop(key) for key in ("lead_s", "floor", "ceiling", "gpus") if key in values
    }
    return plan(
        profile or learned(local_demand(21)),
        facts(**known),
        now=now,
        settings=PlanSettings(**values),
        blackouts=blackouts,
        overrides=overrides,
    )


def test_hosts_are_there_before_the_rush_by_the_lead_time():
    schedule = planned(lead_s=600, grid_min=5)
    found = [
        schedule.at(at(f"2026-03-23T{t}")).minimum for t in ("08:45", "08:50", "09:00", "16:59")
    ]
    assert found == [2, 10, 10, 10]
    assert schedule.at(at("2026-03-23T17:30")).minimum == 2


def test_the_plan_serves_what_was_learned_in_every_minute():
    profile = learned(local_demand(28, noise=0.05))
    schedule = planned(profile, now=at("2026-03-30T00:00"))
    times = np.datetime64("2026-03-30", "us") + np.arange(7 * 288) * np.timedelta64(5, "m")
    desired = np.array([size.desired for size in schedule.sizes(times)])
    assert (desired * HOST >= profile.upper(times, 0.99) - 1e-6).all()


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_a_week_in_which_clocks_change_has_no_hole_and_serves_the_rush(day):
    start = np.datetime64(day, "us") - np.timedelta64(27, "D")
    profile = learned(local_demand(26, zone=LONDON, start=start), zone=LONDON)
    schedule = planned(profile, now=at(f"{day}T12:00"))
    rush = np.datetime64(day, "us") + np.timedelta64(1, "D") + np.timedelta64(10, "h")
    assert schedule.sizes(np.array([rush]))[0].minimum == 10


def test_floor_and_ceiling_bind_and_say_so():
    schedule = planned(floor=3, ceiling=6)
    assert {entry.size.minimum for entry in schedule.weekly} == {3, 6}
    reasons = " ".join(entry.reason for entry in schedule.weekly)
    assert "the ceiling is 6" in reasons
    assert schedule.expected.slo_pct < 60


def test_nothing_changes_in_a_blackout():
    freeze = Blackout(start=(0 * 24 + 8) * 60, end=(0 * 24 + 20) * 60, reason="freeze")
    schedule = planned(blackouts=(freeze,))
    times = np.datetime64("2026-03-23T08:00", "us") + np.arange(720) * np.timedelta64(1, "m")
    assert {size.minimum for size in schedule.sizes(times)} == {10}
    assert schedule.at(at("2026-03-23T07:59")).minimum == 2
    assert schedule.blackouts == (freeze,)


def test_a_holiday_gets_entries_of_its_own_and_leaves_the_week_alone():
    holiday = SpecialDay(day=date(2026, 3, 25), name="Midweek")
    schedule = planned(learned(local_demand(21), own=[holiday]))
    assert {entry.start.date() for entry in schedule.dated} == {date(2026, 3, 25)}
    assert all(entry.reason.startswith("Midweek: ") for entry in schedule.dated)
    assert schedule.at(at("2026-03-25T10:00")).minimum == 2
    assert schedule.at(at("2026-04-01T10:00")).minimum == 10


def test_a_schedule_is_as_short_as_asked_and_never_lower_for_it():
    profile = learned(local_demand(28, noise=0.3))
    now = at("2026-03-30T00:00")
    full, short = (
        planned(profile, now=now, max_entries=2016),
        planned(profile, now=now, max_entries=8),
    )
    assert len(short.weekly) <= 8 < len(full.weekly)
    times = np.datetime64("2026-03-30", "us") + np.arange(7 * 288) * np.timedelta64(5, "m")
    pairs = list(zip(full.sizes(times), short.sizes(times), strict=True))
    assert all(b.minimum >= a.minimum and b.desired >= a.desired for a, b in pairs)
    assert short.expected.gpu_hours > full.expected.gpu_hours


def test_hours_and_attainment_are_told_for_the_whole_and_for_each_entry():
    schedule = planned(gpus=4)
    assert schedule.expected.slo_pct == 100.0
    assert schedule.expected.gpu_hours == pytest.approx(
        sum(entry.expected.gpu_hours for entry in schedule.weekly), abs=1
    )
    assert schedule.expected.gpu_hours > 4 * 2 * 168


def test_spare_hosts_and_a_lower_minimum_are_settings():
    spare = planned(spare=2)
    assert spare.at(at("2026-03-23T10:00")).minimum == 12
    noisy = learned(local_demand(28, noise=0.2))
    low = planned(noisy, now=at("2026-03-30T00:00"), minimum_quantile=0.1)
    rush = low.at(at("2026-03-30T10:00"))
    assert rush.minimum < rush.desired < rush.maximum


def test_entries_start_and_end_where_people_can_read_them():
    schedule = planned()
    assert week_time(schedule.weekly[0].start) == "mon 00:00"
    assert all(entry.start % 30 == 0 for entry in schedule.weekly)


@pytest.mark.parametrize("seed", range(30))
def test_only_short_dips_are_filled(seed):
    rng = np.random.default_rng(seed)
    needed = rng.integers(0, 5, rng.integers(1, 40))
    longest = int(rng.integers(0, 9))
    filled = needed.copy()
    for level in range(1, needed.max() + 1):
        busy = np.flatnonzero(needed >= level)
        for before, after in pairwise(busy):
            if after - before - 1 <= longest:
                filled[before:after] = np.maximum(filled[before:after], level)
    np.testing.assert_array_equal(fill_gaps(needed, longest), filled)


def test_a_dip_over_the_end_of_the_week_is_filled_too():
    needed = np.array([0, 3, 0, 0, 0, 0, 3])
    assert fill_gaps(needed, 1, circular=True).tolist() == [3, 3, 0, 0, 0, 0, 3]


def test_looking_ahead_takes_the_most_that_comes():
    assert ahead(np.array([1, 1, 5, 1, 2]), 2).tolist() == [5, 5, 5, 2, 2]
