"""Restores into a named target: planned, printed, then done. The source is never the target.

Over a live home, asked for twice, nothing is lost either: what was restored is made beside it, and
what was there is moved aside.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from greenlight.backup.contents import ARTIFACTS
from greenlight.backup.inventory import read_inventory
from greenlight.backup.restore_plan import Chosen, RestorePlan, Target, plan_restore
from greenlight.core.errors import ConfigError, GateError, RefusedError, UnavailableError
from greenlight.entrypoints.replaced_home import beside, replace_home, require_replaceable
from greenlight.entrypoints.restored_home import RestoredHome

if TYPE_CHECKING:
    from greenlight.entrypoints.backup_tools import BackupTools

log = logging.getLogger(__name__)

Say = Callable[[str], None]


class Restores:
    """Restores of one home's sets."""

    def __init__(self, tools: BackupTools) -> None:
        self._tools = tools

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions' names."""
        return tuple(self._tools.stores)

    def plan(
        self,
        region: str,
        *,
        to: Path,
        at: datetime | None = None,
        to_end: bool = False,
        databases_only: bool = False,
        over_live: bool = False,
        typed_name: str | None = None,
    ) -> RestorePlan:
        """Decide what a restore takes, and whether it is refused; nothing is touched.

        `at`: none means the newest restore point; with `to_end`, as far as the log goes.

        Raises:
            UnavailableError: the region does not answer.
        """
        tools = self._tools
        inventory = read_inventory(tools.store(region), tools.database_backups, tools.files)
        target = _target(to, tools.home, over_live=over_live, typed_name=typed_name)
        return plan_restore(
            inventory,
            at=at,
            target=replace(target, databases_only=databases_only),
            now=tools.clock.now(),
            archived_until=self._archived_until(),
            to_end=to_end,
        )

    def write(self, chosen: Chosen, *, to: Path, say: Say = log.info) -> None:
        """Write databases and files into the empty folder `to`; nothing is started.

        Raises:
            InputError: what the region keeps is damaged.
        """
        tools, began = self._tools, self._tools.clock.monotonic()
        to.mkdir(parents=True, exist_ok=True)
        tools.database_backups.restore(
            chosen.region, chosen.databases.stored.label, to=to / "postgres", at=chosen.at
        )
        say(f"databases are written ({tools.clock.monotonic() - began:.1f} s)")
        began = tools.clock.monotonic()
        if (earlier := chosen.deleted_since) is not None:
            snapshot = earlier.stored.snapshot_id
            tools.files.restore(chosen.region, snapshot, to=to, folder=ARTIFACTS)
        tools.files.restore(chosen.region, chosen.files.stored.snapshot_id, to=to)
        say(f"files are written ({tools.clock.monotonic() - began:.1f} s)")

    def run(self, plan: RestorePlan, *, say: Say = log.info) -> Path:
        """Restore, let the databases recover once, and prove that registry and files agree.

        Raises:
            RefusedError: the plan is refused; or the live home can't be replaced.
            InputError: what the region keeps is damaged.
            GateError: the registry and the files do not agree.
        """
        chosen, making = plan.require_possible(), plan.to
        if chosen.set_aside is not None:
            require_replaceable(chosen.to)
            making = beside(chosen.to)
        self.write(chosen, to=making, say=say)
        with RestoredHome(self._tools.settings, making) as home:
            say(home.start_databases())
            if wrong := home.disagreements():
                raise GateError(
                    f"{making} is restored, but registry and files do not agree: "
                    f"{'; '.join(wrong[:5])}"
                )
            say("every registered version has its files, and every file its run")
            home.adopt()
        if chosen.set_aside is not None:
            replace_home(self._tools.settings, set_aside=chosen.set_aside)
            say(f"{chosen.to} is replaced; what was there is in {chosen.set_aside}")
        return chosen.to

    def _archived_until(self) -> datetime | None:
        """Return how far the log has arrived; none: nobody can say.

        The database is gone, or is an empty one on a new machine, which archives nothing.
        """
        try:
            return self._tools.databases.archiving().archived_at
        except (UnavailableError, RefusedError, ConfigError) as error:
            log.warning("how far the log reaches is unknown: %s", error)
            return None


def _target(to: Path, home: Path, *, over_live: bool, typed_name: str | None) -> Target:
    path = to.expanduser().resolve()
    existing = path
    while not existing.exists():
        existing = existing.parent
    return Target(
        path=path,
        holds=tuple(sorted(entry.name for entry in path.iterdir())) if path.is_dir() else (),
        free_bytes=shutil.disk_usage(existing).free,
        home=home.resolve(),
        over_live=over_live,
        typed_name=typed_name,
    )
