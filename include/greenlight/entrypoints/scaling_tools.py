"""What a fleet's schedule works with: demand, benchmarks, journal, store, target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from greenlight.core.clock import Clock, SystemClock
from greenlight.core.settings import Settings, load_settings, read_config
from greenlight.deploy.fleet import Fleet, FleetFile, load_fleet
from greenlight.deploy.performance import Benchmark, PerformanceSettings, load_performance
from greenlight.deploy.ports import JournalStore
from greenlight.entrypoints import stack
from greenlight.entrypoints.scaling_apply import Applier, ToManifest, ToScaler, ToSlots
from greenlight.scaling.ports import DemandSource, ScheduleStore
from greenlight.scaling.scaling_file import (
    AwsGroup,
    FleetScaling,
    KedaObject,
    LocalSlots,
    load_fleet_scaling,
    load_scaling,
)

if TYPE_CHECKING:
    from greenlight.entrypoints.scaling_slots import SlotLoop


class Benchmarks(Protocol):
    """A fleet's benchmarks. See `performance_record.PerformanceRecord`."""

    def benchmark(self, version: int) -> Benchmark | None:
        """Return a version's last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingTools:
    """Everything that one fleet's schedule acts through. Each part can be a fake.

    `measured_with`: what a benchmark must have been made with. `applier`: none: schedules are
    proposed and replayed only.
    """

    fleet: Fleet
    scaling: FleetScaling
    source: DemandSource
    store: ScheduleStore
    journal: JournalStore
    benchmarks: Benchmarks
    measured_with: PerformanceSettings
    applier: Applier | None = None
    clock: Clock = SystemClock()  # noqa: RUF009 - stateless


def scheduled_fleets(settings: Settings | None = None) -> list[str]:
    """Return the fleets that have a schedule, by scaling.yaml, and something deployed to them."""
    from greenlight.adapters.rollout_store import DatabaseJournal

    settings = settings or load_settings()
    known = {fleet.name for fleet in read_config(settings.config_file("fleet"), FleetFile).fleets}
    named = sorted(known & set(load_scaling(settings.config_file("scaling")).fleets))
    journal = DatabaseJournal(stack.open_database(settings))
    return [fleet for fleet in named if journal.rollouts(fleet)]


def open_tools(fleet_name: str, settings: Settings | None = None) -> ScalingTools:
    """Open everything for one fleet; nothing is asked yet.

    Raises:
        ConfigError: fleet.yaml, scaling.yaml or performance.yaml is wrong, or lacks the fleet.
        RefusedError: no database is configured, and the embedded stack is not up.
    """
    from greenlight.adapters.prometheus_api import PrometheusApi
    from greenlight.adapters.prometheus_demand import PrometheusDemand
    from greenlight.adapters.rollout_store import DatabaseJournal
    from greenlight.adapters.schedule_store import DatabaseSchedules
    from greenlight.entrypoints.models import open_registry
    from greenlight.entrypoints.performance_record import PerformanceRecord

    settings = settings or load_settings()
    fleet = load_fleet(settings.config_file("fleet"), fleet_name)
    scaling = load_fleet_scaling(settings.config_file("scaling"), fleet_name)
    engine = stack.open_database(settings)
    api = PrometheusApi(stack.prometheus_url(settings))
    return ScalingTools(
        fleet=fleet,
        scaling=scaling,
        source=PrometheusDemand(
            api,
            fleet=fleet.name,
            model=fleet.model,
            query=scaling.demand_query,
            share=1.0 if scaling.demand_query else scaling.share,
        ),
        store=DatabaseSchedules(engine),
        journal=DatabaseJournal(engine),
        benchmarks=PerformanceRecord(open_registry(settings), model=fleet.model, fleet=fleet.name),
        measured_with=load_performance(settings.config_file("performance"), fleet.name),
        applier=open_applier(fleet_name, scaling, clock=SystemClock()),
    )


def open_loop(fleet: str, settings: Settings | None = None) -> SlotLoop | None:
    """Return the loop of a fleet with slots; `None`: something else scales it.

    Raises:
        ConfigError, RefusedError: as `open_tools`.
    """
    from greenlight.entrypoints.rollout_tools import open_tools as open_rollout_tools
    from greenlight.entrypoints.scaling_measured import Measured
    from greenlight.entrypoints.scaling_slots import SlotLoop

    settings = settings or load_settings()
    tools = open_tools(fleet, settings)
    if not isinstance(tools.scaling.target, LocalSlots):
        return None
    return SlotLoop(
        tools=open_rollout_tools(settings, fleet),
        scaling=tools.scaling,
        store=tools.store,
        source=tools.source,
        capacity=Measured(tools).capacity,
    )


def open_applier(fleet: str, scaling: FleetScaling, *, clock: Clock) -> Applier | None:
    """Return what applies a fleet's schedule; `None`: nothing does."""
    target = scaling.target
    if target is None:
        return None
    if isinstance(target, AwsGroup):
        from greenlight.adapters.aws_schedules import AwsScheduleTarget

        return ToScaler(
            target=AwsScheduleTarget(target.group, fleet=fleet, region=target.region, clock=clock),
            utilisation=scaling.utilisation,
            drain_s=scaling.drain_s,
            has_loop=target.target_tracking,
        )
    if isinstance(target, KedaObject):
        from greenlight.adapters.keda import KedaSettings

        return ToManifest(
            path=target.path,
            utilisation=scaling.utilisation,
            settings=KedaSettings(
                name=target.name,
                namespace=target.namespace,
                kind=target.workload_kind,
                workload=target.workload,
                prometheus=target.prometheus,
                query=target.query,
                target=1.0,
                down_window_s=round(scaling.down_window_s),
            ),
        )
    return ToSlots(fleet=fleet)
