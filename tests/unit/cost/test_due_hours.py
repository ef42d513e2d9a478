from datetime import timedelta

from cost_worlds import HOUR

from greenlight.cost.hours import HourSettings, HourState, due

SETTINGS = HourSettings(settle_minutes=5, recompute_hours=3, keep_trying_hours=6)


def hours(*before):
    return tuple(HOUR - timedelta(hours=n) for n in before)


def asked(known, minutes=60):
    now = HOUR + timedelta(minutes=minutes)
    return due(dict.fromkeys(known, HourState.COMPUTED), now=now, settings=SETTINGS)


def test_an_hour_is_due_when_its_samples_have_had_time_to_come():
    assert HOUR not in asked([], minutes=64)
    assert HOUR in asked([], minutes=65)


def test_the_newest_hours_are_computed_again_for_late_samples():
    assert asked(hours(*range(1, 12)), minutes=65) == hours(2, 1, 0)


def test_hours_that_are_missing_are_made_up_for():
    assert asked(hours(0, 1, 2, 3, 5), minutes=65) == hours(4, 2, 1, 0)


def test_an_hour_kept_aside_stays_due_until_its_samples_are_gone():
    known = dict.fromkeys(hours(*range(12)), HourState.COMPUTED)
    known |= {hours(4)[0]: HourState.ASIDE, hours(9)[0]: HourState.ASIDE}
    now = HOUR + timedelta(minutes=65)
    assert due(known, now=now, settings=SETTINGS) == hours(4, 2, 1, 0)
