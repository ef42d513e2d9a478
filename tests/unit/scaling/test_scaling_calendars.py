from datetime import date

import numpy as np
import pytest

from greenlight.core.errors import ConfigError
from greenlight.scaling.calendars import SpecialDay, calendar_of, wall_clock, zone_of


def hours_of(day, zone):
    """The local hours that the hours of UTC around a local day show."""
    times = np.datetime64(day, "us") + np.arange(-14, 38) * np.timedelta64(1, "h")
    wall = wall_clock(times, zone_of(zone))
    return [
        int(h)
        for h in wall[wall.astype("datetime64[D]") == np.datetime64(day)]
        .astype("datetime64[h]")
        .astype(int)
        % 24
    ]


def test_a_spring_day_has_23_hours_and_lacks_one():
    assert hours_of("2026-03-29", "Europe/London") == [0, *range(2, 24)]


def test_an_autumn_day_has_25_hours_and_one_of_them_twice():
    assert hours_of("2026-10-25", "Europe/London") == [0, 1, 1, *range(2, 24)]


def test_a_zone_that_is_off_by_three_quarters_of_an_hour_is_read_right():
    wall = wall_clock(
        np.array(["2026-03-02T00:00"], dtype="datetime64[us]"), zone_of("Asia/Kathmandu")
    )
    assert str(wall[0]) == "2026-03-02T05:45:00.000000"


def test_clocks_that_change_by_half_an_hour_are_read_right_on_that_day():
    zone = zone_of("Australia/Lord_Howe")
    times = np.array(["2026-04-04T14:55", "2026-04-04T15:05"], dtype="datetime64[us]")
    assert [str(t)[11:16] for t in wall_clock(times, zone)] == ["01:55", "01:35"]


def test_public_holidays_of_a_country_are_special_and_own_days_replace_them():
    own = SpecialDay(day=date(2026, 12, 25), name="Sale", like=0, factor=2.0)
    calendar = calendar_of(
        "Europe/London", country="GB", subdivision="ENG", years=[2026], own=[own]
    )
    assert calendar.special_day(date(2026, 12, 28)).name.startswith("Boxing Day")
    assert calendar.special_day(date(2026, 12, 25)) == own
    assert calendar.special_day(date(2026, 12, 24)) is None


@pytest.mark.parametrize("zone", ["Europe/Londn", "", "../etc/passwd"])
def test_a_zone_that_does_not_exist_is_named(zone):
    with pytest.raises(ConfigError, match="no time zone"):
        zone_of(zone)


def test_a_country_that_does_not_exist_is_named():
    with pytest.raises(ConfigError, match="XX"):
        calendar_of("UTC", country="XX", years=[2026])
