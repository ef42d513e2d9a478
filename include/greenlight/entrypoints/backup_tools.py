"""What backups work with: databases, repositories, stores; opened from the settings."""

from __future__ import annotations

import logging
import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from greenlight.backup.backup_file import BackupFile, Region, load_backup_file
from greenlight.backup.ports import BackupHistory, DatabaseBackups, Databases, FileBackups, SetStore
from greenlight.backup.sets import Recorded
from greenlight.core.clock import Clock, SystemClock
from greenlight.core.errors import ConfigError, GreenlightError
from greenlight.core.settings import Settings, load_settings
from greenlight.registry.tags import Alias

if TYPE_CHECKING:
    from greenlight.deploy.ports import LeaseStore
    from greenlight.registry.ports import ModelRegistry, Version

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupTools:
    """Everything that backups act through. Each part can be a fake.

    `record_tokens` lets the champion generate, so that a restored one can be compared; none: there
    is no champion. `remove_old_versions` gives back what an embedded region keeps of what was
    deleted before an instant, and returns how many bytes; elsewhere a lifecycle rule does it.
    """

    settings: Settings
    config: BackupFile
    databases: Databases
    database_backups: DatabaseBackups
    files: FileBackups
    stores: Mapping[str, SetStore]
    leases: LeaseStore
    history: BackupHistory
    record_tokens: Callable[[], Recorded | None]
    remove_old_versions: Callable[[str, datetime], int]
    tool_versions: Callable[[], dict[str, str]]
    clock: Clock = SystemClock()  # noqa: RUF009 - stateless

    @property
    def home(self) -> Path:
        """What is saved."""
        return self.settings.home

    def store(self, region: str) -> SetStore:
        """Return one region's store.

        Raises:
            ConfigError: there is no such region.
        """
        if region not in self.stores:
            raise ConfigError(f"there is no region {region!r}; there are {', '.join(self.stores)}")
        return self.stores[region]


def open_tools(settings: Settings | None = None, *, clock: Clock | None = None) -> BackupTools:
    """Open everything for this home's backups; nothing is asked yet.

    Raises:
        ConfigError: backup.yaml is wrong, or a secret is missing.
        RefusedError: an embedded region's store was never up.
    """
    from greenlight.adapters.backup_store import DatabaseHistory
    from greenlight.adapters.database import open_engine
    from greenlight.adapters.pgbackrest import open_pgbackrest
    from greenlight.adapters.restic.backups import ResticBackups
    from greenlight.adapters.restic.repository import ResticRepository
    from greenlight.adapters.rollout_store import DatabaseLeases
    from greenlight.adapters.saved_databases import SavedDatabases
    from greenlight.adapters.set_store import S3SetStore
    from greenlight.adapters.stack import postgres, stores

    settings = settings or load_settings()
    config = load_backup_file(settings.config_file("backup"))
    buckets = {region.name: stores.s3_of(settings, region) for region in config.regions}
    engine = open_engine(settings.database_url or postgres.greenlight_url(settings))
    return BackupTools(
        settings=settings,
        config=config,
        databases=SavedDatabases(postgres.superuser_url(settings)),
        database_backups=open_pgbackrest(settings, buckets),
        files=ResticBackups(
            [
                ResticRepository(
                    bucket,
                    region=name,
                    password_file=settings.secrets / "backup_restic",
                    folder=settings.home / "cache/restic",
                    environment=os.environ,
                )
                for name, bucket in buckets.items()
            ]
        ),
        stores={
            name: S3SetStore(
                bucket, region=name, signing_key_file=settings.secrets / "backup_signing"
            )
            for name, bucket in buckets.items()
        },
        leases=DatabaseLeases(engine),
        history=DatabaseHistory(engine),
        record_tokens=lambda: record_champion(settings),
        remove_old_versions=lambda region, before: remove_old_versions(
            settings, config.region(region), before
        ),
        tool_versions=tool_versions,
        clock=clock or SystemClock(),
    )


def remove_old_versions(settings: Settings, region: Region, before: datetime) -> int:
    """Give back what an embedded region keeps of what was deleted before an instant, in bytes."""
    if region.s3 is not None:
        return 0
    from greenlight.adapters import old_versions
    from greenlight.adapters.stack import stores

    return old_versions.remove_old_versions(stores.s3_of(settings, region), before=before).bytes


def record_champion(settings: Settings) -> Recorded | None:
    """Let the champion say something, to be compared with after a restore.

    The champion of the first model that has one counts, else its candidate. None: there is no such
    version, or something keeps it from being asked, such as MLflow being down: that costs a drill
    its last rungs, and no backup.
    """
    from greenlight.entrypoints import recorded_tokens
    from greenlight.entrypoints.models import fetch_version, open_registry

    try:
        registry = open_registry(settings)
        found = _champion(registry)
        if found is None:
            return None
        folder, _ = fetch_version(settings, found, registry=registry)
        return recorded_tokens.record(
            settings,
            model=found.model,
            version=found.version,
            digest=found.digest,
            folder=folder,
        )
    except GreenlightError as error:
        log.error("what the champion says is not recorded: %s", error)
        return None


def _champion(registry: ModelRegistry) -> Version | None:
    for alias in (Alias.CHAMPION, Alias.CANDIDATE):
        for model in registry.models():
            if found := registry.find(model, tags={}, alias=alias):
                return found
    return None


def tool_versions() -> dict[str, str]:
    """Return the versions of what makes a set."""
    found = {"greenlight": version("greenlight"), "mlflow": version("mlflow")}
    for name, command in {
        "pgbackrest": ["pgbackrest", "version"],
        "restic": ["restic", "version"],
    }.items():
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        if number := re.search(r"\d+(\.\d+)+", said):
            found[name] = number[0]
    return found
