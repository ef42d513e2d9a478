"""Which local day and which time of it: time zones, public holidays, own special days.

People come at nine by their own clock, before and after the clocks change. So demand is learned and
planned by local time, and every instant is turned into a local one, never the other way round: the
hour that a spring day lacks is never asked for, and the one that an autumn day has twice is one
hour of the week, met twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import holidays
import numpy as np

from greenlight.core.errors import ConfigError
from greenlight.scaling.demand_series import Times

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SUNDAY = 6
_OFFSETS_CHANGE_EVERY_MIN = 15
_BLOCKS_A_DAY = 24 * 60 // _OFFSETS_CHANGE_EVERY_MIN


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialDay:
    """A day that isn't like its weekday. `like`: the weekday it resembles, Monday is 0.

    `factor`: its demand against that weekday's; `None`: learned from earlier holidays, 1 without.
    """

    day: date
    name: str
    like: int = SUNDAY
    factor: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalCalendar:
    """A time zone and the days in it that are special."""

    zone: ZoneInfo
    special: Mapping[date, SpecialDay] = field(default_factory=lambda: MappingProxyType({}))

    def special_day(self, day: date) -> SpecialDay | None:
        """Return what is special about a local day, if anything."""
        return self.special.get(day)


def calendar_of(
    zone: str,
    *,
    country: str | None = None,
    subdivision: str | None = None,
    years: Iterable[int] = (),
    own: Iterable[SpecialDay] = (),
) -> LocalCalendar:
    """Return a calendar. Own days replace public holidays of the same date.

    Raises:
        ConfigError: there is no such zone, country or subdivision.
    """
    days = {day.day: day for day in _public(country, subdivision, years)}
    days |= {day.day: day for day in own}
    return LocalCalendar(zone=zone_of(zone), special=MappingProxyType(days))


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone.

    Raises:
        ConfigError: there is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(
            f"zone {name!r} is no time zone: give a name such as Europe/London or UTC"
        ) from error


def wall_clock(times: Times, zone: ZoneInfo) -> Times:
    """Return what clocks on the wall show at UTC times."""
    times = np.asarray(times, dtype="datetime64[us]")
    blocks = times.astype("datetime64[m]").astype(np.int64) // _OFFSETS_CHANGE_EVERY_MIN
    offsets = np.zeros(times.shape, dtype="timedelta64[us]")
    days = blocks // _BLOCKS_A_DAY
    for day in np.unique(days).tolist():
        today = days == day
        first, last = (
            _offset(block, zone) for block in (day * _BLOCKS_A_DAY, (day + 1) * _BLOCKS_A_DAY)
        )
        if first == last:
            offsets[today] = first
            continue
        unique, place = np.unique(blocks[today], return_inverse=True)
        each = np.array(
            [_offset(block, zone) for block in unique.tolist()], dtype="timedelta64[us]"
        )
        offsets[today] = each[place]
    return np.asarray(times + offsets)


def _offset(block: int, zone: ZoneInfo) -> timedelta:
    moment = datetime.fromtimestamp(block * _OFFSETS_CHANGE_EVERY_MIN * 60, UTC)
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def _public(
    country: str | None, subdivision: str | None, years: Iterable[int]
) -> Iterable[SpecialDay]:
    if country is None:
        return
    try:
        found = holidays.country_holidays(country, subdiv=subdivision, years=list(years))
    except NotImplementedError as error:
        where = f"{country}, {subdivision}" if subdivision else country
        raise ConfigError(
            f"holidays of {where} are not known: give an ISO code such as GB with ENG"
        ) from error
    for day, name in sorted(found.items()):
        yield SpecialDay(day=day, name=name)
