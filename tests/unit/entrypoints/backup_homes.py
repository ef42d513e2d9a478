"""A home on disk whose databases and regions are in memory."""

from datetime import UTC, datetime, timedelta

from greenlight.backup.backup_file import BackupFile, Region, Retention
from greenlight.backup.ladder import Drill, Outcome, Rung, RungResult
from greenlight.backup.ports import CatalogueVersion
from greenlight.core.digest import manifest_of
from greenlight.core.settings import Settings
from greenlight.entrypoints.backup import Backups
from greenlight.entrypoints.backup_tools import BackupTools
from greenlight.testing.memory_backups import (
    MemoryDatabaseBackups,
    MemoryFileBackups,
    MemorySetStore,
    Regions,
)
from greenlight.testing.memory_databases import MemoryDatabases
from greenlight.testing.memory_history import MemoryHistory
from greenlight.testing.memory_rollouts import MemoryLeases

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


class TickingClock:
    """A second passes whenever somebody looks."""

    def __init__(self):
        self.time = NOON

    def now(self):
        self.time += timedelta(seconds=1)
        return self.time

    def monotonic(self):
        return self.now().timestamp()


class BackupHome:
    """What tests act on. Regions are `a` and `b`."""

    def __init__(self, tmp_path, *, retention=None, full_every_days=7):
        self.home = tmp_path / "home"
        self.clock = TickingClock()
        self.regions = Regions(("a", "b"))
        self.databases = MemoryDatabases(self.clock.now)
        self.copies = MemoryDatabaseBackups(regions=self.regions, now=self.clock.now)
        self.files = MemoryFileBackups(self.regions, self.clock.now)
        self.stores = {
            name: MemorySetStore(self.regions, self.clock.now, region=name) for name in ("a", "b")
        }
        self.history = MemoryHistory()
        self.leases = MemoryLeases(self.clock.now)
        self.tools = BackupTools(
            settings=Settings(home=self.home),
            config=BackupFile(
                regions=(Region(name="a"), Region(name="b")),
                retention=retention or Retention(),
                full_every_days=full_every_days,
            ),
            databases=self.databases,
            database_backups=self.copies,
            files=self.files,
            stores=self.stores,
            leases=self.leases,
            history=self.history,
            record_tokens=lambda: None,
            remove_old_versions=self.remove_old_versions,
            tool_versions=lambda: {"greenlight": "0"},
            clock=self.clock,
        )
        self.backups = Backups(self.tools)
        self.said = []
        self.given_back = []
        self.register("one")

    def register(self, text):
        """Put a version's files where MLflow would, and its row into the catalogue."""
        number = len(self.databases.versions) + 1
        folder = self.home / f"mlflow/artifacts/1/run{number}/artifacts/model"
        folder.mkdir(parents=True)
        (folder / "weights.bin").write_text(text)
        self.databases.versions.append(
            CatalogueVersion(
                model="small",
                version=number,
                digest=manifest_of(folder).digest,
                run_id=f"run{number}",
                aliases=(),
                folder=folder.relative_to(self.home).as_posix(),
            )
        )
        return folder

    def remove_old_versions(self, region, before):
        self.given_back.append((region, before))
        return 1_000_000

    def run(self, kind=None):
        """Make a set; the next one is of another second."""
        return self.backups.run(kind, by="test", say=self.said.append)

    def days_pass(self, days):
        self.clock.time += timedelta(days=days)

    def states(self, region):
        """Return the states of a region's sets by id."""
        (inventory,) = self.backups.inventories(region)
        return {stored.id: stored.state for stored in inventory.sets}


def a_drill(outcomes=None, *, number=1, **changes):
    """Return a drill whose rungs pass, but for some."""
    found = dict.fromkeys(Rung, Outcome.PASS) | (outcomes or {})
    fields = {
        "id": f"a-{number}", "began_at": NOON + timedelta(days=number), "region": "a",
        "set_id": "20261125T021400Z", "target_at": NOON, "rto_s": 41.4, "rpo_s": 7.0,
        "rows_lost": 0, "rows_ahead": 0,
        "rungs": tuple(
            RungResult(rung=rung, outcome=outcome, says=f"of {rung}", seconds=2)
            for rung, outcome in found.items()
        ),
    }  # fmt: skip
    return Drill(**fields | changes)
