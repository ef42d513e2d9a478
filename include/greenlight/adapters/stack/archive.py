"""The log of the embedded cluster, pushed to every region of backup.yaml as it is written."""

from __future__ import annotations

import os
import shutil

from greenlight.adapters.pgbackrest import config, open_pgbackrest
from greenlight.adapters.stack import postgres, stores
from greenlight.adapters.stack.readiness import Report
from greenlight.adapters.stack.services import ServiceName
from greenlight.backup.backup_file import load_backup_file
from greenlight.core.errors import GreenlightError
from greenlight.core.settings import Settings


def archive_command(
    settings: Settings, cluster: postgres.Cluster, *, is_running: bool, report: Report
) -> str | None:
    """Return the server's command for a segment of its log; none: it does not archive.

    A cluster that was restored doesn't: it would write into the archive it came from. Neither does
    one whose log no region ever took: it would only pile up. A region that can't take it now keeps
    the server from nothing: the log waits, and the report says so.

    Raises:
        ConfigError: backup.yaml is wrong, or pgBackRest is not installed.
    """
    if cluster.is_restored:
        report(ServiceName.POSTGRES, "restored from a backup, so its log is not archived")
        return None
    regions = load_backup_file(settings.config_file("backup")).regions
    buckets = {region.name: stores.s3_of(settings, region) for region in regions}
    backups = open_pgbackrest(settings, buckets)
    made = 0
    for region in () if is_running and backups.is_archiving else buckets:
        try:
            backups.make_repository(region, server_runs=is_running)
            made += 1
        except GreenlightError as error:
            report(ServiceName.POSTGRES, f"its log can't go to region {region}: {error}")
    return backups.archive_command() if made or backups.is_archiving else None


def adopt(settings: Settings) -> None:
    """Let a restored cluster be its home's own; it has recovered, and is stopped.

    From its next start on it archives, to the regions that the home's own secrets open. The keys
    and the passphrase of the region it came from are deleted: only recovery needed them.
    """
    cluster = postgres.find_cluster(postgres.home_in(settings), is_root=os.geteuid() == 0)
    shutil.rmtree(cluster.home / config.FOLDER, ignore_errors=True)
    postgres.adopt(cluster)
