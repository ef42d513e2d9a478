"""A home's databases brought back by themselves: its files are whole, and newer than any set.

As far as the log goes, unless an earlier second is asked for. So what is lost is the log that had
not arrived in the region, and no file.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from greenlight.backup.restore_plan import DATABASES, RestorePlan
from greenlight.entrypoints.replaced_home import beside, require_replaceable
from greenlight.entrypoints.restore import Restores
from greenlight.entrypoints.restored_home import RestoredHome

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from greenlight.backup.ports import Databases
    from greenlight.entrypoints.backup_tools import BackupTools

log = logging.getLogger(__name__)

Say = Callable[[str], None]


def plan_databases(
    tools: BackupTools,
    region: str,
    *,
    at: datetime | None,
    over_live: bool,
    typed_name: str | None,
) -> RestorePlan:
    """Decide what is taken, and whether it is refused; nothing is touched.

    `at`: none means as far as the log goes.

    Raises:
        UnavailableError: the region does not answer.
    """
    return Restores(tools).plan(
        region,
        to=tools.home,
        at=at,
        to_end=True,
        databases_only=True,
        over_live=over_live,
        typed_name=typed_name,
    )


def restore_databases(tools: BackupTools, plan: RestorePlan, *, say: Say = log.info) -> None:
    """Restore beside the home, let the databases recover once, then put them in their place.

    `plan` is one for databases only. For the last step everything is stopped. From their next start
    on they archive again.

    Raises:
        RefusedError: the plan is refused.
        InputError: the copy, or the log it needs, is damaged or missing.
        ProcessDiedError: the databases did not recover; the end of their log is in the message.
    """
    chosen = plan.require_possible()
    require_replaceable(chosen.to)
    making, began = beside(chosen.to), tools.clock.monotonic()
    tools.database_backups.restore(
        chosen.region, chosen.databases.stored.label, to=making / DATABASES, at=chosen.at
    )
    say(f"databases are written ({tools.clock.monotonic() - began:.1f} s)")
    with RestoredHome(tools.settings, making) as restored:
        restored.start_databases()
        for line in _what_there_is(restored.databases, tools.home):
            say(line)
        restored.adopt()
    _replace(tools, making, set_aside=chosen.set_aside)
    say(f"{chosen.to / DATABASES} is replaced")
    if chosen.set_aside is not None and chosen.set_aside.exists():
        say(f"what was there is in {chosen.set_aside}")


def _what_there_is(databases: Databases, home: Path) -> Iterator[str]:
    """Yield how new the databases are, and where the files of the home differ."""
    from greenlight.adapters.saved_files import VersionFiles, orphans

    sentinels = databases.sentinels()
    if sentinels:
        yield f"recovered; the newest row that proves time is of {sentinels[-1].at:%H:%M:%S} UTC"
    files = VersionFiles(home)
    for version in databases.catalogue():
        if problem := files.of(version)[1]:
            yield f"{problem}: `greenlight restore model {version.model} {version.version}`"
    if strays := orphans(home, databases.runs()):
        yield f"{len(strays)} runs that the databases don't know keep their files"


def _replace(tools: BackupTools, making: Path, *, set_aside: Path | None) -> None:
    from greenlight.entrypoints import stack

    place = tools.home / DATABASES
    stack.down(tools.settings, report=lambda name, what: log.info("%s: %s", name, what))
    if place.exists() and set_aside is not None:
        place.rename(set_aside)
    (making / DATABASES).rename(place)
    shutil.rmtree(making)
