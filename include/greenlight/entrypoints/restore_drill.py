"""Restore a backup into a scratch home, rung by rung, up to the champion's own words.

Nothing in the scratch home archives, its services listen on loopback ports of their own, and it is
thrown away on every path.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from random import Random, SystemRandom
from typing import TYPE_CHECKING

from greenlight.backup.drill_target import choose_target, lost_and_ahead
from greenlight.backup.history import RESTORE
from greenlight.backup.inventory import read_inventory
from greenlight.backup.ladder import Drill, Outcome, Rung, RungResult
from greenlight.backup.ports import Sentinel
from greenlight.backup.restore_plan import RESOLUTION, Chosen
from greenlight.backup.sets import BackupSet, Recorded
from greenlight.core.errors import (
    ConfigError,
    GateError,
    GreenlightError,
    InputError,
    ProcessDiedError,
    ResourceError,
    RetryableError,
)
from greenlight.entrypoints.backup_run import find_damage
from greenlight.entrypoints.restore import Restores
from greenlight.entrypoints.restored_home import RestoredHome

if TYPE_CHECKING:
    from greenlight.core.settings import Settings
    from greenlight.entrypoints.backup_tools import BackupTools

log = logging.getLogger(__name__)

RECOVERY = (
    Rung.RESTORES,
    Rung.STARTS,
    Rung.MLFLOW_STARTS,
    Rung.CHAMPION_LOADS,
    Rung.CHAMPION_GENERATES,
)
"""The rungs that a real recovery climbs too: their time is the recovery time."""

SCRATCH = ".restore-drill-"

Compare = Callable[[Recorded, Path], str | None]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a drill restores. `expected`: the sentinels that the source has.

    `archived_at`: until when its log was archived when this was chosen; none: nobody could say.
    """

    region: str
    at: datetime
    expected: tuple[Sentinel, ...]
    archived_at: datetime | None = None


def choose(tools: BackupTools, *, region: str, random: Random) -> Choice:
    """Choose a random second that a region's sets can restore, proven on both sides.

    Raises:
        GateError: the region has no set, or none with an instant that can be proven yet.
        UnavailableError: the region does not answer.
    """
    expected = tools.databases.sentinels()
    inventory = read_inventory(tools.store(region), tools.database_backups, tools.files)
    sets = [stored for stored in inventory.sets if not stored.is_damaged]
    copies = [stored.copy for stored in sets if stored.copy]
    if not copies:
        raise GateError(f"region {region} has no set to restore: run `greenlight backup run`")
    first = min(copy.ended_at for copy in copies) + RESOLUTION
    at = choose_target(expected, after=first, until=sets[-1].point_at, random=random)
    if at is None:
        raise GateError(
            f"no instant that region {region} can restore lies between two sentinels yet; the next "
            "`greenlight backup run` makes one"
        )
    return Choice(region=region, at=at, expected=expected, archived_at=archived_at(tools))


def archived_at(tools: BackupTools) -> datetime | None:
    """Return until when the log is archived; none: the source is gone, so nobody can say."""
    try:
        return tools.databases.archiving().archived_at
    except (RetryableError, ConfigError):
        return None


def next_region(tools: BackupTools) -> str:
    """Return the region that was drilled longest ago, or never."""
    drills = tools.history.drills(limit=4 * len(tools.stores), kind=RESTORE)
    ages: dict[str, int] = {}
    for age, record in enumerate(drills):
        ages.setdefault(record.drill.region, age)
    return max(tools.stores, key=lambda region: ages.get(region, len(drills)))


def drill(
    region: str | None = None, *, settings: Settings | None = None, say: Say = log.info
) -> tuple[Drill, str]:
    """Do a whole drill of this home and keep it; return it with its report's address.

    Raises:
        GateError: the region has nothing to restore yet.
    """
    from greenlight.entrypoints import drill_record
    from greenlight.entrypoints.backup_tools import open_tools

    tools = open_tools(settings)
    choice = choose(tools, region=region or next_region(tools), random=SystemRandom())
    tools.settings.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=tools.settings.work, prefix=SCRATCH) as scratch:
        climbed = climb(tools, choice, Path(scratch), say=say)
    return climbed, drill_record.keep(tools, climbed)


