from datetime import timedelta

import numpy as np
import pytest
from scaling_worlds import LONDON, at, constant, local, size

from greenlight.core.errors import ConfigError, InputError
from greenlight.scaling.schedule import (
    Blackout,
    DatedEntry,
    Limits,
    Override,
    WeeklyEntry,
    live_overrides,
)


def entry(start, end, hosts):
    return WeeklyEntry(start=start * 60, end=end * 60, size=size(hosts), reason="because")


WEEK = (entry(0, 9, 2), entry(9, 17, 8), entry(17, 0, 2))  # busy on Mondays from nine to five


def test_times_of_the_week_are_local():
    schedule = constant(weekly=WEEK, zone=LONDON)
    assert schedule.at(at("2026-03-23T09:30")).minimum == 8  # winter: 09:30
    assert schedule.at(at("2026-03-30T08:30")).minimum == 8  # summer: 09:30
    assert schedule.at(at("2026-03-30T16:30")).minimum == 2  # summer: 17:30


def test_many_times_at_once_say_the_same_as_one_by_one():
    schedule = constant(weekly=WEEK, zone=LONDON)
    times = np.datetime64("2026-10-24", "us") + np.arange(500) * np.timedelta64(7, "m")
    one_by_one = [schedule.at(at(str(time)[:19])) for time in times]
    assert schedule.sizes(times) == one_by_one


def test_a_dated_entry_goes_before_a_weekly_one():
    day = DatedEntry(
        start=local("2026-03-23"), end=local("2026-03-24"), size=size(3), reason="holiday"
    )
    schedule = constant(weekly=WEEK, dated=(day,))
    assert schedule.at(at("2026-03-23T10:00")).minimum == 3
    assert schedule.at(at("2026-03-30T10:00")).minimum == 8


def override(**values):
    return Override(
        **{
            "start": at("2026-03-23T08:00"),
            "expires": at("2026-03-23T12:00"),
            "minimum": None,
            "maximum": None,
            "reason": "launch",
            "by": "ana",
            **values,
        }
    )


def test_an_override_holds_until_it_lapses():
    schedule = constant(4, overrides=(override(minimum=20),))
    found = [
        schedule.at(at(f"2026-03-23T{time}")).minimum
        for time in ("07:59", "08:00", "11:59", "12:00")
    ]
    assert found == [4, 20, 20, 4]


def test_an_override_can_lower_what_the_schedule_wants():
    found = constant(9, overrides=(override(maximum=2),)).at(at("2026-03-23T09:00"))
    assert (found.minimum, found.desired, found.maximum) == (2, 2, 2)


def test_no_override_goes_beyond_floor_and_ceiling():
    asked = (
        override(minimum=99),
        override(maximum=0, start=at("2026-03-24T08:00"), expires=at("2026-03-25T08:00")),
    )
    schedule = constant(4, floor=2, ceiling=10, overrides=asked)
    assert schedule.at(at("2026-03-23T09:00")).minimum == 10
    assert schedule.at(at("2026-03-24T09:00")).maximum == 2


def test_lapsed_overrides_are_not_taken_over():
    live, lapsed = override(expires=at("2026-03-24T00:00")), override()
    assert live_overrides((live, lapsed), at("2026-03-23T12:00")) == (live,)


def test_a_blackout_is_told_in_local_time():
    weekend = Blackout(start=(4 * 24 + 16) * 60, end=0, reason="nobody here")
    schedule = constant(zone=LONDON, blackouts=(weekend,))
    assert schedule.blackout_at(at("2026-07-10T15:30")) == weekend  # 16:30 in London
    assert schedule.blackout_at(at("2026-07-12T22:59")) == weekend
    assert schedule.blackout_at(at("2026-07-12T23:00")) is None


def test_a_week_with_a_hole_or_two_answers_is_refused():
    with pytest.raises(InputError, match="no weekly entry for mon 09:00"):
        constant(weekly=(entry(0, 9, 2), entry(10, 0, 2)))
    with pytest.raises(InputError, match="two weekly entries for mon 08:00"):
        constant(weekly=(entry(0, 9, 2), entry(8, 0, 2)))


def test_what_makes_no_sense_is_refused():
    with pytest.raises(InputError, match="must rise"):
        size(5, 4, 6)
    with pytest.raises(InputError, match="must rise"):
        Limits(floor=5, ceiling=4)
    with pytest.raises(ConfigError, match="Mars"):
        constant(zone="Mars/Olympus")
    day = local("2026-03-23")
    with pytest.raises(InputError, match="ends at"):
        constant(
            dated=(DatedEntry(start=day, end=day - timedelta(days=1), size=size(1), reason="x"),)
        )
