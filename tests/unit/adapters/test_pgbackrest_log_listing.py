"""When segments of the log arrived, and what recovery to an instant would miss."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from greenlight.adapters.pgbackrest.log_listing import parse_log_listing
from greenlight.core.errors import UnavailableError

START = datetime(2026, 11, 25, 12, tzinfo=UTC)


def seg(number, timeline=1):
    return f"{timeline:08X}{number // 256:08X}{number % 256:08X}"


def minute(number):
    return START + timedelta(minutes=number)


def archived(numbers, *, later=(), began=None):
    """Return a log whose segment N arrived at minute N; `later`: on timeline 2, from `began` on."""
    names = [seg(number) for number in numbers] + [seg(number, 2) for number in later]
    found = {".": {"type": "path"}, "0000000100000000": {"type": "path"}}
    for name in names:
        at = minute(int(name[16:], 16) + (100 if name.startswith("00000002") else 0))
        path = f"{name[:16]}/{name}-{'a' * 40}.zst"
        found[path] = {"type": "file", "size": 5, "time": int(at.timestamp())}
    if began is not None:
        found["00000002.history"] = {"type": "file", "size": 1, "time": int(began.timestamp())}
    return parse_log_listing(json.dumps(found))


def lacks(log, *, at, number=1):
    found = log.lacks(first=seg(5), last=seg(6), at=at, number=number)
    return [str(gap) for gap in found]


def test_a_segment_arrived_when_the_store_says():
    log = archived(range(3))
    assert log.segments[seg(2)] == minute(2)
    assert log.timelines == {}


def test_a_whole_log_reaches_every_instant():
    assert lacks(archived(range(20)), at=None) == []
    assert lacks(archived(range(20)), at=minute(15)) == []


def test_a_gap_before_the_instant_is_in_the_way():
    log = archived([*range(10), *range(12, 20)])
    assert lacks(log, at=minute(15)) == [f"{seg(10)} to {seg(11)}"]
    assert lacks(log, at=None) == [f"{seg(10)} to {seg(11)}"]


def test_a_gap_after_the_instant_is_not():
    assert lacks(archived([*range(10), *range(12, 20)]), at=minute(8)) == []


def test_what_the_copy_itself_needs_is_always_in_the_way():
    assert lacks(archived([*range(6), *range(7, 20)]), at=minute(0)) == [seg(6)]
    assert lacks(archived(range(6, 20)), at=minute(0)) == [seg(5)]
    assert lacks(archived([]), at=minute(0)) == [f"{seg(5)} to {seg(6)}"]


def test_the_timeline_is_the_one_that_was_written_at_the_instant():
    log = archived(range(20), later=range(10, 15), began=minute(110))
    assert log.timeline_at(minute(15), first=seg(5)) == 1
    assert log.timeline_at(minute(111), first=seg(5)) == 2
    assert log.timeline_at(None, first=seg(5)) == 2
    assert archived(range(9)).timeline_at(None, first=seg(5, 3)) == 3


def test_a_gap_on_a_later_timeline_is_not_in_the_way_of_an_earlier_one():
    log = archived(range(20), later=[10, 12], began=minute(110))
    assert lacks(log, at=None, number=1) == []
    assert lacks(log, at=None, number=2) == [seg(11, 2)]


def test_another_answer_is_not_understood():
    with pytest.raises(UnavailableError, match="something unknown"):
        parse_log_listing("nothing of the kind")
