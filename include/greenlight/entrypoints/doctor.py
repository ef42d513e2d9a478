"""`greenlight doctor`: is this set-up fit, line by line, with the evidence.

A check reads and changes nothing. One that can't be made is `unknown`, never ok.
"""

from __future__ import annotations

import logging
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from greenlight.core.clock import Clock, SystemClock
from greenlight.core.errors import ConfigError, InputError, RefusedError
from greenlight.core.findings import Answer, Check, Finding, answer_if, look
from greenlight.core.settings import Settings, load_settings, read_config
from greenlight.core.types import JsonDict
from greenlight.deploy.fleet import FleetFile
from greenlight.entrypoints import doctor_services
from greenlight.entrypoints.doctor_hosts import DISK_GB, GB, look_at_hosts

log = logging.getLogger(__name__)

DISK_SHARE, DISK_FLOOR_GB = 0.1, 2
"""Below the first, or DISK_GB, it is time to look; below the last nothing is begun."""
PREFLIGHT = ("machine", "configuration")
"""What a DAG that changes something looks at first, on the worker that it begins on."""
CERTIFICATE_DAYS = 14
PROGRAMS = (
    "haproxy", "nginx", "redis-server", "pgbackrest", "restic", "prometheus",
    "prometheus-alertmanager", "prometheus-node-exporter",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Doctor:
    """The checks of one home."""

    settings: Settings
    clock: Clock

    @property
    def checks(self) -> dict[str, Check]:
        """Every check by the name of its part, in the order in which they build on each other."""
        return {
            "machine": self.machine,
            "secrets": self.secrets,
            "configuration": self.configuration,
            "stack": self.stack,
            "registry": self.registry,
            "hosts": self.hosts,
            "fleets": self.fleets,
            "certificates": self.certificates,
            "backup": self.backup,
            "monitoring": self.monitoring,
        }

    @property
    def _is_embedded(self) -> bool:
        """Whether the services are the embedded stack's; else they are your own."""
        return self.settings.database_url is None

    def run(self, only: Sequence[str] = ()) -> Iterator[Finding]:
        """Yield the findings of these parts; of all, when none is named.

        Raises:
            InputError: there is no such part.
        """
        checks = self.checks
        if unknown := [name for name in only if name not in checks]:
            raise InputError(f"there is no part {unknown[0]!r}; there are {', '.join(checks)}")
        for name, check in checks.items():
            if not only or name in only:
                yield from look(name, check)

    def require(self, *parts: str) -> list[JsonDict]:
        """Return what was found of these parts, as plain JSON.

        Raises:
            RefusedError: something failed or could not be looked at; nothing should be begun.
        """
        found = list(self.run(parts))
        bad = [one for one in found if one.answer in (Answer.FAILED, Answer.UNKNOWN)]
        for one in found:
            level = logging.INFO if one.answer is Answer.OK else logging.WARNING
            log.log(level, "%s: %s: %s", one.part, one.answer, one.evidence)
        if bad:
            told = "; ".join(f"{one.evidence} ({one.fix})" for one in bad)
            raise RefusedError(f"nothing was begun: {told}")
        return [one.to_json() for one in found]

    def machine(self) -> Iterator[Finding]:
        """Look at Python, programs and disk."""
        from greenlight.adapters.processes import find_program

        version = platform.python_version()
        yield answer_if(
            "machine", sys.version_info[:2] == (3, 11), f"Python {version}",
            fix="run scripts/setup: it brings 3.11",
        )  # fmt: skip
        programs = PROGRAMS if self._is_embedded else doctor_services.PROGRAMS
        missing = [name for name in programs if find_program(name) is None]
        yield answer_if(
            "machine", not missing,
            f"missing: {', '.join(missing)}" if missing else f"{len(programs)} programs found",
            fix="scripts/setup system installs them", otherwise=Answer.WARNING,
        )  # fmt: skip
        home = self.settings.home
        disk = shutil.disk_usage(home if home.exists() else home.parent)
        yield answer_if(
            "machine", disk.free > DISK_GB * GB and disk.free > DISK_SHARE * disk.total,
            f"{disk.free / GB:.0f} GB free of {disk.total / GB:.0f}",
            fix=f"keep {DISK_GB} GB and {DISK_SHARE:.0%}: docs/runbooks/platform.md#diskfull",
            otherwise=Answer.WARNING if disk.free > DISK_FLOOR_GB * GB else Answer.FAILED,
        )  # fmt: skip

    def secrets(self) -> Iterator[Finding]:
        """Look whether secrets are there, strong and the owner's only."""
        from greenlight.adapters.stack.secrets import MAKERS, load_secrets

        if not self._is_embedded:
            yield from doctor_services.look_at_secrets(self.settings)
            return
        try:
            load_secrets(self.settings.secrets)
        except ConfigError as error:
            yield Finding(
                part="secrets", answer=Answer.FAILED, evidence=str(error),
                fix="`make up` makes what is missing; keep copies of the backup's elsewhere",
            )  # fmt: skip
        else:
            yield Finding(
                part="secrets", answer=Answer.OK,
                evidence=f"{len(MAKERS)} secrets, each readable by its owner only",
            )  # fmt: skip

    def configuration(self) -> Iterator[Finding]:
        """Read every configuration file as its users do."""
        from greenlight.backup.backup_file import load_backup_file
        from greenlight.entrypoints.gateway.server import read_file

        readers: dict[str, Callable[[], object]] = {
            "backup": lambda: load_backup_file(self.settings.config_file("backup")),
            "fleet": lambda: read_config(self.settings.config_file("fleet"), FleetFile),
            "gateway": lambda: read_file(self.settings),
        }
        for name, read in readers.items():
            path = self.settings.config_file(name)
            try:
                read()
            except ConfigError as error:
                yield Finding(
                    part="configuration", answer=Answer.FAILED, evidence=str(error),
                    fix=f"correct {path}",
                )  # fmt: skip
            else:
                whose = "yours" if path.is_relative_to(self.settings.home) else "the example"
                yield Finding(
                    part="configuration", answer=Answer.OK, evidence=f"{name}.yaml: {whose}"
                )

    def stack(self) -> Iterator[Finding]:
        """Ask every service how it is; look at the ports of those of the stack that rest."""
        from greenlight.adapters.stack.ports import is_free
        from greenlight.adapters.stack.services import State
        from greenlight.entrypoints import stack

        if not self._is_embedded:
            yield from doctor_services.look_at_services(self.settings)
            return
        services = stack.status(self.settings)
        stopped = [one for one in services if one.state is State.STOPPED]
        for service in services:
            if service not in stopped:
                yield answer_if(
                    "stack",
                    service.state is State.RUNNING,
                    f"{service.name}: {service.reason or service.state}",
                    fix=f"`greenlight stack up`; its log is {service.log}",
                )
        for service in stopped:
            if service.port and not is_free(service.port):
                yield Finding(
                    part="stack", answer=Answer.FAILED,
                    evidence=f"{service.name}: something else listens on {service.port}",
                    fix="`ss -ltnp` names it; `make up` takes another port, unless `ports` sets it",
                )  # fmt: skip
        if stopped:
            yield Finding(
                part="stack",
                answer=Answer.FAILED,
                evidence=f"not running: {', '.join(one.name for one in stopped)}",
                fix="`greenlight stack up`",
            )

    def registry(self) -> Iterator[Finding]:
        """Ask MLflow whether the champion may be live."""
        from greenlight.entrypoints.models import list_models
        from greenlight.registry.tags import Alias

        versions = list_models(self.settings)
        champions = [one for one in versions if Alias.CHAMPION in one.get("aliases", ())]
        yield answer_if(
            "registry", bool(versions), f"{len(versions)} registered versions",
            fix="`greenlight models import`", otherwise=Answer.WARNING,
        )  # fmt: skip
        for one in champions:
            yield Finding(
                part="registry", answer=Answer.OK,
                evidence=f"{one['model']} {one['version']} is the champion",
            )  # fmt: skip

    def hosts(self) -> Iterator[Finding]:
        """Ask this machine and every host of fleet.yaml for disk, clock, GPUs and ports."""
        yield from look_at_hosts(self.settings)

    def fleets(self) -> Iterator[Finding]:
        """Ask the hosts of every fleet that something was deployed to, and compare with it."""
        from greenlight.entrypoints import fleet_reconcile
        from greenlight.entrypoints.rollout_tools import open_tools

        names = fleet_reconcile.deployed_fleets(self.settings)
        yield answer_if(
            "fleets", bool(names), f"deployed to: {', '.join(names) or 'none'}",
            fix="`greenlight deploy run`", otherwise=Answer.WARNING,
        )  # fmt: skip
        for name in names:
            problems = fleet_reconcile.find_drift(open_tools(self.settings, name))
            yield answer_if(
                "fleets", not problems,
                f"{name}: {'; '.join(problems) or 'serves what was deployed'}",
                fix="docs/runbooks/deploy.md",
            )  # fmt: skip

    def certificates(self) -> Iterator[Finding]:
        """Look when certificates end."""
        from greenlight.adapters.nginx.process import certificate_expiry
        from greenlight.adapters.stack.certificates import certificates_in
        from greenlight.entrypoints.gateway.server import read_file

        edge = read_file(self.settings).edge
        paths: dict[str, Path] = {"edge": edge.certificate} if edge else {}
        stores = certificates_in(self.settings.home / "stores")
        if stores.server.exists():
            paths["embedded stores"] = stores.server
        if not paths:
            yield Finding(
                part="certificates", answer=Answer.WARNING, evidence="there is none",
                fix="set `edge` in gateway.yaml before anybody else asks",
            )  # fmt: skip
        for name, path in paths.items():
            if not path.exists() and not self._is_embedded:
                yield Finding(
                    part="certificates", answer=Answer.UNKNOWN,
                    evidence=f"{name}: {path} is not here",
                    fix="look where nginx runs; the alert GatewayCertificateExpires watches it",
                )  # fmt: skip
                continue
            left = certificate_expiry(path) - self.clock.now()
            yield answer_if(
                "certificates", left > timedelta(days=CERTIFICATE_DAYS),
                f"{name}: ends in {left.days} days", fix=f"renew {path}",
            )  # fmt: skip

    def backup(self) -> Iterator[Finding]:
        """Look at the age of the newest verified set and of the last drill that passed."""
        from greenlight.backup.history import RESTORE
        from greenlight.backup.inventory import read_inventory
        from greenlight.backup.ladder import Outcome
        from greenlight.entrypoints.backup_metrics import LOOK_BACK
        from greenlight.entrypoints.backup_tools import open_tools

        tools = open_tools(self.settings)
        now, targets = self.clock.now(), tools.config.targets
        for region in tools.stores:
            found = read_inventory(tools.store(region), tools.database_backups, tools.files)
            points = [one.point_at for one in found.verified]
            age = now - max(points) if points else None
            yield answer_if(
                "backup", age is not None and age < timedelta(hours=targets.verified_age_h),
                f"region {region}: newest verified set "
                f"{'is ' + _hours(age) + ' old' if age is not None else 'missing'}",
                fix="`greenlight backup run`; docs/runbooks/backup.md",
            )  # fmt: skip
        drills = tools.history.drills(limit=LOOK_BACK, kind=RESTORE)
        passed = [one.drill.began_at for one in drills if one.outcome is Outcome.PASS]
        age = now - max(passed) if passed else None
        yield answer_if(
            "backup", age is not None and age < timedelta(hours=targets.drill_age_h),
            f"last passed drill: {_hours(age) + ' ago' if age is not None else 'never'}",
            fix="run `restore_drill` in Airflow; docs/runbooks/backup.md#restoredrillmissing",
        )  # fmt: skip

    def monitoring(self) -> Iterator[Finding]:
        """Ask Prometheus whether it hears everybody, and Alertmanager whom it tells."""
        from greenlight.adapters.monitoring_api import receivers, silent_targets
        from greenlight.entrypoints import stack

        silent = silent_targets(stack.prometheus_url(self.settings))
        yield answer_if(
            "monitoring", not silent,
            f"silent: {', '.join(silent)}" if silent else "every server answers Prometheus",
            fix="docs/runbooks/platform.md#targetdown",
        )  # fmt: skip
        told = receivers(stack.alertmanager_url(self.settings))
        yield answer_if(
            "monitoring", bool(told), f"alerts go to: {', '.join(told) or 'nobody'}",
            fix=f"name a receiver in {self.settings.home / 'config/alertmanager.yaml'}",
            otherwise=Answer.WARNING,
        )  # fmt: skip


def open_doctor(settings: Settings | None = None, *, clock: Clock | None = None) -> Doctor:
    """Return the checks of the configured home."""
    return Doctor(settings=settings or load_settings(), clock=clock or SystemClock())


def preflight() -> list[JsonDict]:
    """Look at what every change needs, before anything is changed.

    Raises:
        RefusedError: it isn't fit.
    """
    return open_doctor().require(*PREFLIGHT)


def _hours(age: timedelta) -> str:
    return f"{age / timedelta(hours=1):.1f} h"
