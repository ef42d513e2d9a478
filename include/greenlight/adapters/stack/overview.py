"""How the services are, and where they answer."""

from __future__ import annotations

from greenlight.adapters.stack import (
    airflow,
    greenlight_servers,
    mlflow_server,
    monitoring,
    postgres,
)
from greenlight.adapters.stack.readiness import Readiness
from greenlight.adapters.stack.secrets import ADMIN, StackSecrets
from greenlight.adapters.stack.services import (
    PORT_OF,
    ServiceName,
    ServiceStatus,
    StackAddresses,
    State,
)
from greenlight.adapters.stack.supervisor import Supervisor
from greenlight.core.errors import GreenlightError
from greenlight.core.settings import Ports, Settings


def status_of(
    name: ServiceName, supervisor: Supervisor, settings: Settings, ports: Ports | None
) -> ServiceStatus:
    """Return how a service is. One that can't be asked is not healthy, and says why."""
    record = supervisor.running(name)
    reason: str | None = "it was not started, or it ended"
    if record and ports:
        try:
            ready = Readiness(supervisor, settings=settings, ports=ports)
            reason = ready.why_not_healthy(name)
        except GreenlightError as error:
            reason = str(error)
    running = State.UNHEALTHY if reason else State.RUNNING
    key = PORT_OF.get(name)
    return ServiceStatus(
        name=name,
        state=running if record else State.STOPPED,
        pid=record.pid if record else None,
        port=getattr(ports, key) if ports and key else None,
        reason=reason,
        log=supervisor.log(name),
    )


def addresses_of(settings: Settings, secrets: StackSecrets, ports: Ports) -> StackAddresses:
    """Return where the services answer, and how to log in."""
    return StackAddresses(
        airflow_url=airflow.url(ports),
        mlflow_url=mlflow_server.url(ports),
        gateway_url=greenlight_servers.gateway_url(ports),
        edge_url=greenlight_servers.edge_url(ports)
        if greenlight_servers.has_own_edge(settings)
        else None,
        prometheus_url=monitoring.prometheus_url(ports),
        alertmanager_url=monitoring.alertmanager_url(ports),
        database_url=postgres.database_url(
            "greenlight", port=ports.postgres, password=secrets.postgres
        ),
        airflow_user=ADMIN,
        airflow_password=secrets.airflow_admin,
        airflow_password_file=settings.secrets / "airflow_admin",
    )
