import math

import pytest

from greenlight.deploy.counters import FirstTokens, LiveCounts, Tally, Unread, together


def routed(requests, errors=0):
    return LiveCounts(requests=requests, errors=errors)


def tokens(*within, bounds=(1.0, 2.5, math.inf)):
    return FirstTokens(bounds=bounds, within=within)


def counted(*totals):
    """Return what a tally has after it saw these totals, the first when it began."""
    tally = Tally.begun(totals[0])
    for total in totals[1:]:
        tally = tally.after(total)
    return tally.counted


def test_counters_are_counted_from_where_the_step_began():
    assert counted(routed(100, 1), routed(120, 1), routed(150, 3)) == routed(50, 2)
    assert counted(tokens(5, 8, 9), tokens(6, 10, 12)) == tokens(1, 2, 3)
    assert counted(routed(100, 1)) == routed(0)


def test_after_a_restart_counting_goes_on_from_zero_with_what_was_counted_before():
    assert counted(routed(100, 1), routed(150, 3), routed(7, 1), routed(20, 1)) == routed(70, 3)
    assert counted(tokens(5, 8, 9), tokens(7, 10, 12), tokens(1, 1, 2)) == tokens(3, 3, 5)


def test_one_counter_that_went_back_is_a_restart_though_the_other_rose():
    assert counted(routed(10, 5), routed(12, 0)) == routed(12, 0)


def test_engines_of_a_colour_are_added_up():
    assert together([tokens(1, 2, 3), tokens(10, 20, 30)]) == tokens(11, 22, 33)


def test_without_one_of_its_engines_a_colour_is_unknown_and_not_smaller():
    away = Unread(reason="gpu-1 is away")
    assert together([tokens(1, 2, 3), away]) is away
    assert isinstance(together([]), Unread)


def test_histograms_with_other_buckets_are_added_at_the_bounds_they_share():
    other = tokens(4, 5, 6, 7, bounds=(0.5, 1.0, 5.0, math.inf))
    assert together([tokens(1, 2, 3), other]) == tokens(6, 10, bounds=(1.0, math.inf))


@pytest.mark.parametrize(("seconds", "bound"), [(0.1, 1.0), (1.0, 1.0), (1.1, 2.5), (2.6, None)])
def test_a_limit_is_read_at_the_next_finite_bound(seconds, bound):
    assert tokens(5, 8, 9).bound_from(seconds) == bound


def test_later_than_a_bound_are_all_that_were_not_within_it():
    found = tokens(5, 8, 9)
    assert [found.later_than(1.0), found.later_than(2.5), found.n] == [4, 1, 9]
