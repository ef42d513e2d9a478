"""Days that `scaling.py` tunes and reports on, and what is learned for them night by night."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from greenlight.core.errors import InputError
from greenlight.scaling.calendars import calendar_of
from greenlight.scaling.capacity import HostCapacity, LeadTime
from greenlight.scaling.demand import LearnSettings
from greenlight.scaling.demand_profile import NotEnoughData
from greenlight.scaling.demand_series import Floats
from greenlight.scaling.nowcast import NowcastSettings
from greenlight.scaling.planning import FleetFacts, PlanSettings
from greenlight.scaling.replay.fluid import FluidFleet
from greenlight.scaling.replay.nightly import Nights, Sizes
from greenlight.scaling.replay.policies import Anticipated
from greenlight.scaling.schedule import Limits
from scaling_world import A_DAY, Demand

LEAST_DAYS = 14
"""Of which the first week is learned from before anything is tuned."""
WEEK_DAYS = 7
CEILING = 1000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """Whole days `first` to `last`, the last one not included; the first only warms up."""

    first: int
    last: int
    demand: Floats


def windows(demand: Demand) -> tuple[Window, Window]:
    """Return the days to tune on, at the end of the first two thirds, and those to report on.

    Raises:
        InputError: there are too few days, or too little demand.
    """
    days = demand.series.values.size // A_DAY
    if days < LEAST_DAYS:
        raise InputError(
            f"{demand.name}: {days} whole days of demand are not enough data, "
            f"{LEAST_DAYS} are needed: a week to learn from, the rest to tune and to report on"
        )
    trained = max(WEEK_DAYS + 4, days * 2 // 3)
    tuned = max(WEEK_DAYS + 2, trained - min(21, (trained - WEEK_DAYS) // 2))
    if not np.quantile(demand.series.values[: trained * A_DAY], 0.999):
        raise InputError(f"{demand.name}: there is next to no demand in the first {trained} days")
    return _window(demand, tuned - 1, trained), _window(demand, trained - 1, days)


def _window(demand: Demand, first: int, last: int) -> Window:
    part = demand.series.values[first * A_DAY : last * A_DAY]
    return Window(first=first, last=last, demand=part)


class Learned:
    """Learns once what several replays use."""

    def __init__(self, demand: Demand) -> None:
        self.demand = demand
        self._nights: dict[int, Nights] = {}

    def known(self, window: Window) -> Floats:
        """Return the demand before a window."""
        return self.demand.series.values[: window.first * A_DAY]

    def nights(self, window: Window) -> Nights:
        """Return the window's nights."""
        if window.first not in self._nights:
            start: date = self.demand.series.start.astype("datetime64[D]").item()
            self._nights[window.first] = Nights(
                series=self.demand.series,
                calendar=calendar_of("UTC"),
                days=tuple(start + timedelta(days=n) for n in range(window.first, window.last)),
                learning=LearnSettings(min_days=WEEK_DAYS),
            )
        return self._nights[window.first]

    def schedules(
        self, window: Window, fleet: FluidFleet, *, quantile: float, minimum: float
    ) -> Sizes:
        """Return the hosts of each minute by the night's schedule.

        Raises:
            InputError: a night hasn't enough data.
        """
        settings = PlanSettings(
            quantile=quantile, minimum_quantile=minimum, drain_s=60 * fleet.drain
        )
        facts = FleetFacts(
            name="bench",
            capacity=HostCapacity(tokens_per_second=fleet.tokens_per_second, source="the demand"),
            lead=LeadTime(seconds=fleet.cold_start * fleet.step_s, source="set"),
            gpus_per_host=fleet.gpus_per_host,
            limits=Limits(floor=1, ceiling=CEILING),
        )
        found = self.nights(window).sizes(facts, settings)
        if isinstance(found, NotEnoughData):
            raise InputError(f"{self.demand.name}: not enough data {found.why}")
        return found

    def nowcasts(
        self, window: Window, fleet: FluidFleet, slos: tuple[float, ...]
    ) -> dict[float, list[Anticipated]]:
        """Return for each objective the nowcasts of the window's days.

        Raises:
            InputError: a night hasn't enough data.
        """
        lead = timedelta(seconds=fleet.cold_start * fleet.step_s)
        found = self.nights(window).nowcasts(lead, NowcastSettings(), slos)
        if isinstance(found, NotEnoughData):
            raise InputError(f"{self.demand.name}: not enough data {found.why}")
        return found
