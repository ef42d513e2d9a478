"""How much of one resource was used over time, and what is asked of that: quantiles, time above.

Everything is weighted by time, so that a series sampled twice as often in the afternoon says the
same as one sampled evenly. A sample stands for the time until the next one. A gap stands for
nothing: it is time that nobody measured, not time without use.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from greenlight.core.errors import InputError

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
Times = npt.NDArray[np.datetime64]
Microseconds = npt.NDArray[np.int64]

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


class Resource(StrEnum):
    """What is sized."""

    CPU = "cpu"
    MEMORY = "memory"
    GPU = "gpu"
    GPU_MEMORY = "gpu_memory"

    @property
    def kills(self) -> bool:
        """Whether running out ends the process, where others only get slower."""
        return self in {Resource.MEMORY, Resource.GPU_MEMORY}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UsageSeries:
    """Trusted samples of one resource, oldest first, in `[start, end)`.

    Times are UTC, of NumPy's `datetime64[us]`. `weights`: microseconds that each sample stands for.
    Missing and untrusted samples are not among them: they leave a gap.
    """

    resource: Resource
    unit: str
    times: Times
    values: Floats
    weights: Microseconds
    start: np.datetime64
    end: np.datetime64

    @classmethod
    def of(
        cls,
        times: Times,
        values: Floats,
        *,
        resource: Resource,
        unit: str,
        trusted: Booleans | None = None,
    ) -> Self:
        """Return the series of samples in any order; NaN is a missing one.

        Raises:
            InputError: the arrays differ in length or hold no sample at all, two samples have the
                same time, a trusted value is negative or infinite.
        """
        times = np.asarray(times, dtype="datetime64[us]")
        values = np.asarray(values, dtype=np.float64)
        _require_samples(times, values)
        order = np.argsort(times, kind="stable")
        times, values = times[order], values[order]
        gaps = np.diff(times).astype(np.int64)
        if (gaps == 0).any():
            same = times[1:][gaps == 0][0]
            raise InputError(f"two samples have the time {same}: keep one of them")
        kept = ~np.isnan(values)
        if trusted is not None:
            kept &= np.asarray(trusted, dtype=np.bool_)[order]
        _require_usage(times[kept], values[kept])
        usual = int(np.median(gaps)) if gaps.size else 1
        end = times[-1] + np.timedelta64(usual, "us")
        stood = np.diff(np.append(times[kept], end)).astype(np.int64)
        return cls(
            resource=resource,
            unit=unit,
            times=times[kept],
            values=values[kept],
            weights=np.minimum(stood, _longest_bridged(gaps, usual)),
            start=times[0],
            end=end,
        )

    @property
    def span(self) -> timedelta:
        """The time from start to end, measured or not."""
        return as_timedelta(self.end - self.start)

    @property
    def interval(self) -> timedelta:
        """The usual time between samples; zero where there are fewer than two."""
        if self.times.size < 2:
            return timedelta(0)
        return as_timedelta(np.median(np.diff(self.times).astype(np.int64)).astype("m8[us]"))

    @property
    def measured(self) -> timedelta:
        """The time that samples stand for."""
        return timedelta(microseconds=int(self.weights.sum()))

    def between(self, start: np.datetime64, end: np.datetime64) -> Self:
        """Return the part in `[start, end)`, whose bounds are those of the series or narrower."""
        start, end = max(start, self.start), min(end, self.end)
        first, last = np.searchsorted(self.times, np.array([start, end]))
        part = slice(first, max(first, last))
        return type(self)(
            resource=self.resource,
            unit=self.unit,
            times=self.times[part],
            values=self.values[part],
            weights=self.weights[part],
            start=start,
            end=max(start, end),
        )

    def last(self, period: timedelta) -> Self:
        """Return the newest `period` of it."""
        return self.between(self.end - np.timedelta64(period), self.end)

    def quantile(self, q: float) -> float:
        """Return the smallest value that usage doesn't exceed for a share `q` of the time.

        Raises:
            InputError: there is no sample.
        """
        if not self.values.size:
            raise InputError("a series without trusted samples has no quantile")
        return weighted_quantile(self.values, self.weights, q)

    def share_above(self, capacity: float) -> float:
        """Return the share of measured time in which usage is above `capacity`; NaN: no sample."""
        total = self.weights.sum()
        return float(self.weights[self.values > capacity].sum() / total) if total else np.nan

    def slack(self, capacity: float) -> float:
        """Return the share of `capacity` that stays unused, over measured time; NaN: no sample.

        Time above the capacity counts as fully used. No capacity at all has no slack.
        """
        total = self.weights.sum()
        if not total:
            return np.nan
        if capacity <= 0:
            return 0.0
        used = np.minimum(self.values, capacity) / capacity
        return float(1 - (used * self.weights).sum() / total)


def weighted_quantile(values: Floats, weights: Microseconds, q: float) -> float:
    """Return the smallest value whose lower or equal ones have a share `q` of the weight."""
    if (weights == weights[0]).all():
        rank = max(0, int(np.ceil(q * values.size - 1e-9)) - 1)
        return float(np.partition(values, rank)[rank])
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    rank = int(np.searchsorted(reached, q * reached[-1] * (1 - 1e-12)))
    return float(values[order[rank]])


def as_times(moments: Iterable[datetime]) -> Times:
    """Return aware datetimes as UTC times.

    Raises:
        InputError: one has no time zone.
    """
    utc = []
    for moment in moments:
        if moment.tzinfo is None:
            raise InputError(f"the time {moment} has no time zone: pass UTC")
        utc.append(moment.astimezone(UTC).replace(tzinfo=None))
    return np.array(utc, dtype="datetime64[us]")


def as_datetime(time: np.datetime64) -> datetime:
    """Return a UTC time as an aware datetime."""
    moment: datetime = time.astype("datetime64[us]").item()
    return moment.replace(tzinfo=UTC)


def as_timedelta(span: Any) -> timedelta:
    """Return the difference of two times."""
    return timedelta(microseconds=int(span / np.timedelta64(1, "us")))


def _longest_bridged(gaps: Microseconds, usual: int) -> int:
    """Return the longest time that a sample can stand for.

    One lost scrape is bridged; so is a slower rhythm that the series has anyway (every five minutes
    by day, every hour by night) up to an hour. What is longer is an outage.
    """
    one_lost = 2 * usual
    slow = int(np.quantile(gaps, 0.95)) if gaps.size else usual
    return max(one_lost, min(slow, int(HOUR / timedelta(microseconds=1))))


def _require_samples(times: Times, values: Floats) -> None:
    if times.shape != values.shape or times.ndim != 1:
        raise InputError(f"{times.size} times with {values.size} values are not a series")
    if not times.size:
        raise InputError("a series needs at least one sample, even a missing one")
    if np.isnat(times).any():
        raise InputError("a sample has no time: leave it out")


def _require_usage(times: Times, values: Floats) -> None:
    wrong = ~np.isfinite(values) | (values < 0)
    if wrong.any():
        raise InputError(
            f"usage at {times[wrong][0]} is {values[wrong][0]:g}, must be a number of 0 or more: "
            "mark the sample as untrusted"
        )
