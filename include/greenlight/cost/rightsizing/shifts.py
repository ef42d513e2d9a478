"""Whether usage moved to another level and stayed there: then older history says nothing.

Usage is looked at in windows of 24 hours, one starting every hour, so that the daily cycle is the
same in each. Two numbers are taken from a window: its usual level (the median of hourly medians)
and its peaks (an upper quantile of the hours' upper values). A shift is found when these numbers,
since some moment, lie beyond everything seen in at least six days before it, by a margin. The
windows of the past themselves say how far usage wanders, whatever its distribution and however
sluggish it is; six days hold a part of a weekend, so that a weekend is no shift.

Why not a library of change-point searches (such as ruptures, PELT: Killick, Fearnhead, Eckley
2012): those find the best places to cut, at a price per cut that must be set by hand. With
autocorrelated, seasonal usage no price fits all series, and the search is the easy part. Tests with
a level of significance (Wilcoxon with a long-run variance: Dehling, Fried, Garcia, Wendler 2015)
are weak near the end of a series, which is where a shift must be found. What is here is a running
median filter with a jump test on its output (Fried, Gather 2007: two local medians and a robust
scale), with the range of the past in place of a scale. It has no level of significance: how often
it errs is measured (`make bench-rightsizing`).

Drops are judged by the usual level alone: a quiet day without peaks is no shift, and a size that is
too large for some days is no danger. What a weekend hides (a rise that stays below a workday's use)
is seen on Monday; until then it is no danger either.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from pydantic import Field, model_validator

from greenlight.core.types import Value
from greenlight.cost.rightsizing.series import HOUR, Booleans, Floats, UsageSeries

_WINDOW = 24
_MEASURED_HOURS = 18
"""A window with fewer measured hours could be a night taken for a day: it is left out."""
_WINDOWS_BEFORE = 3 * _WINDOW
"""Fewer measured windows than three days hold don't say how far usage wanders."""
_FIRST_LOOKS = (0, 6, 12)

Share = Annotated[float, Field(gt=0, lt=1)]


class ShiftSettings(Value):
    """What counts as a shift.

    `usual_change`, `peak_change`: the margin, as a share of the level before. `usual_spread`,
    `peak_spread`: the margin as a share of how far the past wandered (its extreme less its median).
    The larger of both counts. `relevant`: a change of the usual level below this share of the P99
    moves no advice.
    """

    lookback_days: Annotated[int, Field(ge=7)] = 28
    before_days: Annotated[int, Field(ge=6)] = 6
    usual_change: Share = 0.15
    usual_spread: Annotated[float, Field(ge=0)] = 0.5
    peak_quantile: Share = 0.9
    peak_change: Share = 0.2
    peak_spread: Annotated[float, Field(ge=0)] = 0.75
    relevant: Share = 0.04

    @model_validator(mode="after")
    def _looks_back_far_enough(self) -> Self:
        if self.lookback_days <= self.before_days:
            raise ValueError(
                f"lookback_days {self.lookback_days} must be above before_days "
                f"{self.before_days}: no shift could ever be found"
            )
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelShift:
    """A lasting change: about when, and the level before and after. `of`: what changed."""

    at: np.datetime64
    before: float
    after: float
    of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Track:
    """A number for each window, `levels`, and the hours at which the windows begin, `starts`.

    `change`, `spread`: the margins; `falls`: whether a drop counts.
    """

    of: str
    hourly: Floats
    starts: npt.NDArray[np.int64]
    levels: Floats
    change: float
    spread: float
    falls: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HourlyTracks:
    """The tracks of a whole series, from which those of its parts are cut.

    Hours are counted back from `end`. `is_lost`: hours without a sample.
    """

    end: np.datetime64
    tracks: tuple[_Track, _Track]
    is_lost: Booleans

    @classmethod
    def of(cls, series: UsageSeries, settings: ShiftSettings) -> HourlyTracks:
        """Look at every hour of a series."""
        hours = int(series.span / HOUR)
        tracks, is_lost = _tracks(series, hours, settings)
        return cls(end=series.end, tracks=tracks, is_lost=is_lost)

    def cut(self, end: np.datetime64, hours: int) -> tuple[_Track, _Track] | None:
        """Return the tracks of so many hours before `end`.

        `None`: they aren't whole hours of these, or begin with a lost one, which took the level of
        an hour that the part doesn't have.
        """
        before, rest = divmod(self.end - end, np.timedelta64(HOUR))
        last = self.is_lost.size - int(before)
        first = last - hours
        if rest or first < 0 or self.is_lost[first]:
            return None
        middle, upper = self.tracks
        return _cut(middle, first, last), _cut(upper, first, last)


