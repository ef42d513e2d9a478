from datetime import UTC, datetime, timedelta
from random import Random

from greenlight.backup.drill_target import CLEAR_S, choose_target, lost_and_ahead
from greenlight.backup.ports import Sentinel

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def sentinels(*seconds):
    return [Sentinel(number=n, at=NOON + timedelta(seconds=s)) for n, s in enumerate(seconds)]


def target(rows, *, after=0.0, until=100.0, seed=1):
    return choose_target(
        rows,
        after=NOON + timedelta(seconds=after),
        until=NOON + timedelta(seconds=until),
        random=Random(seed),
    )


def test_a_target_lies_between_two_sentinels_and_away_from_each():
    rows = sentinels(0, 10, 20, 70)
    for seed in range(300):
        at = target(rows, seed=seed)
        assert NOON < at < NOON + timedelta(seconds=70)
        assert all(abs((at - row.at).total_seconds()) >= CLEAR_S for row in rows)


def test_every_part_of_the_window_is_hit():
    found = {
        int((target(sentinels(0, 100), seed=s) - NOON).total_seconds() / 10) for s in range(300)
    }
    assert found == set(range(10))


def test_a_target_stays_within_what_the_region_can_restore():
    found = [target(sentinels(0, 100), after=40, until=60, seed=seed) for seed in range(100)]
    assert all(40 <= (at - NOON).total_seconds() <= 60 for at in found)


def test_without_a_sentinel_on_each_side_no_target_can_be_proven():
    assert target(sentinels(50)) is None
    assert target(sentinels()) is None
    assert target(sentinels(0, 10), after=20) is None
    assert target(sentinels(0, 0.9)) is None


def test_rows_up_to_the_target_that_are_missing_are_lost():
    at = NOON + timedelta(seconds=15)
    assert lost_and_ahead(sentinels(0, 10, 20), sentinels(0), at=at) == (1, 0)


def test_rows_after_the_target_that_are_there_are_ahead():
    at = NOON + timedelta(seconds=15)
    assert lost_and_ahead(sentinels(0, 10, 20), sentinels(0, 10, 20), at=at) == (0, 1)
