"""Usage that a test says, for costs without Prometheus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from greenlight.core.errors import UnavailableError
from greenlight.cost.inventory import HostPlan
from greenlight.cost.rightsizing.series import Resource, UsageSeries
from greenlight.cost.usage import HostUsage


class FakeUsage:
    """`cost.ports.UsageSource` from dictionaries. `is_away`: it doesn't answer."""

    def __init__(self) -> None:
        self.hours: dict[datetime, Mapping[str, HostUsage]] = {}
        self.histories: dict[Resource, Mapping[str, UsageSeries]] = {}
        self.is_away = False

    def hour(self, plans: Sequence[HostPlan], hour: datetime) -> Mapping[str, HostUsage]:
        """Return what the test said of an hour, of planned hosts alone."""
        if self.is_away:
            raise UnavailableError("usage is away")
        planned = {plan.name for plan in plans}
        found = self.hours.get(hour, {})
        return {name: host for name, host in found.items() if name in planned}

    def history(
        self, resource: Resource, *, end: datetime, days: int, step: timedelta
    ) -> Mapping[str, UsageSeries]:
        """Return what the test said of a resource, whatever the time."""
        del end, days, step
        return self.histories.get(resource, {})
