from datetime import timedelta

import numpy as np
import pytest
from scaling_worlds import LONDON

from greenlight.scaling.calendars import calendar_of
from greenlight.scaling.cells import Run, joined, most_of
from greenlight.scaling.day_rows import rows_of
from greenlight.scaling.demand_series import DemandSeries


def hourly(start, hours, zone=LONDON):
    series = DemandSeries(
        start=np.datetime64(start, "us"),
        step=timedelta(hours=1),
        values=np.arange(hours, dtype=float),
    )
    return rows_of(series, calendar_of(zone))


def test_a_day_of_23_hours_misses_one_and_moves_none():
    rows = hourly("2026-03-29T00:00", 23)
    assert [day.isoformat() for day in rows.days] == ["2026-03-29"]
    np.testing.assert_equal(rows.means[0, :4], [0, np.nan, 1, 2])
    assert rows.means[0, 23] == 22


def test_an_hour_that_comes_twice_is_its_mean_and_its_highest():
    rows = hourly("2026-10-24T23:00", 25)
    assert rows.means[0, :3].tolist() == [0, 1.5, 3]
    assert rows.peaks[0, :3].tolist() == [0, 2, 3]
    assert rows.means[0, 23] == 24


@pytest.mark.parametrize(("minutes", "slot"), [(1, 5), (5, 5), (7, 10), (30, 30), (60, 60)])
def test_a_slot_is_the_shortest_that_holds_a_step(minutes, slot):
    series = DemandSeries(
        start=np.datetime64("2026-03-02", "us"),
        step=timedelta(minutes=minutes),
        values=np.ones(2 * 24 * 60 // minutes),
    )
    assert rows_of(series, calendar_of("UTC")).slot == timedelta(minutes=slot)


def test_a_cell_without_a_step_is_as_the_one_before():
    assert most_of(np.array([3, 5, 2]), np.array([0, 0, 2]), 4).tolist() == [5, 5, 2, 2]


def test_equal_neighbours_are_one_run_and_the_cheapest_pair_is_joined_first():
    hosts = np.array([1, 1, 9, 9, 8, 1])
    runs = joined(hosts, hosts, most=10)
    assert [(run.start, run.end, run.desired) for run in runs] == [
        (0, 2, 1),
        (2, 4, 9),
        (4, 5, 8),
        (5, 6, 1),
    ]
    assert joined(hosts, hosts, most=3)[1] == Run(start=2, end=5, minimum=9, desired=9)
    assert joined(hosts, hosts, most=1) == [Run(start=0, end=6, minimum=9, desired=9)]


def test_a_joined_run_keeps_both_sizes_high_enough():
    minimum, desired = np.array([1, 3, 2]), np.array([4, 4, 6])
    (run,) = joined(minimum, desired, most=1)
    assert (run.minimum, run.desired) == (3, 6)
