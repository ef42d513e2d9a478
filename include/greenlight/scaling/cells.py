"""Sizes on a grid of the week or of a day: needs put into cells, and cells joined to runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

import numpy as np

from greenlight.scaling.calendars import wall_clock
from greenlight.scaling.demand_profile import DemandProfile
from greenlight.scaling.demand_series import Counts, Floats, Times
from greenlight.scaling.gaps import ahead
from greenlight.scaling.schedule import Expected

STEP_MIN = 5
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Needs:
    """Five-minute steps of some local days.

    `exact`: hosts at the upper quantile, as a fraction. `desired`, `minimum`: whole ones, looked
    ahead by the lead time. `demand`: what is expected in the mean.
    """

    times: Times
    wall: Times
    demand: Floats
    exact: Floats
    desired: Counts
    minimum: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Cells in a row with the same sizes."""

    start: int
    end: int
    minimum: int
    desired: int


def needs_of(
    profile: DemandProfile,
    *,
    first: date,
    days: int,
    tokens_per_second: float,
    lead_s: float,
    quantile: float,
    minimum_quantile: float,
    spare: int,
) -> Needs:
    """Return the hosts needed on local days. A day around them is looked at, for zone and lead."""
    start = np.datetime64(first, "us") - np.timedelta64(1, "D")
    count = (days + 2) * 24 * 60 // STEP_MIN
    times = start + np.arange(count) * np.timedelta64(STEP_MIN, "m")
    wall = wall_clock(times, profile.calendar.zone)
    exact = profile.upper(times, quantile) / tokens_per_second
    least = profile.upper(times, min(quantile, minimum_quantile)) / tokens_per_second
    steps = math.ceil(lead_s / (60 * STEP_MIN))
    desired, minimum = (
        ahead(np.ceil(hosts - ROUNDING).astype(np.int64) + spare, steps) for hosts in (exact, least)
    )
    inside = (wall >= np.datetime64(first, "us")) & (
        wall < np.datetime64(first + timedelta(days=days), "us")
    )
    return Needs(
        times=times[inside],
        wall=wall[inside],
        demand=profile.expected(times)[inside],
        exact=exact[inside],
        desired=desired[inside],
        minimum=np.minimum(minimum, desired)[inside],
    )


def most_of(hosts: Counts, cell: Counts, count: int) -> Counts:
    """Return the most of each cell.

    One without a step, in the hour that a day lacks, takes the one before: next week it is there.
    """
    cells = np.full(count, -1, dtype=np.int64)
    np.maximum.at(cells, cell, hosts)
    for empty in np.flatnonzero(cells < 0):
        cells[empty] = cells[empty - 1]
    return cells


def joined(minimum: Counts, desired: Counts, *, most: int) -> list[Run]:
    """Return runs of cells with the same sizes.

    Where more than `most` are left, the pair of neighbours is joined, at the higher sizes, that
    adds the fewest host-hours, and so on.
    """
    sizes = np.stack([minimum, desired])
    edges = [0, *(np.flatnonzero((np.diff(sizes, axis=1) != 0).any(axis=0)) + 1), minimum.size]
    runs = [
        Run(start=int(a), end=int(b), minimum=int(minimum[a]), desired=int(desired[a]))
        for a, b in pairwise(edges)
    ]
    added = [_added(a, b) for a, b in pairwise(runs)]
    while len(runs) > most:
        best = added.index(min(added))
        runs[best : best + 2] = [_pair(runs[best], runs[best + 1])]
        around = [i for i in (best - 1, best) if 0 <= i < len(runs) - 1]
        added[max(0, best - 1) : best + 2] = [_added(runs[i], runs[i + 1]) for i in around]
    return runs


def expected_of(
    demand: Floats, met: Floats, hosts: Counts, *, gpus_per_host: int
) -> Expected | None:
    """Return the share of demand that finds enough hosts, and their hours; `None`: no time at all.

    `met`: the chance of each step that its hosts are enough.
    """
    if not demand.size:
        return None
    share = float(met @ demand / demand.sum()) if demand.sum() else 1.0
    hours = float(hosts.sum()) * STEP_MIN / 60 * gpus_per_host
    return Expected(slo_pct=round(100 * share, 2), gpu_hours=round(hours, 1))


def _pair(a: Run, b: Run) -> Run:
    return Run(
        start=a.start,
        end=b.end,
        minimum=max(a.minimum, b.minimum),
        desired=max(a.desired, b.desired),
    )


def _added(a: Run, b: Run) -> int:
    """Return the host-cells that joining two runs adds."""
    return _cost(_pair(a, b)) - _cost(a) - _cost(b)


def _cost(run: Run) -> int:
    return (run.end - run.start) * (run.minimum + run.desired)
