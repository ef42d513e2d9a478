"""What an operator chooses about schedules: zone, holidays, limits, blackouts, where they go.

`include/config/scaling.example.yaml` documents every key.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from greenlight.core.errors import ConfigError
from greenlight.core.settings import read_config
from greenlight.core.types import Value
from greenlight.scaling.calendars import (
    WEEKDAYS,
    LocalCalendar,
    SpecialDay,
    calendar_of,
    zone_of,
)
from greenlight.scaling.capacity import CapacitySettings
from greenlight.scaling.demand import LearnSettings
from greenlight.scaling.nowcast import NowcastSettings
from greenlight.scaling.planning import PlanSettings
from greenlight.scaling.reactive import ReactiveSettings, Signal
from greenlight.scaling.regions import RegionShare, check_regions, share_to_plan_for
from greenlight.scaling.replay.comparison import CompareSettings
from greenlight.scaling.schedule import Blackout, Limits
from greenlight.scaling.schedule_changes import ChangeLimits
from greenlight.scaling.schedule_file import WeekTime

Hosts = Annotated[int, Field(ge=0)]
Text = Annotated[str, Field(min_length=1)]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DnsName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,51}[a-z0-9])?$")]


class Holidays(Value):
    """Public holidays of a country, and of a part of it, by ISO codes."""

    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
    subdivision: Text | None = None


class OwnDay(Value):
    """A day that only this fleet knows of."""

    day: date
    name: Text
    like: Weekday = "sun"
    factor: Annotated[float, Field(ge=0)] | None = None


class BlackoutWindow(Value):
    """A time of the local week in which nothing changes."""

    start: WeekTime = Field(alias="from")
    to: WeekTime
    reason: Text


class AwsGroup(Value):
    """An Auto Scaling group, which carries the tag `greenlight:fleet`.

    `events`: the address of the SQS queue in which EventBridge puts what AWS tells of hosts that it
    takes; none: nobody drains them.
    """

    kind: Literal["aws_autoscaling"]
    group: Text
    region: Text
    target_tracking: bool = True
    events: Annotated[str, Field(pattern=r"^https?://\S+/\S+$")] | None = None


class KedaObject(Value):
    """A ScaledObject that is written to a file, for whoever applies manifests."""

    kind: Literal["keda"]
    path: Path
    name: DnsName
    namespace: DnsName
    workload: Text
    workload_kind: Text = "Deployment"
    prometheus: Annotated[str, Field(pattern=r"^https?://\S+$")]
    query: Text


class LocalSlots(Value):
    """Slots of the fleet's own hosts, which Greenlight starts and drains itself."""

    kind: Literal["slots"]


Target = Annotated[AwsGroup | KedaObject | LocalSlots, Field(discriminator="kind")]


