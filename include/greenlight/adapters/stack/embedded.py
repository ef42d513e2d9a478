"""The whole stack: up, down, status. `up` starts only what is missing or was started otherwise."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from greenlight.adapters.stack import airflow, migrations, mlflow_server, postgres
from greenlight.adapters.stack.ports import choose_ports, read_ports, write_ports
from greenlight.adapters.stack.readiness import Readiness, Report
from greenlight.adapters.stack.secrets import (
    ADMIN,
    StackSecrets,
    load_or_create_secrets,
    load_secrets,
    write_airflow_passwords,
)
from greenlight.adapters.stack.services import (
    PORT_OF,
    STOP_ORDER,
    Service,
    ServiceName,
    ServiceStatus,
    StackAddresses,
    State,
)
from greenlight.adapters.stack.supervisor import Supervisor
from greenlight.core.errors import ConfigError, RefusedError, UnavailableError
from greenlight.core.settings import Ports, Settings

READY_S = 300.0
"""How long a service may take to become healthy; a busy small machine needs two minutes."""
GRACE_S = 30.0
FOREIGN_SETTINGS = ("AIRFLOW", "MLFLOW_", "PG", "PYTHONPATH", "PYTHONHOME")
"""Prefixes of variables that a shell may carry for another Airflow, MLflow or database."""


class EmbeddedStack:
    """The services of one home."""

    def __init__(
        self, settings: Settings, *, environment: Mapping[str, str], ready_s: float = READY_S
    ) -> None:
        """`environment` is what the services inherit."""
        self.settings = settings
        self.supervisor = Supervisor(run=settings.run, logs=settings.logs)
        self.ready_s = ready_s
        self.inherited = {
            name: value
            for name, value in environment.items()
            if not name.startswith(FOREIGN_SETTINGS)
        }

    def up(self, report: Report) -> StackAddresses:
        """Start what is missing, and return when every service is healthy.

        Raises:
            ConfigError: something is not installed, a port is taken, a secret is bad.
            ProcessDiedError: a service ended while starting; the end of its log is in the message.
            UnavailableError: a service did not become healthy in time, or another `up` runs.
        """
        with self._alone():
            cluster = self._find_cluster()
            secrets = load_or_create_secrets(
                self.settings.secrets,
                must_exist=["postgres_superuser"] if cluster.is_initialized else [],
            )
            ports = self._claim_ports()
            ready = Readiness(self.supervisor, secrets=secrets, ports=ports)
            self._start_postgres(cluster, ready, report)
            server, *components = self._services(secrets, ports)
            self._start(server, report)
            migrations.migrate(
                self.settings,
                ports=ports,
                secrets=secrets,
                environment=components[0].environment,
                report=report,
            )
            for component in components:
                self._start(component, report)
            names = [service.name for service in (server, *components)]
            ready.wait(names, report, at_most_s=self.ready_s)
            token = airflow.log_in(ports, password=secrets.airflow_admin)
            airflow.create_gpu_pool(ports, token=token)
        return self._addresses(secrets, ports)

    def down(self, report: Report) -> None:
        """Stop everything in order; nothing to do is fine.

        Raises:
            UnavailableError: a process survived SIGKILL, or `up` runs right now.
        """
        if not self.settings.run.exists():
            return
        with self._alone():
            for stage in STOP_ORDER:
                self._stop(stage, report)

    def status(self) -> list[ServiceStatus]:
        """Return every service in the order of starting."""
        ports = read_ports(self.settings.run / "ports.json")
        return [self._status(name, ports) for name in ServiceName]

    def addresses(self) -> StackAddresses:
        """Return where the running stack is.

        Raises:
            RefusedError: it isn't up.
        """
        ports = read_ports(self.settings.run / "ports.json")
        missing = [name for name in PORT_OF if not self.supervisor.running(name)]
        if ports is None or missing:
            which = "nothing" if len(missing) == len(PORT_OF) else f"no {', '.join(missing)}"
            raise RefusedError(
                f"the embedded stack of {self.settings.home} is not up ({which} runs): run "
                f"`make up`, or set GREENLIGHT_MLFLOW_URL, GREENLIGHT_DATABASE_URL and "
                f"GREENLIGHT_AIRFLOW_URL to services of your own"
            )
        return self._addresses(load_secrets(self.settings.secrets), ports)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep two commands from changing one stack at the same time."""
        self.settings.run.mkdir(parents=True, exist_ok=True)
        with (self.settings.run / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UnavailableError(
                    f"another `stack up` or `stack down` works on {self.settings.home}; wait for it"
                ) from None
            yield

    def _find_cluster(self) -> postgres.Cluster:
        return postgres.find_cluster(self.settings.home / "postgres", is_root=os.geteuid() == 0)

    def _claim_ports(self) -> Ports:
        path = self.settings.run / "ports.json"
        ours = {key for name, key in PORT_OF.items() if self.supervisor.running(name)}
        ports = choose_ports(self.settings.ports, kept=read_ports(path), ours=ours)
        write_ports(path, ports)
        return ports

    def _services(self, secrets: StackSecrets, ports: Ports) -> list[Service]:
        """Return everything but PostgreSQL, in the order of starting: MLflow, then Airflow."""
        passwords_file = write_airflow_passwords(self.settings.secrets, secrets)
        environment = airflow.airflow_environment(
            self.settings, ports=ports, secrets=secrets, passwords_file=passwords_file
        )
        for folder in ("airflow", "mlflow/artifacts"):
            (self.settings.home / folder).mkdir(parents=True, exist_ok=True)
        return [
            mlflow_server.server(
                self.settings, ports=ports, secrets=secrets, inherited=self.inherited
            ),
            *(
                airflow.component(
                    name, self.settings, environment=environment, inherited=self.inherited
                )
                for name in airflow.COMMANDS
            ),
        ]

    def _start_postgres(self, cluster: postgres.Cluster, ready: Readiness, report: Report) -> None:
        if postgres.initialize(cluster, ready.secrets):
            report(ServiceName.POSTGRES, "empty databases made")
        with postgres.opened(cluster) as (home, handles):
            service = postgres.server(cluster, home=home, port=ready.ports.postgres)
            self._start(service, report, pass_fds=handles)
        ready.wait([ServiceName.POSTGRES], report, at_most_s=self.ready_s)
        postgres.create_databases(port=ready.ports.postgres, secrets=ready.secrets)

    def _start(self, service: Service, report: Report, *, pass_fds: Sequence[int] = ()) -> None:
        record = self.supervisor.running(service.name)
        if record and record.digest == service.digest:
            return
        if record:
            report(service.name, "restarting: its settings have changed")
        self._stop([service.name], lambda *_: None)  # also what a dead leader left behind
        self.supervisor.start(service, pass_fds=pass_fds)
        report(service.name, "starting")

    def _stop(self, names: Sequence[ServiceName], report: Report) -> None:
        running = [name for name in names if self.supervisor.running(name)]
        for name in running:
            report(name, "stopping")
        self.supervisor.stop(names, grace_s=GRACE_S)
        for name in running:
            report(name, "stopped")

    def _status(self, name: ServiceName, ports: Ports | None) -> ServiceStatus:
        record = self.supervisor.running(name)
        reason: str | None = "it was not started, or it ended"
        if record and ports:
            try:
                secrets = load_secrets(self.settings.secrets)
                ready = Readiness(self.supervisor, secrets=secrets, ports=ports)
                reason = ready.why_not_healthy(name)
            except ConfigError as error:
                reason = str(error)
        running = State.UNHEALTHY if reason else State.RUNNING
        key = PORT_OF.get(name)
        return ServiceStatus(
            name=name,
            state=running if record else State.STOPPED,
            pid=record.pid if record else None,
            port=getattr(ports, key) if ports and key else None,
            reason=reason,
            log=self.supervisor.log(name),
        )

    def _addresses(self, secrets: StackSecrets, ports: Ports) -> StackAddresses:
        return StackAddresses(
            airflow_url=airflow.url(ports),
            mlflow_url=mlflow_server.url(ports),
            database_url=postgres.database_url(
                "greenlight", port=ports.postgres, password=secrets.postgres
            ),
            airflow_user=ADMIN,
            airflow_password=secrets.airflow_admin,
            airflow_password_file=self.settings.secrets / "airflow_admin",
        )
