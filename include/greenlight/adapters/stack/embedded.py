"""The whole stack: up, down, status. `up` starts only what is missing or was started otherwise."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from greenlight.adapters.mlflow_webhooks import ensure_webhook
from greenlight.adapters.stack import (
    airflow,
    archive,
    greenlight_servers,
    migrations,
    mlflow_server,
    object_store,
    postgres,
    postgres_databases,
    redis_server,
    stores,
)
from greenlight.adapters.stack.certificates import ensure_certificates
from greenlight.adapters.stack.monitoring import PROGRAMS, Monitoring
from greenlight.adapters.stack.overview import addresses_of, status_of
from greenlight.adapters.stack.ports import choose_ports, read_ports, write_ports
from greenlight.adapters.stack.readiness import Readiness, Report
from greenlight.adapters.stack.secrets import (
    BACKUP_SECRETS,
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
)
from greenlight.adapters.stack.supervisor import Supervisor
from greenlight.backup.backup_file import load_backup_file
from greenlight.core.clock import Clock, SystemClock
from greenlight.core.errors import GreenlightError, RefusedError, UnavailableError
from greenlight.core.settings import Ports, Settings
from greenlight.registry.webhook import ENDPOINT, EVENTS

SERVERS = (ServiceName.MLFLOW, *airflow.COMMANDS)
"""What stands on the databases, in the order of starting."""
READY_S = 300.0
"""How long a service may take to become healthy; a busy small machine needs two minutes."""
GRACE_S = 30.0
ADDRESSED = (ServiceName.POSTGRES, ServiceName.MLFLOW, ServiceName.API_SERVER)
"""What somebody who asks where the stack is wants to find there."""
FOREIGN_SETTINGS = ("AIRFLOW", "MLFLOW_", "PG", "PYTHONPATH", "PYTHONHOME")
"""Prefixes of variables that a shell may carry for another Airflow, MLflow or database."""


class EmbeddedStack:
    """The services of one home."""

    def __init__(
        self,
        settings: Settings,
        *,
        environment: Mapping[str, str],
        ready_s: float = READY_S,
        clock: Clock = SystemClock(),  # noqa: B008 - stateless
    ) -> None:
        """`environment` is what the services inherit."""
        self.settings = settings
        self.clock = clock
        self.supervisor = Supervisor(run=settings.run, logs=settings.logs)
        self.ready_s = ready_s
        self.inherited = {
            name: value
            for name, value in environment.items()
            if not name.startswith(FOREIGN_SETTINGS)
        }

    @property
    def services(self) -> list[ServiceName]:
        """The services of this home in the order of starting.

        Raises:
            ConfigError: backup.yaml or gateway.yaml is wrong.
        """
        embedded = stores.embedded_stores(self.settings)
        others = set(stores.STORES) - set(embedded)
        if not greenlight_servers.has_own_edge(self.settings):
            others.add(ServiceName.EDGE)
        return [name for name in ServiceName if name not in others]

    @property
    def was_up(self) -> bool:
        """Whether anything was ever started, or prepared to be, in this home."""
        return self._ports_file.exists()

    def prepare(self) -> None:
        """Make secrets and choose ports as the first `up` would, and start nothing.

        Raises:
            ConfigError: a port is taken, a secret is bad.
            UnavailableError: an `up` runs.
        """
        with self._alone():
            load_or_create_secrets(self.settings.secrets, must_exist=self._secrets_in_use())
            self._claim_ports()

    def up(
        self,
        report: Report,
        *,
        only: Collection[ServiceName] | None = None,
        migrate: bool = True,
    ) -> StackAddresses:
        """Start what is missing, and return when it is healthy. `only`: these services; all.

        Without `migrate` the databases are served as they are, as a restored one is looked at.

        Raises:
            ConfigError: something is not installed, a port is taken, a secret is bad.
            ProcessDiedError: a service ended while starting; the end of its log is in the message.
            UnavailableError: a service did not become healthy in time, or another `up` runs.
        """
        with self._alone():
            wanted = [name for name in self.services if only is None or name in only]
            secrets = load_or_create_secrets(
                self.settings.secrets, must_exist=self._secrets_in_use()
            )
            ports = self._claim_ports()
            ready = Readiness(self.supervisor, settings=self.settings, ports=ports)
            self._start_stores(wanted, ports, report)
            if ServiceName.POSTGRES in wanted:
                cluster = self._make_cluster(secrets, report)
            self._make_buckets(wanted, ready, report)
            if ServiceName.POSTGRES in wanted:
                self._start_postgres(cluster, ready, secrets, report)
            if ServiceName.REDIS in wanted:
                self._start_redis(ready, secrets, report)
            self._start_monitoring([name for name in wanted if name in PROGRAMS], ready, report)
            self._start_servers(wanted, ready, secrets, report, migrate=migrate)
            self._start_ours(wanted, ready, secrets, report)
        return addresses_of(self.settings, secrets, ports)

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
            stores.clean_up(self.settings)

    def status(self) -> list[ServiceStatus]:
        """Return every service in the order of starting.

        Raises:
            ConfigError: backup.yaml is wrong.
        """
        ports = read_ports(self._ports_file, Ports)
        return [status_of(name, self.supervisor, self.settings, ports) for name in self.services]

    def addresses(self) -> StackAddresses:
        """Return where the running stack is.

        Raises:
            RefusedError: it isn't up.
        """
        ports = read_ports(self._ports_file, Ports)
        missing = [name for name in ADDRESSED if not self.supervisor.running(name)]
        if ports is None or missing:
            which = "nothing" if len(missing) == len(ADDRESSED) else f"no {', '.join(missing)}"
            raise RefusedError(
                f"the embedded stack of {self.settings.home} is not up ({which} runs): run "
                f"`make up`, or set GREENLIGHT_MLFLOW_URL, GREENLIGHT_DATABASE_URL and "
                f"GREENLIGHT_AIRFLOW_URL to services of your own"
            )
        return addresses_of(self.settings, load_secrets(self.settings.secrets), ports)

    @property
    def _ports_file(self) -> Path:
        return self.settings.run / "ports.json"

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

    def _secrets_in_use(self) -> dict[str, Path]:
        """Return the secrets that copies in the embedded stores can't be read without."""
        folder = self.settings.home / "stores"
        return dict.fromkeys(BACKUP_SECRETS, folder) if folder.exists() else {}

    def _claim_ports(self) -> Ports:
        path = self._ports_file
        ours = {key for name, key in PORT_OF.items() if self.supervisor.running(name)}
        if PORT_OF[ServiceName.GATEWAY] in ours:
            ours.add("gateway_metrics")
        ports = choose_ports(self.settings.ports, kept=read_ports(path, Ports), ours=ours)
        write_ports(path, ports)
        return ports

    def _services(self, secrets: StackSecrets, ports: Ports) -> list[Service]:
        """Return what stands on the databases, in the order of starting: MLflow, then Airflow."""
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

    def _start_stores(self, wanted: Collection[ServiceName], ports: Ports, report: Report) -> None:
        running = [name for name in stores.STORES if self.supervisor.running(name)]
        now = self.clock.now()
        for store in stores.claim_stores(self.settings, wanted, ports, running=running, now=now):
            self._start(object_store.server(store), report)

    def _make_cluster(self, secrets: StackSecrets, report: Report) -> postgres.Cluster:
        """Find the cluster; a new one is made while the stores start."""
        cluster = postgres.find_cluster(postgres.home_in(self.settings), is_root=os.geteuid() == 0)
        if postgres.initialize(cluster, secrets):
            report(ServiceName.POSTGRES, "empty databases made")
        return cluster

    def _make_buckets(
        self, wanted: Collection[ServiceName], ready: Readiness, report: Report
    ) -> None:
        embedded = stores.embedded_stores(self.settings)
        names = [name for name in embedded if name in wanted]
        ready.wait(names, report, at_most_s=self.ready_s)
        lock_days = load_backup_file(self.settings.config_file("backup")).retention.lock_days
        for name in names:
            store = stores.s3_of(self.settings, embedded[name])
            object_store.make_bucket(store, lock_days=lock_days)

    def _start_postgres(
        self, cluster: postgres.Cluster, ready: Readiness, secrets: StackSecrets, report: Report
    ) -> None:
        postgres.write_access_rules(cluster)
        is_running = self.supervisor.running(ServiceName.POSTGRES) is not None
        command = archive.archive_command(
            self.settings, cluster, is_running=is_running, report=report
        )
        with postgres.opened(cluster) as (home, handles):
            service = postgres.server(
                cluster, home=home, port=ready.ports.postgres, archive_command=command
            )
            self._start(service, report, pass_fds=handles)
        ready.wait([ServiceName.POSTGRES], report, at_most_s=self.ready_s)
        postgres_databases.create_databases(
            cluster.home, port=ready.ports.postgres, secrets=secrets
        )

    def _start_redis(self, ready: Readiness, secrets: StackSecrets, report: Report) -> None:
        server = redis_server.server_in(
            self.settings, port=ready.ports.redis, password=secrets.redis
        )
        redis_server.prepare(server)
        self._start(redis_server.service(server), report)
        ready.wait([ServiceName.REDIS], report, at_most_s=self.ready_s)

    def _start_monitoring(
        self, wanted: Sequence[ServiceName], ready: Readiness, report: Report
    ) -> None:
        if not wanted:
            return
        monitoring = Monitoring(settings=self.settings, ports=ready.ports)
        monitoring.prepare()
        for service in monitoring.services():
            if service.name in wanted:
                self._start(service, report)
        ready.wait(wanted, report, at_most_s=self.ready_s)

    def _start_servers(
        self,
        wanted: Collection[ServiceName],
        ready: Readiness,
        secrets: StackSecrets,
        report: Report,
        *,
        migrate: bool,
    ) -> None:
        """Start MLflow and Airflow, on databases that were migrated before somebody needs them."""
        services = [s for s in self._services(secrets, ready.ports) if s.name in wanted]
        if ServiceName.MLFLOW in wanted:
            self._start(services.pop(0), report)
        if migrate and ServiceName.POSTGRES in wanted:
            self._migrate(services, ready.ports, secrets, report)
        for component in services:
            self._start(component, report)
        ready.wait([name for name in SERVERS if name in wanted], report, at_most_s=self.ready_s)
        if ServiceName.API_SERVER in wanted:
            token = airflow.log_in(ready.ports, password=secrets.airflow_admin)
            airflow.create_gpu_pool(ready.ports, token=token)
            if ServiceName.MLFLOW in wanted:
                self._make_webhook(ready.ports, secrets, report)

    def _make_webhook(self, ports: Ports, secrets: StackSecrets, report: Report) -> None:
        """Let MLflow tell Airflow of aliases and tags. Without it `fleet_reconcile` finds them."""
        try:
            ensure_webhook(
                mlflow_server.url(ports),
                url=f"{airflow.url(ports)}{ENDPOINT}",
                secret=secrets.mlflow_webhook,
                events=EVENTS,
            )
        except GreenlightError as error:
            report(ServiceName.MLFLOW, f"its webhook could not be made: {error}")

    def _start_ours(
        self,
        wanted: Collection[ServiceName],
        ready: Readiness,
        secrets: StackSecrets,
        report: Report,
    ) -> None:
        """Start Greenlight's own servers, which stand on migrated databases."""
        if ServiceName.EDGE in wanted:
            ensure_certificates(
                greenlight_servers.edge_certificates(self.settings),
                now=self.clock.now(),
                hosts=greenlight_servers.EDGE_NAMES,
            )
        services = greenlight_servers.servers(
            self.settings, ports=ready.ports, secrets=secrets, inherited=self.inherited
        )
        started = [service for service in services if service.name in wanted]
        for service in started:
            self._start(service, report)
        ready.wait([service.name for service in started], report, at_most_s=self.ready_s)

    def _migrate(
        self,
        components: Sequence[Service],
        ports: Ports,
        secrets: StackSecrets,
        report: Report,
    ) -> None:
        if components:
            migrations.migrate_airflow(
                self.settings,
                ports=ports,
                secrets=secrets,
                environment=components[0].environment,
                report=report,
            )
        migrations.migrate_greenlight(ports=ports, secrets=secrets)
        report("migrations", "databases are up to date")

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
