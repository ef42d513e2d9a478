"""What containers of docker-compose.yaml run, beside the commands that other set-ups have too."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from typing import Protocol

from greenlight.core.errors import GreenlightError, RefusedError
from greenlight.core.settings import Settings, load_settings, read_config
from greenlight.core.stopping import until_told
from greenlight.deploy.fleet import FleetFile

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How long a router that died stays down."""
GRACE_S = 30.0
"""How long open requests may end when routers are stopped."""


class Startable(Protocol):
    """A router that is started unless it runs."""

    def ensure_running(self) -> bool:
        """Return whether it was started."""


def prepare(
    settings: Settings | None = None,
    *,
    make_buckets: bool,
    report: Callable[[str, str], None],
) -> None:
    """Bring everything to where services can start. Every step can be repeated.

    `make_buckets`: in every region of backup.yaml; buckets at AWS are made by whoever owns them.

    Raises:
        RefusedError: no database is configured.
        ConfigError: a file of the configuration, or a secret, is wrong.
        UnavailableError: the database or a store does not answer.
    """
    from greenlight.adapters import database
    from greenlight.adapters.stack import archive, object_store, postgres
    from greenlight.backup.backup_file import load_backup_file

    settings = settings or load_settings()
    if settings.database_url is None:
        raise RefusedError(
            "no database is configured: set GREENLIGHT_DATABASE_URL or "
            "GREENLIGHT_DATABASE_URL_FILE; `make up` prepares the embedded stack by itself"
        )
    backup = load_backup_file(settings.config_file("backup"))
    database.migrate(settings.database_url)
    report("database", "Greenlight's tables are up to date")
    for region in backup.regions if make_buckets else ():
        if region.s3 is not None:
            object_store.make_bucket(region.s3, lock_days=backup.retention.lock_days)
            report(region.name, f"bucket {region.s3.bucket} is there")
    cluster = postgres.find_cluster(postgres.home_in(settings), is_root=os.geteuid() == 0)
    archive.archive_command(settings, cluster, is_running=True, report=report)
    report("archive", f"the log goes to {', '.join(region.name for region in backup.regions)}")


def route(settings: Settings | None = None) -> None:
    """Keep the router of every fleet running until SIGTERM or SIGINT, then let requests end.

    A router is no child of the worker that changes it: so no restart of a worker cuts a stream.
    Processes with the same process numbers and the same home change it through its socket.

    Raises:
        ConfigError: fleet.yaml is wrong.
    """
    from greenlight.adapters.haproxy.router import HaproxyRouter

    settings = settings or load_settings()
    fleets = read_config(settings.config_file("fleet"), FleetFile).fleets
    routers = {
        fleet.name: HaproxyRouter(fleet, folder=settings.home / "router" / fleet.name)
        for fleet in fleets
    }
    with until_told() as told:
        keep_running(routers, until=told)
        for router in routers.values():
            router.stop(grace_s=GRACE_S)


def keep_running(routers: Mapping[str, Startable], *, until: threading.Event) -> None:
    """Start what doesn't run, again and again. What goes wrong is said when it changes."""
    said: dict[str, str | None] = {}
    while True:
        for name, router in routers.items():
            problem = _why_not_running(name, router)
            if problem and problem != said.get(name):
                log.error("the router of fleet %s does not run: %s", name, problem)
            said[name] = problem
        if until.wait(LOOK_S):
            return


def _why_not_running(name: str, router: Startable) -> str | None:
    try:
        if router.ensure_running():
            log.info("the router of fleet %s runs", name)
    except GreenlightError as error:
        return str(error)
    return None
