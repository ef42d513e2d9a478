from dataclasses import replace

import pytest
from scaling_worlds import LONDON, at, constant, size

from greenlight.scaling.schedule import Expected, Override, WeeklyEntry
from greenlight.scaling.schedule_changes import ChangeLimits, diff, is_large_change, why_large

MONDAY = at("2026-03-23T00:00")


def with_rush(hosts, **more):
    week = (
        WeeklyEntry(start=0, end=540, size=size(4, 4, 6), reason="x"),
        WeeklyEntry(start=540, end=600, size=size(hosts, hosts, hosts + 2), reason="x"),
        WeeklyEntry(start=600, end=0, size=size(4, 4, 6), reason="x"),
    )
    return constant(weekly=week, **more)


def reasons(before, after, **limits):
    return why_large(before, after, diff(before, after, start=MONDAY), ChangeLimits(**limits))


def test_the_same_schedule_has_no_changes():
    found = diff(constant(4), with_rush(4), start=MONDAY)
    assert found.is_empty
    assert not is_large_change(constant(4), with_rush(4), found, ChangeLimits())


def test_a_change_is_told_in_one_line_with_its_hours():
    found = diff(constant(4), with_rush(6), start=MONDAY)
    assert [change.line for change in found.changed] == [
        "mon 09:00 to mon 10:00: 4 (4 to 6) → 6 (6 to 8)"
    ]
    assert (found.gpu_hours_before, found.gpu_hours_after) == (672.0, 674.0)
    assert (found.fewer_hosts, found.more_hosts) == (0, 2)


def test_times_are_local():
    before, after = constant(4, zone=LONDON), with_rush(6, zone=LONDON)
    found = diff(before, after, start=at("2026-07-05T23:00"))
    assert found.changed[0].line.startswith("mon 09:00 to mon 10:00")


def test_small_changes_are_applied_and_large_ones_wait():
    assert reasons(constant(4), with_rush(9)) == ()
    assert "6 hosts more at once (limit 5)" in reasons(constant(4), with_rush(10))
    assert "4 hosts fewer at once (limit 3)" in reasons(with_rush(8), constant(4))
    assert any("GPU-hours a week, +25.0 %" in why for why in reasons(constant(4), constant(5)))
    assert any("-25.0 %" in why for why in reasons(constant(4), constant(3)))


@pytest.mark.parametrize("limits", [{"gpu_hours_pct": 30}, {"gpu_hours_pct": 25}])
def test_the_limits_are_settings(limits):
    assert reasons(constant(4), constant(5), **limits) == ()


def test_a_schedule_that_serves_less_waits():
    before = constant(expected=Expected(slo_pct=99.9, gpu_hours=1))
    after = constant(expected=Expected(slo_pct=99.0, gpu_hours=1))
    assert any("points less" in why for why in reasons(before, after))
    assert reasons(after, before) == ()


def test_a_first_schedule_always_waits():
    assert why_large(None, constant(), None, ChangeLimits()) == (
        "the first schedule of this fleet",
    )


def test_other_limits_or_another_zone_wait_for_a_person():
    assert reasons(constant(), constant(ceiling=60)) == ("floor, ceiling or time zone changes",)
    assert reasons(constant(), constant(zone=LONDON)) == ("floor, ceiling or time zone changes",)


def test_a_longer_start_is_told_without_a_change_of_size():
    slower = replace(constant(), lead_s=600.0)
    assert diff(constant(), slower, start=MONDAY).facts == ("seconds to start a host: 300 → 600",)


def test_an_override_shows_as_long_as_it_holds():
    override = Override(
        start=at("2026-03-23T08:00"),
        expires=at("2026-03-23T10:00"),
        minimum=6,
        maximum=None,
        reason="launch",
        by="ana",
    )
    found = diff(constant(4), constant(4, overrides=(override,)), start=MONDAY)
    assert [c.line for c in found.changed] == ["mon 08:00 to mon 10:00: 4 (4 to 6) → 6 (6 to 6)"]