class FleetScaling(Value):
    """One fleet. Without a target its schedule is proposed and replayed, and not applied.

    `demand_query`: of tokens a second in PromQL; none: what the gateway counts of the fleet's
    model. `machine_start_s`: from the order of a machine until its engine is started, as its owner
    measured it; rollouts only measure the rest, so targets that order machines need it. `region`:
    which of the regions this fleet is; each region has a fleet of its own.
    """

    zone: Text = "UTC"
    holidays: Holidays | None = None
    own_days: tuple[OwnDay, ...] = ()
    floor: Hosts = 1
    ceiling: Annotated[int, Field(ge=1)]
    gpus_per_host: Hosts = 1
    drain_s: Annotated[int, Field(ge=30, le=7200)] = 600
    demand_query: Text | None = None
    target: Target | None = None
    machine_start_s: Annotated[float, Field(gt=0)] | None = None
    blackouts: tuple[BlackoutWindow, ...] = ()
    regions: tuple[RegionShare, ...] = ()
    region: Text | None = None
    survive_a_region: bool = False
    learn: LearnSettings = LearnSettings()
    plan: PlanSettings = PlanSettings()
    nowcast: NowcastSettings = NowcastSettings()
    capacity: CapacitySettings = CapacitySettings()
    utilisation: Annotated[float, Field(gt=0, le=1)] = 0.85
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.1
    down_window_s: Annotated[float, Field(ge=0)] = 300.0
    changes: ChangeLimits = ChangeLimits()
    replay: CompareSettings = CompareSettings()

    @field_validator("zone")
    @classmethod
    def _zone_exists(cls, zone: str) -> str:
        try:
            zone_of(zone)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return zone

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.floor > self.ceiling:
            raise ValueError(f"floor {self.floor} is above ceiling {self.ceiling}")
        if self.regions:
            try:
                check_regions(self.regions)
            except ConfigError as error:
                raise ValueError(str(error)) from error
        shares = {region.name: region.share for region in self.regions}
        if self.regions and not shares.get(self.region or ""):
            raise ValueError(
                f"region {self.region!r} must be one of {', '.join(shares)} with a share above 0"
            )
        if isinstance(self.target, AwsGroup | KedaObject) and self.machine_start_s is None:
            raise ValueError(
                f"machine_start_s is missing: {self.target.kind} orders machines, and how long one "
                "takes until its engine is started must be measured"
            )
        floors = [region.floor for region in self.regions if region.name == self.region]
        if max([self.floor, *floors]) > self.ceiling:
            raise ValueError(f"the floor of region {self.region} is above ceiling {self.ceiling}")
        days = [own.day for own in self.own_days]
        if len(set(days)) < len(days):
            raise ValueError("own_days: each day may come once")
        return self

    @property
    def limits(self) -> Limits:
        """Floor, of the fleet or of its region, and ceiling."""
        floors = [region.floor for region in self.regions if region.name == self.region]
        return Limits(floor=max([self.floor, *floors]), ceiling=self.ceiling)

    @property
    def share(self) -> float:
        """The part of all demand that comes to this fleet, as long as every region is there."""
        if self.region is None:
            return 1.0
        return share_to_plan_for(self.regions, self.region, survive=False)

    @property
    def surge(self) -> float:
        """How many times that it is planned for, so that any one other region may be lost."""
        if self.region is None:
            return 1.0
        planned = share_to_plan_for(self.regions, self.region, survive=self.survive_a_region)
        return planned / self.share

    @property
    def windows(self) -> tuple[Blackout, ...]:
        """The blackouts."""
        return tuple(Blackout(start=b.start, end=b.to, reason=b.reason) for b in self.blackouts)

    def calendar(self, years: Iterable[int]) -> LocalCalendar:
        """Return the fleet's days of some years.

        Raises:
            ConfigError: the holidays of the country aren't known.
        """
        own = [
            SpecialDay(day=o.day, name=o.name, like=WEEKDAYS.index(o.like), factor=o.factor)
            for o in self.own_days
        ]
        country = self.holidays.country if self.holidays else None
        subdivision = self.holidays.subdivision if self.holidays else None
        return calendar_of(
            self.zone, country=country, subdivision=subdivision, years=years, own=own
        )

    def reactive(self, tokens_per_second: float) -> ReactiveSettings:
        """Return the fast loop for hosts of a measured speed."""
        return ReactiveSettings(
            targets={Signal.TOKENS: self.utilisation * tokens_per_second},
            tolerance=self.tolerance,
            down_window_s=self.down_window_s,
        )


class ScalingFile(Value):
    """The whole file."""

    fleets: Annotated[dict[str, FleetScaling], Field(min_length=1)]


def load_scaling(path: Path) -> ScalingFile:
    """Return the settings of all fleets.

    Raises:
        ConfigError: the file cannot be read, or has an unknown key or a bad value.
    """
    return read_config(path, ScalingFile)


def load_fleet_scaling(path: Path, fleet: str) -> FleetScaling:
    """Return the settings of one fleet.

    Raises:
        ConfigError: as `load_scaling`, or the file doesn't name it.
    """
    fleets = load_scaling(path).fleets
    if fleet not in fleets:
        raise ConfigError(f"{path} has no fleet {fleet!r}: it has {', '.join(sorted(fleets))}")
    return fleets[fleet]
