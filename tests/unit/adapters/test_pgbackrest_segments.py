"""Names of log segments, and which of them are missing."""

import pytest

from greenlight.adapters.pgbackrest.segments import Run, gaps, holding, is_needed, moved, runs


def seg(number, timeline=1):
    """Return the name of a segment of the first log files."""
    return f"{timeline:08X}{number // 256:08X}{number % 256:08X}"


def segs(first, last, timeline=1):
    return [seg(number, timeline) for number in range(first, last + 1)]


def missing(names, *, first, last):
    return [str(gap) for gap in gaps(runs(names), first=seg(first), last=seg(last))]


def test_after_the_last_segment_of_a_log_file_comes_the_first_of_the_next():
    assert moved("0000000100000000000000FF", 1) == "000000010000000100000000"
    assert moved("000000010000000100000000", -1) == "0000000100000000000000FF"


def test_segments_without_a_gap_are_one_run():
    assert runs(reversed(segs(250, 260))) == (Run(first=seg(250), last=seg(260)),)
    assert len(runs([*segs(1, 3), *segs(5, 6)])) == 2


@pytest.mark.parametrize(
    ("lsn", "number"), [("0/9000028", 9), ("0/A000000", 9), ("0/A000001", 10), ("1/0", 255)]
)
def test_a_place_in_the_log_is_in_the_segment_that_was_written_up_to_it(lsn, number):
    assert holding(lsn, number=1) == seg(number)


def test_a_log_that_reaches_from_the_copy_to_the_newest_segment_lacks_nothing():
    assert missing(segs(3, 300), first=9, last=10) == []


@pytest.mark.parametrize(
    ("names", "lacks"),
    [
        ([*segs(1, 8), *segs(10, 20)], [seg(9)]),
        ([*segs(1, 9), *segs(11, 20)], [seg(10)]),
        ([*segs(1, 11), *segs(15, 20)], [f"{seg(12)} to {seg(14)}"]),
        (segs(1, 9), [seg(10)]),
        (segs(1, 5), [f"{seg(9)} to {seg(10)}"]),
        (segs(12, 20), [f"{seg(9)} to {seg(11)}"]),
        ([], [f"{seg(9)} to {seg(10)}"]),
        (segs(9, 20, timeline=2), [f"{seg(9)} to {seg(10)}"]),
    ],
    ids=["first", "last", "later", "end", "all", "begin", "empty", "other timeline only"],
)
def test_every_segment_that_a_copy_needs_is_looked_for(names, lacks):
    assert missing(names, first=9, last=10) == lacks


def test_a_gap_before_the_copy_is_not_its_business():
    assert missing([*segs(1, 4), *segs(8, 20)], first=9, last=10) == []


def test_a_new_timeline_goes_on_where_it_left_the_old_one():
    old = segs(1, 20)
    assert missing([*old, *segs(15, 30, timeline=2)], first=9, last=10) == []
    assert missing([*old, *segs(21, 30, timeline=2)], first=9, last=10) == []
    assert missing([*old, *segs(22, 30, timeline=2)], first=9, last=10) == [seg(21, 2)]
    forked = [*old, *segs(15, 20, timeline=2), *segs(22, 30, timeline=2)]
    assert missing(forked, first=9, last=10) == [seg(21, 2)]


def test_a_timeline_that_left_before_the_copy_is_of_another_past():
    names = [*segs(1, 20), seg(5, 2), seg(7, 2)]
    assert missing(names, first=9, last=10) == []
    assert not is_needed(seg(5, 2), first=seg(9))


def test_a_copy_needs_no_segment_of_an_older_timeline_or_place():
    assert is_needed(seg(9), first=seg(9))
    assert is_needed(seg(12, 2), first=seg(9))
    assert not is_needed(seg(8), first=seg(9))
    assert not is_needed(seg(12), first=seg(9, 2))
