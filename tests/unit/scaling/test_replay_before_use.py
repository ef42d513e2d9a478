from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from scaling_worlds import A_DAY, HOST, LONDON, changed, constant, facts, local_demand

from greenlight.scaling.calendars import calendar_of
from greenlight.scaling.demand import LearnSettings
from greenlight.scaling.demand_profile import NotEnoughData
from greenlight.scaling.nowcast import NowcastSettings
from greenlight.scaling.planning import PlanSettings
from greenlight.scaling.reactive import ReactiveSettings, Signal
from greenlight.scaling.replay.comparison import CompareSettings, compare
from greenlight.scaling.replay.nightly import Nights


def compared(series, *, zone="UTC", previous=None, days=7, **known):
    return compare(
        series,
        calendar_of(zone),
        facts(**known),
        previous=previous,
        reactive=ReactiveSettings(targets={Signal.TOKENS: 0.85 * HOST}),
        learning=LearnSettings(),
        planning=PlanSettings(),
        nowcasting=NowcastSettings(),
        settings=CompareSettings(days=days),
    )


def test_a_schedule_that_knows_the_rush_serves_what_hpa_misses():
    found = compared(local_demand(35, noise=0.02))
    rows = {row.policy: row for row in found.rows}
    assert found.rows[0].policy == "oracle"
    assert (rows["oracle"].over_oracle, rows["oracle"].slo_pct) == (1.0, 100.0)
    assert rows["hpa"].slo_pct < 99.5 < rows["schedule"].slo_pct
    assert rows["schedule"].over_oracle < rows["static"].over_oracle
    assert all(row.over_oracle >= 1 for row in found.rows if row.slo_pct == 100.0)


def test_the_previous_schedule_is_tried_as_it_is():
    found = compared(local_demand(35), previous=constant(1, ceiling=1))
    assert found.of("previous").slo_pct < 50
    assert compared(local_demand(35)).of("previous") is None


def test_days_are_local_and_whole():
    found = compared(local_demand(35, zone=LONDON), zone=LONDON)
    assert (found.first, found.last) == (date(2026, 3, 30), date(2026, 4, 5))


def test_too_little_history_or_too_many_gaps_are_not_enough_data():
    short = compared(local_demand(16), days=14)
    assert isinstance(short, NotEnoughData)
    assert "in the night before" in short.why
    gaps = changed(local_demand(35), slice(30 * A_DAY, 33 * A_DAY), np.nan)
    assert "wasn't measured" in compared(gaps).why


def test_nothing_of_a_day_is_known_in_the_night_before_it():
    series = local_demand(35, noise=0.05)
    poisoned = changed(series, slice(30 * A_DAY - 4, None), 50.0)  # from 23:00 on
    days = tuple(date(2026, 4, 1) + timedelta(days=n) for n in range(1))
    sizes = [
        Nights(series=one, calendar=calendar_of("UTC"), days=days).sizes(facts(), PlanSettings())
        for one in (series, poisoned)
    ]
    np.testing.assert_array_equal(sizes[0].desired, sizes[1].desired)


@pytest.mark.parametrize(("day", "minutes"), [("2026-03-29", 23 * 60), ("2026-10-25", 25 * 60)])
def test_a_day_on_which_clocks_change_has_all_of_its_minutes(day, minutes):
    start = np.datetime64(day, "us") - np.timedelta64(28, "D")
    series = local_demand(31, zone=LONDON, start=start)
    nights = Nights(series=series, calendar=calendar_of(LONDON), days=(date.fromisoformat(day),))
    assert nights.minutes.size == minutes == nights.demand().size
    assert nights.sizes(facts(), PlanSettings()).minimum.size == minutes


def test_one_missing_hour_is_bridged_and_said():
    series = changed(local_demand(35), slice(30 * A_DAY, 30 * A_DAY + 4), np.nan)
    found = compared(replace(series))
    assert found.bridged == pytest.approx(1 / (7 * 24))
