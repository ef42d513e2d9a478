"""Load a lead time from now: the profile's, moved by how the last minutes differ from it.

A profile knows the shape of a day but not that this one is high; the load of the last minutes knows
that but not the shape. So the load a cold start from now is taken as the profile's then, times the
present ratio to the profile, to a power: 1 where a difference stays, 0 where it is gone by then.

Headroom on top of it differs by time of the day and by how fast load is growing just now. It is
bought where it is cheapest: everywhere the same price is paid for a missed token, in tokens of
capacity, and the price is the lowest that comes to the objective. (A quantile would pay for rare
bursts at noon what it saves by a steady night.)

Power, headroom and price are measured on the profile's own backtest, whose forecasts knew nothing
of their day. The fast loop follows the anticipated load instead of the load itself, since a host
that is ordered when it is needed comes a cold start too late.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from greenlight.core.types import Value
from greenlight.scaling.calendars import wall_clock
from greenlight.scaling.demand_profile import DemandProfile, NotEnoughData
from greenlight.scaling.demand_series import Counts, DemandSeries, Floats, Times

FEWEST = 1_000
PAST = 5
"""Steps before the newest that growth is told against."""
_FEWEST_IN_STATE = 100
_BLOCK = timedelta(minutes=30)
_GROWTH_QUANTILES = (0.5, 0.8, 0.9, 0.95, 0.98)
_SHAPE = (48, len(_GROWTH_QUANTILES) + 1)
_RATIOS_SEEN = (0.001, 0.999)
_PRICES = np.geomspace(0.5, 3e4, 40)


class NowcastSettings(Value):
    """`slo`: the share of demand that should find its hosts. `window_h`: around each half hour."""

    slo: Annotated[float, Field(gt=0.5, lt=1)] = 0.999
    window_h: Annotated[float, Field(ge=0, le=12)] = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Nowcast:
    """`headroom` by half hour of the local day and by growth; `edges` part the growth's bins.

    `lowest`, `highest`: ratios to the profile that were seen; `peak`: the highest load.
    """

    profile: DemandProfile
    lead: timedelta
    power: float
    lowest: float
    highest: float
    peak: float
    edges: tuple[float, ...]
    headroom: Floats
    price: float

    def factors(self, times: Times) -> tuple[Floats, Floats, Counts]:
        """Return for each time the profile now, a lead later, and the half hour that is then."""
        then = times + np.timedelta64(self.lead)
        return (
            self.profile.expected(times),
            self.profile.expected(then),
            _blocks(then, self.profile),
        )

    def anticipate(self, loads: Sequence[float], *, now: float, then: float, block: int) -> float:
        """Return the load to be ready for, from the newest loads, oldest first.

        A load far above what the profile has ever been off by isn't explained by the profile: it is
        followed as it is, with headroom, if that is more. Nothing above the highest load so far is
        anticipated, only followed.
        """
        load = loads[-1]
        ratio = load / now if now > 0 else (math.inf if load > 0 else self.lowest)
        before = loads[:-1][-PAST:]
        mean = sum(before) / len(before) if before else load
        growth = math.log(load / mean) if load > 0 and mean > 0 else 0.0
        headroom = float(self.headroom[block, bisect_left(self.edges, growth)])
        explained = then * min(max(ratio, self.lowest), self.highest) ** self.power
        if ratio > self.highest:
            explained = max(explained, load)
        return float(min(headroom * explained, max(self.peak, headroom * load)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Tried:
    """What came, as a ratio to what was anticipated without headroom, and when."""

    left: Floats
    load: Floats
    blocks: Counts
    grown: Counts

    def share_met(self, headroom: Floats) -> float:
        """Return the share of demand that came with what was anticipated for it."""
        met = self.left <= headroom[self.blocks, self.grown]
        return float(self.load[met].sum() / self.load.sum())


def learn_nowcast(
    series: DemandSeries,
    profile: DemandProfile,
    *,
    lead: timedelta,
    settings: NowcastSettings,
    slos: Sequence[float] = (),
) -> tuple[Nowcast, ...] | NotEnoughData:
    """Return a nowcast per objective, from the days that the profile was tried on.

    `slos`: objectives to compare; by default the one of the settings.
    """
    ahead = math.ceil(lead / series.step) + 1
    times, loads = series.times, series.values
    forecast = _forecast_then(times, profile)
    with np.errstate(divide="ignore", invalid="ignore"):
        x = np.log(loads / forecast)[:-ahead]
        y = np.log(loads / forecast)[ahead:]
        growth = np.log(loads / _mean_before(loads, PAST))[:-ahead]
    there = np.isfinite(x) & np.isfinite(y) & np.isfinite(growth)
    if there.sum() < FEWEST:
        return NotEnoughData(
            why=f"{there.sum()} steps of the backtest have a load, at least {FEWEST} are needed"
        )
    x, y, growth = x[there], y[there], growth[there]
    lowest, highest = np.exp(np.quantile(x, _RATIOS_SEEN)).tolist()
    spread = float(x @ x)
    power = float(np.clip(x @ y / spread, 0.0, 1.0)) if spread else 1.0
    edges = np.quantile(growth, _GROWTH_QUANTILES)
    tried = _Tried(
        left=np.exp(y - power * x),
        load=loads[ahead:][there],
        blocks=_blocks(times[ahead:][there], profile),
        grown=np.searchsorted(edges, growth),
    )
    curves = _curves(tried, around=round(settings.window_h * 2))
    bought = [_bought(curves, float(price)) for price in _PRICES]
    shares = [tried.share_met(table) for table in bought]
    nowcasts = []
    for slo in slos or (settings.slo,):
        enough = next((i for i, share in enumerate(shares) if share >= slo), len(shares) - 1)
        nowcasts.append(
            Nowcast(
                profile=profile,
                lead=lead,
                power=power,
                lowest=lowest,
                highest=highest,
                peak=float(np.nanmax(loads)),
                edges=tuple(edges.tolist()),
                headroom=bought[enough],
                price=float(_PRICES[enough]),
            )
        )
    return tuple(nowcasts)


def _curves(tried: _Tried, *, around: int) -> dict[tuple[int, int], tuple[Floats, Floats]]:
    """Return for each state candidate headrooms and the share of demand that each would miss.

    A state that came up too rarely takes its neighbours in growth, then all times of the day.
    """
    curves = {}
    for block in range(_SHAPE[0]):
        distance = np.abs(tried.blocks - block)
        near = np.flatnonzero(np.minimum(distance, _SHAPE[0] - distance) <= around)
        left, grown = tried.left[near], tried.grown[near]
        for bin_ in range(_SHAPE[1]):
            chosen = left[grown == bin_]
            if chosen.size < _FEWEST_IN_STATE:
                chosen = left[np.abs(grown - bin_) <= 1]
            if chosen.size < _FEWEST_IN_STATE:
                chosen = tried.left[tried.grown == bin_]
            ordered = np.sort(chosen if chosen.size else tried.left)
            total = np.cumsum(ordered)
            curves[block, bin_] = ordered, (total[-1] - total) / ordered.size
    return curves


def _bought(curves: dict[tuple[int, int], tuple[Floats, Floats]], price: float) -> Floats:
    table = np.zeros(_SHAPE)
    for state, (left, missed) in curves.items():
        table[state] = left[int(np.argmin(left + price * missed))]
    return table


def _forecast_then(times: Times, profile: DemandProfile) -> Floats:
    """Return what the backtest forecast for each time; NaN on days that it didn't try."""
    wall = wall_clock(times, profile.calendar.zone)
    days = wall.astype("datetime64[D]")
    slots = ((wall - days) // np.timedelta64(profile.slot)).astype(np.int64)
    tried = np.array(profile.tried, dtype="datetime64[D]")
    row = np.searchsorted(tried, days)
    known = (row < tried.size) & (tried[np.minimum(row, tried.size - 1)] == days)
    return np.where(known, profile.forecasts[np.minimum(row, tried.size - 1), slots], np.nan)


def _blocks(times: Times, profile: DemandProfile) -> Counts:
    wall = wall_clock(times, profile.calendar.zone)
    days = wall.astype("datetime64[D]")
    return np.asarray(((wall - days) // np.timedelta64(_BLOCK)).astype(np.int64))


def _mean_before(values: Floats, steps: int) -> npt.NDArray[np.float64]:
    """Return the mean of the steps before each one; NaN where one is missing."""
    padded = np.concatenate([np.full(steps, np.nan), values[:-1]])
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, steps).mean(axis=1))
