"""What the tasks of the backup DAGs call: plain JSON in and out."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
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

DUE = "due"
"""The kind of copy that is due, which the form cannot leave empty."""


def back_up(kind: str, *, by: str) -> JsonDict:
    """Make a set; return its id, restore point and where it is."""
    ended = Backups(open_tools()).run(None if kind == DUE else BackupKind(kind), by=by)
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
    choice = restore_drill.choose(tools, region=wanted, random=SystemRandom())
    log.info("region %s is to be restored as it was at %s", choice.region, choice.at)
    return {"region": choice.region, "at": choice.at.isoformat()}


def make_scratch(run_id: str, *, of: str = "restore-drill") -> str:
    """Make a folder for one run of a drill."""
    folder = scratch_of(load_settings(), run_id, of=of)
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


def climb(choice: JsonDict, scratch: str) -> JsonDict:
    """Try every rung; return what came of each."""
    tools, folder = open_tools(), Path(scratch)
    chosen = restore_drill.Choice(
        region=choice["region"],
        at=datetime.fromisoformat(choice["at"]),
        expected=tools.databases.sentinels(),
        archived_at=restore_drill.archived_at(tools),
    )
    with _emptied(folder):
        return restore_drill.climb(tools, chosen, folder).model_dump(mode="json")


def remove_scratch(scratch: str) -> None:
    """Stop what runs in a drill's folder, and delete it. Nothing there is fine."""
    folder = Path(scratch)
    if folder.exists():
        with _emptied(folder):
            folder.rmdir()


def report(drill: JsonDict | None) -> JsonDict:
    """Keep a drill in the database and in MLflow. None: it never got to its end.

    Raises:
        GateError: it did not pass; the message names the rung.
    """
    from greenlight.entrypoints import drill_record

    if drill is None:
        raise GateError(
            "the drill did not get to its end, so it proves nothing; the log of the task that "
            "failed before this one says why"
        )
    found = Drill.model_validate(drill)
    url = drill_record.keep(open_tools(), found)
    publish_metrics()
    if found.outcome is not Outcome.PASS:
        raise GateError(f"{drill_record.says(found)}; report: {url}")
    log.info("%s; report: %s", drill_record.says(found), url)
    return {"outcome": str(found.outcome), "report": url}


def plant_faults(scratch: str) -> JsonDict:
    """Run the fault matrix, and keep it in MLflow."""
    from greenlight.entrypoints import backup_faults

    with _emptied(Path(scratch)):
        return backup_faults.drill(load_settings(), folder=Path(scratch))


def scratch_of(settings: Settings, run_id: str, *, of: str = "restore-drill") -> Path:
    """Return the folder of one run of a drill; its id may hold what a path may not."""
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in run_id)
    return settings.work / f".{of}-{name}"


@contextmanager
def _emptied(scratch: Path) -> Iterator[None]:
    """Hold a drill's folder, after whoever holds it now, with nothing in it.

    A killed attempt may have left half a home there with its databases running. And Airflow begins
    to tear down a cancelled drill seconds before it ends the drill's process; the kernel releases
    the folder when that process ends, however it ends.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    handle = os.open(scratch, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        _clear(scratch)
        yield
    finally:
        os.close(handle)


def _clear(scratch: Path) -> None:
    """Stop what runs in the homes of a folder, and empty it."""
    from greenlight.entrypoints.restored_home import stop

    for run in (*scratch.glob("run"), *scratch.glob("*/run")):
        stop(load_settings(), run.parent)
    for path in scratch.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
