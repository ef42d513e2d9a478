"""What the tasks of the backup DAGs call: plain JSON in and out."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from random import SystemRandom

from greenlight.backup.ladder import Drill, Outcome
from greenlight.backup.sets import BackupKind
from greenlight.core.errors import GateError
from greenlight.core.settings import Settings, load_settings
from greenlight.core.types import JsonDict
from greenlight.entrypoints import restore_drill
from greenlight.entrypoints.backup import Backups
from greenlight.entrypoints.backup_tools import open_tools

log = logging.getLogger(__name__)


def back_up(kind: str | None, *, by: str) -> JsonDict:
    """Make a set; return its id, restore point and where it is."""
    ended = Backups(open_tools()).run(BackupKind(kind) if kind else None, by=by)
    return ended.backup.model_dump(mode="json", include={"id", "point", "copies"})


def regions() -> list[str]:
    """Return the names of the regions."""
    return list(open_tools().stores)


def prune(region: str, *, by: str) -> JsonDict:
    """Print the plan, then do it."""
    backups = Backups(open_tools())
    plan = backups.prune_plan(region)
    for line in plan.lines():
        log.info("%s", line)
    if not plan.is_empty:
        backups.prune(plan, by=by)
    return {"region": region, "deleted": [entry.id for entry in plan.deleted]}


def publish_metrics() -> JsonDict:
    """Write what the alerts watch; what could not be measured is left out."""
    from greenlight.entrypoints import backup_metrics

    return backup_metrics.publish(open_tools())


def beat() -> JsonDict:
    """Commit one sentinel, and publish the metrics."""
    tools = open_tools()
    sentinel = tools.databases.mark_time()
    return {"sentinel": sentinel.number, "at": sentinel.at.isoformat()} | publish_metrics()


def choose(region: str | None) -> JsonDict:
    """Choose region and second of the next drill."""
    tools = open_tools()
    wanted = region or restore_drill.next_region(tools)
    return restore_drill.choose(tools, region=wanted, random=SystemRandom()).to_json()


def make_scratch(run_id: str) -> str:
    """Make an empty folder for one drill; what a killed drill left there is removed first."""
    folder = scratch_of(load_settings(), run_id)
    remove_scratch(str(folder))
    folder.mkdir(parents=True)
    return str(folder)


def climb(choice: JsonDict, scratch: str) -> JsonDict:
    """Try every rung; return what came of each."""
    tools = open_tools()
    drill = restore_drill.climb(tools, restore_drill.Choice.from_json(choice), Path(scratch))
    return drill.model_dump(mode="json")


def remove_scratch(scratch: str) -> None:
    """Stop what runs in a scratch home, and delete it. Nothing there is fine."""
    from greenlight.entrypoints.restored_home import stop

    folder = Path(scratch)
    if folder.exists():
        stop(load_settings(), folder)
        shutil.rmtree(folder)


def report(drill: JsonDict) -> JsonDict:
    """Keep a drill in the database and in MLflow.

    Raises:
        GateError: it did not pass; the message names the rung.
    """
    from greenlight.entrypoints import drill_record

    found = Drill.model_validate(drill)
    url = drill_record.keep(open_tools(), found)
    publish_metrics()
    if found.outcome is not Outcome.PASS:
        raise GateError(f"{drill_record.says(found)}; report: {url}")
    log.info("%s; report: %s", drill_record.says(found), url)
    return {"outcome": str(found.outcome), "report": url}


def plant_faults() -> JsonDict:
    """Run the fault matrix, and keep it in MLflow."""
    from greenlight.entrypoints import backup_faults

    return backup_faults.drill(load_settings())


def scratch_of(settings: Settings, run_id: str) -> Path:
    """Return the folder of one drill; a run's id may hold what a path may not."""
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in run_id)
    return settings.work / f"{restore_drill.SCRATCH}{name}"