def climb(tools: BackupTools, choice: Choice, scratch: Path, *, say: Say = log.info) -> Drill:
    """Climb the ladder into an empty folder."""
    from greenlight.entrypoints import recorded_tokens

    def compare(recorded: Recorded, folder: Path) -> str | None:
        return recorded_tokens.compare(tools.settings, recorded, folder)

    return Climb(tools=tools, compare=compare, choice=choice, scratch=scratch, say=say).climb()


def require_passed(drill: Drill) -> None:
    """Return when every rung passed.

    Raises:
        GateError: one did not; the message names it.
    """
    from greenlight.entrypoints.drill_record import says

    if drill.outcome is not Outcome.PASS:
        raise GateError(says(drill))


@dataclass(slots=True, kw_only=True)
class Climb:
    """One drill on its way up."""

    tools: BackupTools
    compare: Compare
    choice: Choice
    scratch: Path
    say: Say = log.info
    open_home: Callable[[Settings, Path], RestoredHome] = RestoredHome
    rungs: list[RungResult] = field(default_factory=list)
    lost_and_ahead: tuple[int, int] | None = None
    difference: str | None = None
    """What the champion said otherwise; empty: it said the same; none: it wasn't asked."""

    def climb(self) -> Drill:
        """Try every rung; what cannot be tried is inconclusive."""
        began, behind = self.tools.clock.now(), self.choice.archived_at
        backup = self._climb()
        lost, ahead = self.lost_and_ahead or (None, None)
        return Drill(
            id=f"{self.choice.region}-{began:%Y%m%dT%H%M%SZ}",
            began_at=began,
            region=self.choice.region,
            set_id=backup.id if backup else None,
            target_at=self.choice.at,
            rungs=tuple(self.rungs),
            rto_s=self._recovery_s(),
            rpo_s=max(0.0, (began - behind).total_seconds()) if behind else None,
            rows_lost=lost,
            rows_ahead=ahead,
        )

    def _climb(self) -> BackupSet | None:
        restores = Restores(self.tools)
        found: list[tuple[BackupSet, Chosen]] = []
        if not self._rung(Rung.SET_PRESENT, lambda: self._find(restores, found)):
            return None
        backup, chosen = found[0]
        self._rung(Rung.HASHES, lambda: self._hashes(backup))
        if not self._rung(Rung.RESTORES, lambda: self._restore(restores, chosen)):
            return backup
        with self.open_home(self.tools.settings, self.scratch) as home:
            if self._rung(Rung.STARTS, lambda: _start(home)):
                self._look(home, backup)
        return backup

    def _look(self, home: RestoredHome, backup: BackupSet) -> None:
        """Climb what stands on the running databases; one rung does not need the one before."""
        self._rung(Rung.SENTINELS, lambda: self._sentinels(home))
        self._rung(Rung.ENGINE_CHECKS, lambda: _none(home.databases.damage(), "damage"))
        self._rung(Rung.ROW_COUNTS, lambda: _count_rows(home, backup))
        self._rung(Rung.REGISTRY_FILES, lambda: _none(home.disagreements(), "disagreement"))
        self._rung(Rung.MLFLOW_STARTS, home.start_mlflow)
        self._rung(Rung.CHAMPION_LOADS, lambda: self._load(home, backup))
        self._rung(Rung.CHAMPION_GENERATES, self._generates)

    def _rung(self, rung: Rung, attempt: Callable[[], str]) -> bool:
        """Try one, and return whether it passed."""
        began = self.tools.clock.monotonic()
        try:
            outcome, says = Outcome.PASS, attempt()
        except (RetryableError, ConfigError, ResourceError) as error:
            outcome, says = Outcome.INCONCLUSIVE, str(error)
        except GreenlightError as error:
            outcome, says = Outcome.FAIL, str(error)
        seconds = self.tools.clock.monotonic() - began
        self.rungs.append(RungResult(rung=rung, outcome=outcome, says=says, seconds=seconds))
        self.say(f"{rung}: {outcome}: {says} ({seconds:.1f} s)")
        return outcome is Outcome.PASS

    def _find(self, restores: Restores, found: list[tuple[BackupSet, Chosen]]) -> str:
        plan = restores.plan(self.choice.region, at=self.choice.at, to=self.scratch)
        if plan.no_room:
            raise ResourceError(plan.no_room)
        chosen = plan.require_possible()
        backup = self.tools.store(self.choice.region).get(chosen.files.id)
        found.append((backup, chosen))
        return (
            f"set {backup.id}, {_counted(len(backup.versions), 'version')}; its signature is ours"
        )

    def _hashes(self, backup: BackupSet) -> str:
        _none(find_damage(self.tools, backup, self.choice.region), "damage")
        return "databases, log and files were read whole"

    def _restore(self, restores: Restores, chosen: Chosen) -> str:
        restores.write(chosen, to=self.scratch, say=self.say)
        return f"written, to recover up to {self.choice.at:%Y-%m-%d %H:%M:%S.%f} UTC"

    def _sentinels(self, home: RestoredHome) -> str:
        at, expected = self.choice.at, self.choice.expected
        lost, ahead = lost_and_ahead(expected, home.databases.sentinels(), at=at)
        self.lost_and_ahead = lost, ahead
        if lost or ahead:
            raise GateError(
                f"{lost} rows committed up to the target are missing, {ahead} later ones are there"
            )
        before = sum(sentinel.at <= at for sentinel in expected)
        after = len(expected) - before
        return (
            f"{_counted(before, 'row')} from before there, {_counted(after, 'row')} from after not"
        )

    def _load(self, home: RestoredHome, backup: BackupSet) -> str:
        if (recorded := backup.recorded) is None:
            raise ConfigError(
                f"set {backup.id} recorded no tokens: there was no champion, or it "
                "could not be asked; the backup's log says which"
            )
        self.difference = self.compare(recorded, home.fetch(recorded)) or ""
        return f"{recorded.model} version {recorded.version} ({recorded.digest[:12]})"

    def _generates(self) -> str:
        if self.difference is None:
            raise ConfigError("it could not be asked")
        if self.difference:
            raise GateError(self.difference)
        return "the same tokens as recorded"

    def _recovery_s(self) -> float | None:
        seconds = {r.rung: r.seconds for r in self.rungs if r.outcome is Outcome.PASS}
        return sum(seconds[r] for r in RECOVERY) if seconds.keys() >= set(RECOVERY) else None


def _start(home: RestoredHome) -> str:
    """Start the databases. A server that ends while it recovers is no accident of this machine.

    Raises:
        GateError: it ended.
        UnavailableError: it didn't recover in time.
    """
    try:
        return home.start_databases()
    except ProcessDiedError as error:
        raise GateError(str(error)) from error


def _count_rows(home: RestoredHome, backup: BackupSet) -> str:
    """Read every row; tables that had some when the set was made must be there."""
    rows = home.databases.rows()
    _none([table for table, n in backup.rows.items() if n and table not in rows], "missing table")
    return f"{sum(rows.values()):,} rows in {len(rows)} tables were read"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _none(findings: Sequence[str], what: str) -> str:
    """Return that there are none.

    Raises:
        InputError: there are.
    """
    if findings:
        more = f", and {len(findings) - 3} more" if len(findings) > 3 else ""
        raise InputError(f"{what}: {'; '.join(findings[:3])}{more}")
    return f"no {what}"