def newest_shift(
    series: UsageSeries, settings: ShiftSettings, *, tracks: HourlyTracks | None = None
) -> LevelShift | None:
    """Return the newest lasting shift in the lookback, if there is one.

    `tracks`: of a series that this is a part of, where they are known.

    `None` too where it cannot be seen: with fewer than `before_days` and a day, or with samples
    further apart than an hour.
    """
    recent = series.last(timedelta(days=settings.lookback_days))
    hours = int(recent.span / HOUR)
    before = settings.before_days * _WINDOW
    if hours < before + _WINDOW:
        return None
    both = tracks.cut(recent.end, hours) if tracks is not None else None
    if both is None:
        both, _ = _tracks(recent, hours, settings)
    longest = hours - _WINDOW - before
    looks = [*(hour for hour in _FIRST_LOOKS if hour <= longest), *range(24, longest + 1, 24)]
    cuts = hours - _WINDOW - np.array(looks, dtype=np.int64)
    left = [_left_the_past(track, cuts) for track in both]
    if not any(some.any() for some in left):
        return None
    least = settings.relevant * recent.quantile(0.99)
    for i, look in enumerate(looks):
        cut = int(cuts[i])
        for track, some in zip(both, left, strict=True):
            found = _moved(track, cut, least) if some[i] else None
            if found is not None:
                hour = _located(track.hourly, cut, look)
                return LevelShift(
                    at=recent.end - np.timedelta64((hours - hour) * HOUR),
                    before=found[0],
                    after=found[1],
                    of=track.of,
                )
    return None


def _tracks(
    series: UsageSeries, hours: int, settings: ShiftSettings
) -> tuple[tuple[_Track, _Track], Booleans]:
    """Return the tracks of the newest hours, and which of these have no sample."""
    (middle, upper), is_lost = _hourly(series, hours, (0.5, 0.9))
    starts, levels = _windows(middle, 0.5)
    peak_starts, peaks = _windows(upper, settings.peak_quantile)
    usual = _Track(
        of="usual level",
        hourly=middle,
        starts=starts,
        levels=levels,
        change=settings.usual_change,
        spread=settings.usual_spread,
        falls=True,
    )
    peak = _Track(
        of="peaks",
        hourly=upper,
        starts=peak_starts,
        levels=peaks,
        change=settings.peak_change,
        spread=settings.peak_spread,
        falls=False,
    )
    return (usual, peak), is_lost


def _cut(track: _Track, first: int, last: int) -> _Track:
    inside = slice(*np.searchsorted(track.starts, [first, last - _WINDOW + 1]))
    return replace(
        track,
        hourly=track.hourly[first:last],
        starts=track.starts[inside] - first,
        levels=track.levels[inside],
    )


