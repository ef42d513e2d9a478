"""What changes from one schedule to the next, for people, and whether it waits for approval."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

import numpy as np
from pydantic import Field

from greenlight.core.types import Value
from greenlight.scaling.calendars import zone_of
from greenlight.scaling.demand_series import Times
from greenlight.scaling.schedule import MINUTES_A_WEEK, Schedule, Size, week_time

STEP_MIN = 5
STEP = timedelta(minutes=STEP_MIN)
DAYS = 7


class ChangeLimits(Value):
    """What may change without a person's word.

    `gpu_hours_pct`: of the week's hours at the desired size, more or fewer. `fewer_hosts`,
    `more_hosts`: the largest change of the desired size at any time. `slo_points`: how much less
    may be expected.
    """

    gpu_hours_pct: Annotated[float, Field(ge=0)] = 10.0
    fewer_hosts: Annotated[int, Field(ge=0)] = 3
    more_hosts: Annotated[int, Field(ge=0)] = 5
    slo_points: Annotated[float, Field(ge=0)] = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A time of the week with other sizes than before."""

    start: datetime
    end: datetime
    before: Size
    after: Size

    @property
    def line(self) -> str:
        """The change in one line, such as `mon 07:30 to mon 09:00: 4 (3 to 6) → 6 (5 to 9)`."""
        return (
            f"{_local(self.start)} to {_local(self.end)}: {_size(self.before)} → "
            f"{_size(self.after)}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleDiff:
    """All that differs in the seven days from a moment on. Hours are at the desired size."""

    changed: tuple[Changed, ...]
    gpu_hours_before: float
    gpu_hours_after: float
    fewer_hosts: int
    more_hosts: int
    facts: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        return not self.changed and not self.facts


def diff(before: Schedule, after: Schedule, *, start: datetime) -> ScheduleDiff:
    """Compare two schedules over the seven days from `start`, a local midnight, in five minutes.

    Overrides count as they will hold, so one that lapses shows as a change of that time.
    """
    first = np.datetime64(round(start.timestamp()), "s").astype("datetime64[us]")
    times: Times = np.asarray(
        first + np.arange(MINUTES_A_WEEK // STEP_MIN) * np.timedelta64(STEP_MIN, "m")
    )
    old, new = before.sizes(times), after.sizes(times)
    desired = np.array([(a.desired, b.desired) for a, b in zip(old, new, strict=True)])
    moved = desired[:, 1] - desired[:, 0]
    hours = desired.sum(axis=0) * STEP_MIN / 60
    return ScheduleDiff(
        changed=_changed(old, new, start.astimezone(UTC), zone_of(after.zone)),
        gpu_hours_before=round(float(hours[0]) * before.gpus_per_host, 1),
        gpu_hours_after=round(float(hours[1]) * after.gpus_per_host, 1),
        fewer_hosts=int(max(0, -moved.min())),
        more_hosts=int(max(0, moved.max())),
        facts=_facts(before, after),
    )


def why_large(
    before: Schedule | None, after: Schedule, changes: ScheduleDiff | None, limits: ChangeLimits
) -> tuple[str, ...]:
    """Return why a change waits for approval; nothing: it may be applied.

    A first schedule always waits: there is nothing that it could be compared with.
    """
    if before is None or changes is None:
        return ("the first schedule of this fleet",)
    reasons = []
    old, new = changes.gpu_hours_before, changes.gpu_hours_after
    share = 100 * (new - old) / old if old else (100.0 if new else 0.0)
    if abs(share) > limits.gpu_hours_pct:
        reasons.append(
            f"{new:g} GPU-hours a week, {share:+.1f} % (limit {limits.gpu_hours_pct:g} %)"
        )
    if changes.fewer_hosts > limits.fewer_hosts:
        reasons.append(f"{changes.fewer_hosts} hosts fewer at once (limit {limits.fewer_hosts})")
    if changes.more_hosts > limits.more_hosts:
        reasons.append(f"{changes.more_hosts} hosts more at once (limit {limits.more_hosts})")
    if before.limits != after.limits or before.zone != after.zone:
        reasons.append("floor, ceiling or time zone changes")
    if before.expected and after.expected:
        lost = before.expected.slo_pct - after.expected.slo_pct
        if lost > limits.slo_points:
            reasons.append(
                f"{after.expected.slo_pct:g} % of demand served, {lost:.2f} points less "
                f"(limit {limits.slo_points:g})"
            )
    return tuple(reasons)


def is_large_change(
    before: Schedule | None, after: Schedule, changes: ScheduleDiff | None, limits: ChangeLimits
) -> bool:
    """Tell whether a change waits for approval."""
    return bool(why_large(before, after, changes, limits))


def _changed(
    old: list[Size], new: list[Size], start: datetime, zone: ZoneInfo
) -> tuple[Changed, ...]:
    pairs = list(zip(old, new, strict=True))
    found, first = [], 0
    for step in range(1, len(pairs) + 1):
        if step == len(pairs) or pairs[step] != pairs[first]:
            before, after = pairs[first]
            if before != after:
                found.append(
                    Changed(
                        start=(start + first * STEP).astimezone(zone),
                        end=(start + step * STEP).astimezone(zone),
                        before=before,
                        after=after,
                    )
                )
            first = step
    return tuple(found)


def _facts(before: Schedule, after: Schedule) -> tuple[str, ...]:
    pairs = (
        ("zone", before.zone, after.zone),
        ("floor", before.limits.floor, after.limits.floor),
        ("ceiling", before.limits.ceiling, after.limits.ceiling),
        ("GPUs per host", before.gpus_per_host, after.gpus_per_host),
        ("seconds to start a host", round(before.lead_s), round(after.lead_s)),
    )
    return tuple(f"{name}: {old} → {new}" for name, old, new in pairs if old != new)


def _size(size: Size) -> str:
    return f"{size.desired} ({size.minimum} to {size.maximum})"


def _local(moment: datetime) -> str:
    return week_time(moment.weekday() * 24 * 60 + moment.hour * 60 + moment.minute)
