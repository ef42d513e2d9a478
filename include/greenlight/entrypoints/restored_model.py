"""One registered version's lost files, brought back to where MLflow looks for them.

The registry says which digest they must have. So what is brought back is proven by it, whichever
set and region it comes from.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from greenlight.backup.inventory import StoredSet, read_inventory
from greenlight.backup.ports import CatalogueVersion
from greenlight.core.digest import manifest_of, short
from greenlight.core.errors import (
    ConfigError,
    GreenlightError,
    InputError,
    RefusedError,
    UnavailableError,
)

if TYPE_CHECKING:
    from greenlight.entrypoints.backup_tools import BackupTools

log = logging.getLogger(__name__)

Say = Callable[[str], None]


def restore_model(
    tools: BackupTools,
    model: str,
    number: int,
    *,
    region: str | None = None,
    say: Say = log.info,
) -> Path:
    """Bring a version's files back from the newest set that has them, in one region or any.

    What is in their place is moved aside. Returns where they are.

    Raises:
        InputError: the registry has no such version, or no set gives its files. `say` was told what
            kept each from it.
        RefusedError: its files are what its digest says.
        UnavailableError: the databases don't answer, or no region does.
        ConfigError: there is no such region.
    """
    version = _registered(tools, model, number)
    name, place = f"{model} version {number}", tools.home / version.folder
    if _digest(place) == version.digest:
        raise RefusedError(f"{name} has the files of its digest in {place}; nothing was changed")
    tools.settings.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=tools.settings.work, prefix=".fetch-") as scratch:
        regions = [region] if region else list(tools.stores)
        found = _fetch(tools, version, regions=regions, scratch=Path(scratch), say=say)
        if found is None:
            raise InputError(f"no set in region {' or '.join(regions)} gives the files of {name}")
        if place.exists():
            say(f"what was there is in {_set_aside(tools, version)}")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(found, place)
    return place


def _registered(tools: BackupTools, model: str, number: int) -> CatalogueVersion:
    versions = {(v.model, v.version): v for v in tools.databases.catalogue()}
    if (model, number) not in versions:
        known = ", ".join(f"{name} {one}" for name, one in sorted(versions)) or "none"
        raise InputError(
            f"the registry has no version {number} of {model!r}; it has: {known}. A version that "
            "was deleted there too comes back only with the databases: `greenlight restore run`"
        )
    return versions[model, number]


def _fetch(
    tools: BackupTools,
    version: CatalogueVersion,
    *,
    regions: Sequence[str],
    scratch: Path,
    say: Say,
) -> Path | None:
    """Return the files from the first set that gives them, newest first in each region.

    Raises:
        UnavailableError: no region answers. Or another class: none lets us in.
    """
    failed: list[GreenlightError] = []
    for region in regions:
        try:
            for stored in _sets_with(tools, version, region):
                to = scratch / region / stored.id
                if why := _take(tools, version, stored, region=region, to=to):
                    say(f"region {region}: set {stored.id}: {why}")
                else:
                    say(f"region {region}: set {stored.id} has them")
                    return to / version.folder
        except (UnavailableError, ConfigError) as error:
            say(f"region {region}: {error}")
            failed.append(error)
    if len(failed) == len(regions):
        raise failed[0]
    return None


def _sets_with(tools: BackupTools, version: CatalogueVersion, region: str) -> Iterator[StoredSet]:
    """Yield the sets that name a version with its digest, newest first."""
    store = tools.store(region)
    wanted = (version.model, version.version, version.digest)
    inventory = read_inventory(store, tools.database_backups, tools.files)
    for stored in reversed(inventory.sets):
        named = store.get(stored.id).versions
        if stored.snapshot and wanted in {(v.model, v.version, v.digest) for v in named}:
            yield stored


def _take(
    tools: BackupTools, version: CatalogueVersion, stored: StoredSet, *, region: str, to: Path
) -> str | None:
    """Restore the files of a version; return why they are not what they must be."""
    try:
        tools.files.restore(region, stored.snapshot_id, to=to, folder=version.folder)
    except InputError as error:
        return str(error)
    found = _digest(to / version.folder)
    if found == version.digest:
        return None
    return f"its files give {short(found) if found else 'no digest'}, not {short(version.digest)}"


def _digest(folder: Path) -> str | None:
    try:
        return manifest_of(folder).digest
    except InputError:
        return None


def _set_aside(tools: BackupTools, version: CatalogueVersion) -> Path:
    name = f"{version.model}-{version.version}.before-{tools.clock.now():%Y%m%dT%H%M%SZ}"
    aside = tools.settings.work / name
    shutil.move(tools.home / version.folder, aside)
    return aside
