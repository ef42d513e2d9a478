"""The services of the embedded stack: their names, their order, what it takes to start one."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from greenlight.core.digest import digest_json


class ServiceName(StrEnum):
    """One process group each; also the name of its log and of its pid file."""

    STORE_A = "store-a"
    STORE_B = "store-b"
    POSTGRES = "postgres"
    REDIS = "redis"
    NODE_EXPORTER = "node-exporter"
    ALERTMANAGER = "alertmanager"
    PROMETHEUS = "prometheus"
    MLFLOW = "mlflow"
    API_SERVER = "airflow-api-server"
    SCHEDULER = "airflow-scheduler"
    DAG_PROCESSOR = "airflow-dag-processor"
    TRIGGERER = "airflow-triggerer"
    GATEWAY = "gateway"
    EDGE = "edge"
    EXPORTER = "exporter"
    SCALING = "scaling"


STOP_ORDER: tuple[tuple[ServiceName, ...], ...] = (
    (
        ServiceName.SCHEDULER,
        ServiceName.DAG_PROCESSOR,
        ServiceName.TRIGGERER,
        ServiceName.EDGE,
    ),
    (
        ServiceName.API_SERVER,
        ServiceName.MLFLOW,
        ServiceName.GATEWAY,
        ServiceName.EXPORTER,
        ServiceName.SCALING,
    ),
    (ServiceName.PROMETHEUS, ServiceName.ALERTMANAGER, ServiceName.NODE_EXPORTER),
    (ServiceName.REDIS,),
    (ServiceName.POSTGRES,),
    (ServiceName.STORE_A, ServiceName.STORE_B),
)
"""A stage ends before the next is told to: a task that is stopped still reports its state to the
API server, everybody may still finish a transaction, and PostgreSQL sends the last of its log to
the stores."""


PORT_OF = {
    ServiceName.STORE_A: "store_a",
    ServiceName.STORE_B: "store_b",
    ServiceName.POSTGRES: "postgres",
    ServiceName.REDIS: "redis",
    ServiceName.NODE_EXPORTER: "node_exporter",
    ServiceName.ALERTMANAGER: "alertmanager",
    ServiceName.PROMETHEUS: "prometheus",
    ServiceName.MLFLOW: "mlflow",
    ServiceName.API_SERVER: "airflow",
    ServiceName.GATEWAY: "gateway",
    ServiceName.EDGE: "edge",
    ServiceName.EXPORTER: "exporter",
}
"""The services that listen, with their key in the setting `ports`."""


class Audience(StrEnum):
    """Which of a service's processes are asked to end."""

    LEADER = "leader"
    """It ends the others itself, in its own order."""
    SESSION = "session"
    """All, at once."""
    OTHER_GROUPS_TOO = "other groups too"
    """The leader, and what runs in process groups of its own inside the session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Farewell:
    """How a service is asked to end."""

    number: signal.Signals = signal.SIGTERM
    to_others: signal.Signals = signal.SIGTERM
    """What all but the leader get."""
    audience: Audience = Audience.SESSION


FAREWELLS = {
    # SeaweedFS waits 15 s for its own subscriptions to end. What it has acknowledged is with the
    # kernel already, so a kill loses nothing (tests/integration/stack/test_object_stores.py)
    ServiceName.STORE_A: Farewell(number=signal.SIGKILL),
    ServiceName.STORE_B: Farewell(number=signal.SIGKILL),
    # SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for every client to leave
    ServiceName.POSTGRES: Farewell(number=signal.SIGINT, audience=Audience.LEADER),
    # Open answers end first, and its workers with them.
    ServiceName.GATEWAY: Farewell(audience=Audience.LEADER),
    # A worker of the LocalExecutor that dies waiting for work takes the lock of the queue with it,
    # and the scheduler waits for ever. So the scheduler ends its workers, which wait for their
    # tasks; and the tasks, in groups of their own, are interrupted by us, as Airflow does it:
    # on SIGTERM a task only calls its operator's `on_kill` and goes on.
    ServiceName.SCHEDULER: Farewell(to_others=signal.SIGINT, audience=Audience.OTHER_GROUPS_TOO),
}


class State(StrEnum):
    """What `status` says about a service."""

    RUNNING = "running"
    UNHEALTHY = "unhealthy"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A command, its settings as environment variables, and what it inherits.

    Secrets are in the environment only: a command line can be read by everybody on the machine.
    """

    name: ServiceName
    command: Sequence[str]
    settings: Mapping[str, str] = field(repr=False)
    inherited: Mapping[str, str] = field(repr=False)
    cwd: Path

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment of the process."""
        return {**self.inherited, **self.settings}

    @property
    def digest(self) -> str:
        """What a running service was started with: another digest means it must be restarted."""
        return digest_json([list(self.command), dict(self.settings), str(self.cwd)])


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus:
    """One line of `greenlight stack status`. `reason` says why it is not healthy."""

    name: ServiceName
    state: State
    pid: int | None
    port: int | None
    reason: str | None
    log: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class StackAddresses:
    """Where the running stack is and how to log in. Secrets stay out of `repr`."""

    airflow_url: str
    mlflow_url: str
    gateway_url: str
    edge_url: str | None
    """nginx with TLS in front of the gateway; none: gateway.yaml has an `edge` of its own."""
    prometheus_url: str
    alertmanager_url: str
    database_url: str = field(repr=False)
    """Greenlight's database as an SQLAlchemy URL, the password included."""
    airflow_user: str
    airflow_password: str = field(repr=False)
    airflow_password_file: Path
