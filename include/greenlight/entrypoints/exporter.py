"""`greenlight exporter run`: Greenlight's own tables for Prometheus, and what Airflow counts.

It also tells Prometheus which engines and routers there are to ask.

Airflow sends its numbers to the UDP port of the same number as the one that Prometheus asks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

from greenlight.core.clock import SystemClock
from greenlight.core.errors import ConfigError
from greenlight.core.logs import configure_logging
from greenlight.core.settings import Settings, load_settings, read_config
from greenlight.core.stopping import until_told
from greenlight.deploy.fleet import Fleet, FleetFile
from greenlight.deploy.journal import History, Progress, history_of

if TYPE_CHECKING:
    import sqlalchemy as sa
    from prometheus_client.metrics_core import Metric

    from greenlight.adapters.table_metrics import Read

HOST = "127.0.0.1"
STATSD_FILE = "monitoring/statsd/mapping.yaml"

Fleets = Callable[[], Iterator[tuple[Fleet, History]]]
"""Reads every fleet of fleet.yaml with its rollouts, now."""


def serve(
    settings: Settings | None = None, *, address: str = HOST, on_start: Callable[[str], None]
) -> None:
    """Serve until SIGTERM or SIGINT. `address`: loopback, or a network of your own.

    Raises:
        ConfigError: the port is taken, or a secret is missing.
        RefusedError: no database is configured, and the stack is not up.
    """
    from greenlight.adapters import fleet_targets, table_metrics
    from greenlight.adapters.metrics_server import serve_metrics
    from greenlight.adapters.statsd import StatsdStore, load_mapping
    from greenlight.adapters.statsd_receiver import receive
    from greenlight.adapters.table_metrics import TableCollector
    from greenlight.entrypoints.stack import open_database

    settings = settings or load_settings()
    lines = configure_logging(service="greenlight-exporter", level=logging.WARNING)
    wanted = settings.ports.exporter
    airflow = StatsdStore(load_mapping(settings.project / STATSD_FILE))
    engine = open_database(settings)
    fleets = read_fleets(settings, engine)
    read = {
        **parts(settings, engine, fleets),
        "log": lambda: table_metrics.of_log_lines(lines.by_level()),
        "airflow": airflow.collect,
    }
    with until_told() as told, ExitStack() as stops:
        try:
            port, stop = serve_metrics(
                TableCollector(read),
                address=address,
                port=wanted,
                pages={fleet_targets.PATH: lambda: fleet_targets.targets_of(fleets())},
            )
            stops.callback(stop)
            _, stop = receive(airflow.take, address=address, port=port)
            stops.callback(stop)
        except OSError as error:
            raise ConfigError(
                f"the exporter can't listen on {address}:{wanted}, TCP and UDP: {error.strerror}; "
                f"choose another ports.exporter, or stop what is there"
            ) from error
        on_start(f"http://{address}:{port}/metrics")
        told.wait()


def read_fleets(settings: Settings, engine: sa.Engine) -> Fleets:
    """Return what reads the fleets. Rollouts that have ended are read once."""
    from greenlight.adapters.rollout_store import DatabaseJournal

    journal = DatabaseJournal(engine)
    ended: dict[str, Progress] = {}

    def fleets() -> Iterator[tuple[Fleet, History]]:
        for fleet in read_config(settings.config_file("fleet"), FleetFile).fleets:
            yield fleet, history_of(journal, fleet.name, ended=ended)

    return fleets


def parts(settings: Settings, engine: sa.Engine, fleets: Fleets) -> Mapping[str, Read]:
    """Return what is read at every scrape, by the part's name."""
    from greenlight.adapters import table_metrics
    from greenlight.adapters.approval_store import DatabaseApprovals
    from greenlight.adapters.schedule_store import DatabaseSchedules
    from greenlight.entrypoints.gateway_access import open_stores
    from greenlight.entrypoints.scaling_days import fleet_schedule
    from greenlight.scaling.scaling_file import load_scaling

    clock = SystemClock()
    approvals = DatabaseApprovals(engine)
    keys, audit = open_stores(settings)
    stored = DatabaseSchedules(engine)

    def schedules() -> list[Metric]:
        named = load_scaling(settings.config_file("scaling")).fleets
        now = clock.now()
        return table_metrics.of_schedules(
            fleet_schedule(stored, fleet, now=now) for fleet in sorted(named)
        )

    return {
        "rollouts": lambda: table_metrics.of_rollouts(fleets()),
        "approvals": lambda: table_metrics.of_approvals(approvals.approvals()),
        "keys": lambda: table_metrics.of_keys(keys.all_keys(), now=clock.now()),
        "schedules": schedules,
        "audit": lambda: table_metrics.of_audit(audit.position("").head),
    }
