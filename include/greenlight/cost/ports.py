"""What costs need from outside, named after the need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Protocol

from greenlight.cost.allocation import CostLine
from greenlight.cost.hours import CostHour, HourState
from greenlight.cost.inventory import HostPlan
from greenlight.cost.prices import Price
from greenlight.cost.reconciliation import OutsideBill
from greenlight.cost.rightsizing.series import Resource, UsageSeries
from greenlight.cost.savings import Recorded, State
from greenlight.cost.totals import Dimension, Key, Total
from greenlight.cost.usage import HostUsage


class UsageSource(Protocol):
    """What was measured."""

    def hour(self, plans: Sequence[HostPlan], hour: datetime) -> Mapping[str, HostUsage]:
        """Return every planned host's usage; what is missing is unmeasured."""

    def history(
        self, resource: Resource, *, end: datetime, days: int, step: timedelta
    ) -> Mapping[str, UsageSeries]:
        """Return each host's use of a resource as shares of what it has, by `HostPlan.exporter`."""


class PriceSource(Protocol):
    """Prices that somebody else knows."""

    def on_demand(self, sku: str, region: str, *, on: date) -> Price:
        """Return today's list price of a host type."""

    def spot(self, sku: str, region: str, *, start: datetime, end: datetime) -> tuple[Price, ...]:
        """Return the spot prices of a time, oldest first."""


class BillSource(Protocol):
    """The cloud's own bill."""

    def daily(self, start: date, end: date) -> OutsideBill:
        """Return what was spent in `[start, end)`, by day and service."""


class CostStore(Protocol):
    """Hours, their lines, advice, and alerts that were sent."""

    def save_hour(self, hour: CostHour) -> None:
        """Keep an hour in place of what was kept for it."""

    def hours(self, start: datetime, end: datetime) -> tuple[CostHour, ...]:
        """Return the hours in `[start, end)`, oldest first, without their lines."""

    def states(self, start: datetime, end: datetime) -> Mapping[datetime, HourState]:
        """Return what became of the hours in `[start, end)`."""

    def lines(self, start: datetime, end: datetime) -> tuple[CostLine, ...]:
        """Return the lines of the hours in `[start, end)`, by hour and as they were saved."""

    def sums(
        self, start: datetime, end: datetime, dimensions: Sequence[Dimension]
    ) -> Mapping[Key, Total]:
        """Return `total_by` of those lines, without fetching them."""

    def hourly(
        self, start: datetime, end: datetime, where: Mapping[Dimension, str]
    ) -> Mapping[datetime, Total]:
        """Return each hour's sum of the lines that have these values; without one it is left out.

        An hour that is left out may have a bill all the same: `states` says which have.
        """

    def save_advice(self, advice: Recorded) -> None:
        """Keep advice in place of what has its id."""

    def advice(self, *, states: Sequence[State] = tuple(State)) -> tuple[Recorded, ...]:
        """Return advice in these states, by id."""

    def note_alert(self, key: str, at: datetime) -> bool:
        """Note that an alert is sent; false: it was sent before, and `at` is not kept."""

    def alerts(self, prefix: str) -> Mapping[str, datetime]:
        """Return the alerts whose keys begin so, and when they were sent."""