def _windows(hourly: Floats, quantile: float) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return where the windows that were measured well enough begin, and their quantile."""
    if hourly.size < _WINDOW:
        return np.array([], dtype=np.int64), np.array([])
    ordered = np.sort(sliding_window_view(hourly, _WINDOW), axis=1)
    levels, counts = _row_quantile(ordered, quantile)
    kept = np.flatnonzero(counts >= _MEASURED_HOURS)
    return kept, levels[kept]


def _left_the_past(track: _Track, cuts: npt.NDArray[np.int64]) -> Booleans:
    """Return for each cut, an hour, whether most windows since lie beyond all of those before."""
    first_after = np.searchsorted(track.starts, cuts)
    last_before = np.searchsorted(track.starts, cuts - _WINDOW, side="right")
    size = track.levels.size
    judged = (last_before >= _WINDOWS_BEFORE) & (first_after < size)
    if not judged.any():
        return judged
    newest = np.maximum(last_before, 1) - 1
    highest = np.maximum.accumulate(track.levels)[newest]
    lowest = np.minimum.accumulate(track.levels)[newest]
    beyond = [
        max(
            np.count_nonzero(track.levels[since:] > high),
            np.count_nonzero(track.levels[since:] < low) if track.falls else 0,
        )
        for since, high, low in zip(first_after, highest, lowest, strict=True)
    ]
    return np.asarray(judged & (2 * np.array(beyond) > size - first_after))


def _moved(track: _Track, cut: int, least: float) -> tuple[float, float] | None:
    """Return the levels before and after `cut`, where most windows since left the past.

    `None`: they are not apart by the margin.
    """
    first_after = np.searchsorted(track.starts, cut)
    last_before = np.searchsorted(track.starts, cut - _WINDOW, side="right")
    past, since = track.levels[:last_before], track.levels[first_after:]
    highest, lowest = float(past.max()), float(past.min())
    rose = 2 * np.count_nonzero(since > highest) > since.size
    now, usual = float(np.median(since)), float(np.median(past))
    wandered = highest - usual if rose else usual - lowest
    margin = max(track.change * (highest if rose else usual), track.spread * wandered, least)
    moved = now - highest if rose else lowest - now
    return (usual, now) if moved > margin else None


def _located(hourly: Floats, cut: int, look: int) -> int:
    """Return the hour around `cut` where two levels, each with the daily cycle, fit best.

    Levels are factors on the cycle, as weekends and lasting changes mostly are. Fit is the sum of
    absolute differences of logarithms, so that single peaks don't pull it. A shift at a weekend is
    located to the day.
    """
    end = min(hourly.size - 1, cut + _WINDOW + look // 2)
    past = hourly[: max(0, cut - _WINDOW)]
    day = np.resize(past, (int(np.ceil(past.size / _WINDOW)), _WINDOW))
    day[-1, past.size % _WINDOW or _WINDOW :] = np.nan
    cycle, _ = _row_quantile(np.sort(day.T, axis=1), 0.5)
    least = 0.01 * float(np.nanmax(hourly))
    left = np.log((hourly + least) / (np.resize(cycle, hourly.size) + least))
    first = max(1, cut - _WINDOW)
    costs = [_cost(left[first:hour], 0.0) + _cost(left[hour:]) for hour in range(first, end)]
    return first + int(np.argmin(costs))


def _cost(left: Floats, level: float | None = None) -> float:
    """Return the sum of absolute differences from a level, the best one by default."""
    there = left[np.isfinite(left)]
    if not there.size:
        return 0.0
    return float(np.abs(there - (np.median(there) if level is None else level)).sum())


def _hourly(
    series: UsageSeries, hours: int, quantiles: tuple[float, ...]
) -> tuple[list[Floats], Booleans]:
    """Return a row of hours for each quantile, NaN where an hour was not measured, and where.

    Hours are counted back from the end, so that the newest is a whole one. One lost hour takes the
    level of the hour before it.
    """
    begins = series.end - np.arange(hours, -1, -1) * np.timedelta64(HOUR)
    edges = np.searchsorted(series.times, begins.astype(series.times.dtype))
    counts = np.diff(edges)
    most = max(1, int(counts.max(initial=1)))
    values = series.values[edges[0] : edges[-1]]
    if (counts == most).all():
        table = values.reshape(hours, most).copy()
    else:
        table = np.full((hours, most), np.nan)
        table[np.arange(most) < counts[:, None]] = values
    table.sort(axis=1)
    rows = [_row_quantile(table, quantile)[0] for quantile in quantiles]
    is_lost = counts == 0
    lost = np.flatnonzero(is_lost[1:]) + 1
    for row in rows:
        row[lost] = row[lost - 1]
    return rows, is_lost


def _row_quantile(ordered: Floats, q: float) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return the quantile of each row and how many values it has; rows are sorted, NaN last."""
    counts = np.isfinite(ordered).sum(axis=1)
    rank = np.maximum(0, np.ceil(q * counts).astype(np.int64) - 1)
    levels = np.take_along_axis(ordered, rank[:, None], axis=1)[:, 0]
    return levels, counts
