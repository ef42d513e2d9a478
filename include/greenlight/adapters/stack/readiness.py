"""When a service is healthy: it answers, or its heart beats, and the listener is ours."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Sequence

import httpx

from greenlight.adapters.stack import (
    airflow,
    greenlight_servers,
    object_store,
    postgres,
    postgres_databases,
    redis_server,
)
from greenlight.adapters.stack.ports import LOOPBACK
from greenlight.adapters.stack.secrets import load_secret
from greenlight.adapters.stack.services import PORT_OF, ServiceName
from greenlight.adapters.stack.stores import STORES, embedded_stores, s3_of
from greenlight.adapters.stack.supervisor import Supervisor
from greenlight.core.errors import ProcessDiedError, UnavailableError
from greenlight.core.settings import Ports, Settings

POLL_S = 0.25
EDGE_S = 5.0
STALE_S = 60.0
"""The loops of fleets write every few seconds that they live."""
HEALTH: dict[ServiceName, tuple[str, float]] = {
    ServiceName.NODE_EXPORTER: ("/metrics", 5),
    ServiceName.ALERTMANAGER: ("/-/ready", 5),
    ServiceName.PROMETHEUS: ("/-/ready", 5),
    ServiceName.MLFLOW: ("/health", 5),
    # whether or not a fleet lives
    ServiceName.GATEWAY: ("/healthz", 5),
    ServiceName.EXPORTER: ("/metrics", 10),
}
"""Which page says that a service can be asked, and how many seconds it may take."""

Report = Callable[[str, str], None]
"""Told a step (a service, or `migrations`) and what became of it, as a person should read it."""


class Readiness:
    """Asks the services of one stack how they are."""

    def __init__(self, supervisor: Supervisor, *, settings: Settings, ports: Ports) -> None:
        self.supervisor = supervisor
        self.settings = settings
        self.ports = ports

    def why_not_healthy(self, name: ServiceName) -> str | None:
        """Return the reason; none when the service is healthy and the listener is its own."""
        if reason := self._ask(name):
            return reason
        if key := PORT_OF.get(name):
            port: int = getattr(self.ports, key)
            if not self.supervisor.listens(name, port):
                return f"somebody else answers on port {port}"
        return None

    def wait(self, names: Sequence[ServiceName], report: Report, *, at_most_s: float) -> None:
        """Return when all are healthy.

        Raises:
            ProcessDiedError: one ended; the end of its log is in the message.
            UnavailableError: one is not healthy after `at_most_s` seconds.
        """
        deadline = time.monotonic() + at_most_s
        waiting = list(names)
        while waiting:
            reasons: dict[ServiceName, str] = {}
            for name in waiting:
                if not (record := self.supervisor.running(name)):
                    raise ProcessDiedError(self.supervisor.exit_reason(name))
                if reason := self.why_not_healthy(name):
                    reasons[name] = reason
                else:
                    report(
                        name, f"healthy, {time.time() - record.started_at:.0f} s after its start"
                    )
            waiting = list(reasons)
            if waiting and time.monotonic() > deadline:
                raise UnavailableError(self._too_late(waiting[0], reasons[waiting[0]], at_most_s))
            if waiting:
                time.sleep(POLL_S)

    def _ask(self, name: ServiceName) -> str | None:
        if name in STORES:
            region = embedded_stores(self.settings)[name]
            return object_store.why_not_ready(s3_of(self.settings, region))
        if name in HEALTH:
            return self._http(name, *HEALTH[name])
        asked = {
            ServiceName.POSTGRES: self._postgres,
            ServiceName.REDIS: self._redis,
            ServiceName.API_SERVER: lambda: airflow.why_api_not_ready(self.ports),
            ServiceName.EDGE: self._edge,
            ServiceName.SCALING: self._scaling,
        }
        if name in asked:
            return asked[name]()
        record = self.supervisor.running(name)
        if not record:
            return "it is not running"
        return airflow.why_not_alive(name, self.ports, started_at=record.started_at)

    def _http(self, name: ServiceName, path: str, timeout_s: float) -> str | None:
        return _answers(f"http://{LOOPBACK}:{getattr(self.ports, PORT_OF[name])}{path}", timeout_s)

    def _edge(self) -> str | None:
        url = greenlight_servers.edge_url(self.ports)
        authority = greenlight_servers.edge_certificates(self.settings).ca
        trusted = ssl.create_default_context(cafile=str(authority))
        return _answers(f"{url}/healthz", EDGE_S, verify=trusted)

    def _postgres(self) -> str | None:
        home = postgres.home_in(self.settings)
        return postgres_databases.why_not_ready(home, port=self.ports.postgres)

    def _redis(self) -> str | None:
        password = load_secret(self.settings.secrets, "redis")
        server = redis_server.server_in(self.settings, port=self.ports.redis, password=password)
        return redis_server.why_not_ready(server)

    def _scaling(self) -> str | None:
        record = self.supervisor.running(ServiceName.SCALING)
        file = self.settings.metrics / greenlight_servers.SCALING_METRICS
        written = file.stat().st_mtime if file.exists() else 0.0
        if record is None or written < record.started_at:
            return "it has not looked since its start"
        age = time.time() - written
        return None if age < STALE_S else f"it looked last {age:.0f} s ago"

    def _too_late(self, name: ServiceName, reason: str, waited_s: float) -> str:
        return (
            f"{name} is not healthy after {waited_s:.0f} s ({reason}); `greenlight stack down` "
            f"stops what runs; the end of {self.supervisor.log(name)}:\n"
            f"{self.supervisor.tail(name)}"
        )


def _answers(url: str, timeout_s: float, *, verify: ssl.SSLContext | bool = True) -> str | None:
    try:
        answer = httpx.get(url, timeout=timeout_s, trust_env=False, verify=verify)
    except httpx.HTTPError as error:
        return f"no answer yet ({type(error).__name__})"
    return None if answer.status_code == httpx.codes.OK else f"{url} says {answer.status_code}"
