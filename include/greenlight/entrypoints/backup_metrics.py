"""Publish what the alerts watch: regions, sets, the log's archive, the last run and drills."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from greenlight.backup.history import RESTORE
from greenlight.backup.inventory import Inventory, read_inventory
from greenlight.backup.ladder import Outcome
from greenlight.backup.retention import plan_prune
from greenlight.core.errors import ConfigError, RefusedError, UnavailableError
from greenlight.core.types import JsonDict

if TYPE_CHECKING:
    from greenlight.entrypoints.backup_tools import BackupTools

log = logging.getLogger(__name__)

LOOK_BACK = 400
"""Drills that are looked through for the last one that passed."""


def publish(tools: BackupTools) -> JsonDict:
    """Write every metric that can be measured; return the main ones."""
    from greenlight.adapters.backup_metrics import write_region, write_run, write_watch

    folder, answered = tools.settings.metrics, {}
    for region in tools.stores:
        inventory = _inventory(tools, region)
        answered[region] = inventory is not None
        if inventory is not None:
            write_region(folder, inventory, floor_reached=_floor_reached(tools, inventory))
    lag = _archive_lag(tools)
    write_watch(
        folder,
        targets=tools.config.targets,
        answered=answered,
        archive_lag_s=lag,
        at=tools.clock.now(),
    )
    for run in tools.history.runs(limit=1, outcome=Outcome.PASS):
        write_run(folder, run)
    for region in tools.stores:
        _publish_drill(tools, region)
    return {"regions": answered, "archive_lag_s": lag}


def _inventory(tools: BackupTools, region: str) -> Inventory | None:
    try:
        return read_inventory(tools.store(region), tools.database_backups, tools.files)
    except (UnavailableError, ConfigError) as error:
        log.error("region %s can't be looked at: %s", region, error)
        return None


def _floor_reached(tools: BackupTools, inventory: Inventory) -> bool | None:
    try:
        plan = plan_prune(inventory, retention=tools.config.retention, now=tools.clock.now())
    except RefusedError as error:
        log.error("%s", error)
        return None
    return plan.floor_reached


def _archive_lag(tools: BackupTools) -> float | None:
    try:
        return tools.databases.archiving().lag_s
    except (UnavailableError, ConfigError) as error:
        log.error("the log's archive can't be looked at: %s", error)
        return None


def _publish_drill(tools: BackupTools, region: str) -> None:
    """Write the last restore drill of a region; none yet: no file, which the alert knows."""
    from greenlight.adapters.backup_metrics import write_drill

    drills = tools.history.drills(limit=LOOK_BACK, kind=RESTORE)
    of_region = [record.drill for record in drills if record.drill.region == region]
    passed = [drill.began_at for drill in of_region if drill.outcome is Outcome.PASS]
    if of_region:
        write_drill(tools.settings.metrics, of_region[0], last_passed_at=max(passed, default=None))
