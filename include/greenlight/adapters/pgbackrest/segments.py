"""Segments of a cluster's log: which are there, and which should be.

A name is a timeline, a log file and a place in it, eight hexadecimal digits each, such as
`00000001000000000000000A`. Within a timeline names sort as the log was written. A restored cluster
that goes on begins a new timeline, at the place where it left the old one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

LENGTH = 24
SIZE = 16 << 20
PER_FILE = 0x100
"""Segments of PostgreSQL's default size, in bytes, in a log file of 4 GB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Segments of one timeline without a gap, both ends included."""

    first: str
    last: str

    def __str__(self) -> str:
        """Name one segment, or both ends."""
        return self.first if self.first == self.last else f"{self.first} to {self.last}"


def timeline(segment: str) -> int:
    """Return a segment's timeline."""
    return int(segment[:8], 16)


def place(segment: str) -> int:
    """Return how many segments the log had before this one, whatever the timeline."""
    return int(segment[8:16], 16) * PER_FILE + int(segment[16:LENGTH], 16)


def moved(segment: str, by: int) -> str:
    """Return the segment that is `by` places later."""
    file, number = divmod(place(segment) + by, PER_FILE)
    return f"{segment[:8]}{file:08X}{number:08X}"


def holding(lsn: str, *, number: int) -> str:
    """Return the segment of timeline `number` with the log before a place such as `0/3000060`."""
    high, low = (int(part, 16) for part in lsn.split("/"))
    file, offset = divmod(max((high << 32) + low - 1, 0), SIZE * PER_FILE)
    return f"{number:08X}{file:08X}{offset // SIZE:08X}"


def runs(segments: Iterable[str]) -> tuple[Run, ...]:
    """Return the segments as runs, sorted."""
    found: list[Run] = []
    for segment in sorted(segments):
        if found and moved(found[-1].last, 1) == segment:
            found[-1] = Run(first=found[-1].first, last=segment)
        else:
            found.append(Run(first=segment, last=segment))
    return tuple(found)


def gaps(found: Sequence[Run], *, first: str, last: str) -> tuple[Run, ...]:
    """Return what is missing of the log from `first` on, of sorted runs.

    It must reach `last`, and from there the newest segment there is. A timeline that left the log
    before `first` is of another past, and is not looked at.
    """
    own = [run for run in found if timeline(run.first) == timeline(first) and run.last >= first]
    expected, missing = _walk(own, first)
    if expected <= last:
        missing.append(Run(first=expected, last=last))
        expected = moved(last, 1)
    later = [run for run in found if timeline(run.first) > timeline(first)]
    for _, group in groupby(later, key=lambda run: timeline(run.first)):
        members = list(group)
        if place(members[0].first) >= place(first):
            expected, more = _walk(members, f"{members[0].first[:8]}{expected[8:]}")
            missing += more
    return tuple(missing)


def is_needed(segment: str, *, first: str) -> bool:
    """Return whether a copy whose log begins with `first` may need a segment."""
    return timeline(segment) >= timeline(first) and place(segment) >= place(first)


def _walk(found: Sequence[Run], expected: str) -> tuple[str, list[Run]]:
    """Return the segment after runs of one timeline, and the gaps among them from `expected`."""
    missing = []
    for run in found:
        if run.first > expected:
            missing.append(Run(first=expected, last=moved(run.first, -1)))
        expected = moved(run.last, 1)
    return expected, missing
