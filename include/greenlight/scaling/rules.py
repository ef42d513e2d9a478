"""A schedule as rules that a scaler can keep by itself: sizes at times of the week, and at moments.

Weekly rules come back every week, so that a fleet stays scheduled when Greenlight is away. What
differs in the coming seven days (holidays, overrides) becomes rules of single moments, the last of
which goes back to the week; weekly rules that would come in between begin after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from greenlight.scaling.calendars import zone_of
from greenlight.scaling.schedule import (
    MINUTES_A_WEEK,
    Schedule,
    Size,
    week_time,
)

HORIZON = timedelta(days=7)
MINUTE = timedelta(minutes=1)
SOON = timedelta(minutes=2)
"""Clouds refuse a rule for a moment that is over; this is far enough ahead to be accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeeklyRule:
    """At a local minute of the week. `begins`: the first time, where that isn't the next one."""

    name: str
    minute: int
    zone: str
    size: Size
    begins: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MomentRule:
    """At a moment, once."""

    name: str
    at: datetime
    size: Size


Rule = WeeklyRule | MomentRule


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """A time with sizes of its own. Aware moments."""

    start: datetime
    end: datetime


def rules_of(schedule: Schedule, now: datetime) -> tuple[Rule, ...]:
    """Return the rules from `now` on. Names tell the time: the same time is the same rule."""
    spans = _spans(schedule, now)
    return (*_weekly(schedule, now, spans), *_moments(schedule, now, spans))


def _weekly(schedule: Schedule, now: datetime, spans: list[_Span]) -> list[WeeklyRule]:
    entries = sorted(schedule.weekly, key=lambda entry: entry.start)
    sizes = [schedule.limits.clip(entry.size) for entry in entries]
    rules = []
    for i, (entry, size) in enumerate(zip(entries, sizes, strict=True)):
        if size == sizes[i - 1] and len(entries) > 1 and any(size != other for other in sizes):
            continue
        next_time = next_time_of(schedule.zone, entry.start, now)
        inside = [span.end for span in spans if span.start <= next_time <= span.end]
        begins = next_time_of(schedule.zone, entry.start, inside[0] + MINUTE) if inside else None
        rules.append(
            WeeklyRule(
                name=f"week-{week_time(entry.start).replace(' ', '-').replace(':', '')}",
                minute=entry.start,
                zone=schedule.zone,
                size=size,
                begins=begins,
            )
        )
        if all(size == other for other in sizes):
            break
    return rules


def _moments(schedule: Schedule, now: datetime, spans: list[_Span]) -> list[MomentRule]:
    rules = []
    for span in spans:
        last = None
        for moment in _changes(schedule, span):
            size = schedule.at(moment)
            if size == last and moment != span.end:
                continue
            last = size
            if moment >= now:
                when = max(moment, now + SOON)
                rules.append(MomentRule(name=f"once-{moment:%Y%m%d-%H%M}", at=when, size=size))
    return rules


def _spans(schedule: Schedule, now: datetime) -> list[_Span]:
    """Return the coming times with sizes of their own; those that touch are one."""
    zone = zone_of(schedule.zone)
    spans = [
        _Span(start=entry.start.replace(tzinfo=zone), end=entry.end.replace(tzinfo=zone))
        for entry in schedule.dated
    ]
    spans += [_Span(start=o.start, end=o.expires) for o in schedule.overrides]
    found: list[_Span] = []
    for span in sorted(spans, key=lambda span: span.start):
        if span.end <= now or span.start >= now + HORIZON:
            continue
        if found and span.start <= found[-1].end:
            found[-1] = _Span(start=found[-1].start, end=max(found[-1].end, span.end))
        else:
            found.append(span)
    return found


def _changes(schedule: Schedule, span: _Span) -> list[datetime]:
    """Return the moments of a span at which the size may change, its start and end included."""
    zone = zone_of(schedule.zone)
    moments = {span.start, span.end}
    moments |= {entry.start.replace(tzinfo=zone) for entry in schedule.dated}
    moments |= {entry.end.replace(tzinfo=zone) for entry in schedule.dated}
    for override in schedule.overrides:
        moments |= {override.start, override.expires}
    for entry in schedule.weekly:
        moment = next_time_of(schedule.zone, entry.start, span.start)
        while moment <= span.end:
            moments.add(moment)
            moment = next_time_of(schedule.zone, entry.start, moment + MINUTE)
    utc = sorted({moment.astimezone(zone_of("UTC")) for moment in moments})
    return [moment for moment in utc if span.start <= moment <= span.end]


def next_time_of(zone: str, minute: int, after: datetime) -> datetime:
    """Return when a local minute of the week comes next, at `after` or later.

    In the hour that a day lacks it comes as much later as the clocks are put forward.
    """
    local = after.astimezone(zone_of(zone))
    monday = (local - timedelta(days=local.weekday())).replace(
        hour=0, minute=0, second=0, microsecond=0, tzinfo=None
    )
    for week in (0, 1):
        wall = monday + timedelta(minutes=minute + week * MINUTES_A_WEEK)
        moment = wall.replace(tzinfo=zone_of(zone)).astimezone(zone_of("UTC"))
        if moment >= after:
            return moment
    raise AssertionError("every minute of the week comes within a week")
