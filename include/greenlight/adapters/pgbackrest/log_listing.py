"""The objects that hold a cluster's log, as `pgbackrest repo-ls` lists them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import BaseModel, TypeAdapter, ValidationError

from greenlight.adapters.pgbackrest.segments import Run, gaps, moved, runs, timeline
from greenlight.core.errors import UnavailableError

ARGUMENTS = ("--recurse", "--output=json")

_SEGMENT = re.compile(r"(?:.*/)?([0-9A-F]{24})-[0-9a-f]{40}(?:\.\w+)?")
_HISTORY = re.compile(r"([0-9A-F]{8})\.history")


class _Entry(BaseModel):
    type: str
    time: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedLog:
    """When segments arrived, by name; and when timelines began, by number. By the store's clock."""

    segments: Mapping[str, datetime]
    timelines: Mapping[int, datetime]

    def timeline_at(self, at: datetime | None, *, first: str) -> int:
        """Return the timeline that was being written at an instant; none: the newest.

        After a restore that went on, the log holds two pasts of one time of day: what came after
        the chosen second and was given up, and what was done instead, later.
        """
        begun = [number for number, began in self.timelines.items() if at is None or began <= at]
        return max([*begun, timeline(first)])

    def lacks(self, *, first: str, last: str, at: datetime | None, number: int) -> tuple[Run, ...]:
        """Return what is missing of the log that recovery to an instant on a timeline needs.

        A copy needs all from `first` to `last`. A gap after that matters when the segment before
        it arrived before the instant. Where the instant is in the segment itself, PostgreSQL finds
        out.
        """
        wanted = [name for name in self.segments if timeline(name) <= number]
        missing = gaps(runs(wanted), first=first, last=last)
        return tuple(gap for gap in missing if self._is_before(gap, last=last, at=at))

    def _is_before(self, gap: Run, *, last: str, at: datetime | None) -> bool:
        before = self.segments.get(moved(gap.first, -1))
        return at is None or gap.first <= last or before is None or before <= at


def parse_log_listing(text: str) -> ArchivedLog:
    """Read the listing of one archive.

    Raises:
        UnavailableError: it is not what pgBackRest 2.45 answers.
    """
    try:
        found = TypeAdapter(dict[str, _Entry]).validate_json(text)
    except ValidationError as error:
        raise UnavailableError(
            f"`pgbackrest repo-ls` answered something unknown: {error}"
        ) from error
    segments: dict[str, datetime] = {}
    timelines: dict[int, datetime] = {}
    for path, entry in found.items():
        if entry.type != "file" or entry.time is None:
            continue
        at = datetime.fromtimestamp(entry.time, UTC)
        if name := _SEGMENT.fullmatch(path):
            segments[name[1]] = at
        elif name := _HISTORY.fullmatch(path):
            timelines[int(name[1], 16)] = at
    return ArchivedLog(segments=segments, timelines=timelines)
