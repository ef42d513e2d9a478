"""What a home holds that is to be saved: how much, and the hashes of every version's files."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from greenlight.backup.contents import SECRETS, Source
from greenlight.backup.ports import CatalogueVersion
from greenlight.backup.sets import SavedFile, SavedSource, SavedVersion
from greenlight.core.digest import FileEntry, Manifest, digest_file, short
from greenlight.core.files import write_json

log = logging.getLogger(__name__)


def saved_source(home: Path, source: Source) -> SavedSource | None:
    """Return how much there is in a declared place; none: it isn't there."""
    place = home / source.path
    if not place.exists():
        return None
    files = [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
    return SavedSource(
        name=source.name,
        path=source.path,
        files=len(files),
        bytes=sum(path.stat().st_size for path in files),
    )


def secret_names(home: Path) -> tuple[str, ...]:
    """Return the names of the secrets that are left out."""
    folder = home / SECRETS
    return tuple(sorted(path.name for path in folder.iterdir())) if folder.is_dir() else ()


class VersionFiles:
    """Hashes versions' files, each once: a version never changes.

    A file is read again when its size or its time of change is another one.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._cache_file = home / "cache/saved-files.json"
        self._cache = _read(self._cache_file)
        self._used: dict[str, list[str]] = {}

    def of(self, version: CatalogueVersion) -> tuple[SavedVersion, str | None]:
        """Return a version with its files, and what is wrong with them, if anything."""
        folder = self._home / version.folder
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        files = tuple(
            SavedFile(
                path=path.relative_to(self._home).as_posix(),
                size=path.stat().st_size,
                sha256=self._hash(path),
            )
            for path in paths
        )
        saved = SavedVersion(
            model=version.model,
            version=version.version,
            digest=version.digest,
            run_id=version.run_id,
            aliases=version.aliases,
            files=files,
        )
        return saved, why_not(saved, version.folder)

    def keep(self) -> None:
        """Remember the hashes of all versions asked for; without room the next run reads again."""
        try:
            write_json(self._cache_file, self._used)
        except OSError as error:
            log.warning("hashes are not kept for the next time: %s", error)

    def _hash(self, path: Path) -> str:
        found = path.stat()
        key, seal = path.relative_to(self._home).as_posix(), f"{found.st_size}/{found.st_mtime_ns}"
        known = self._cache.get(key)
        if known is None or known[0] != seal:
            known = [seal, digest_file(path)]
        self._used[key] = known
        return known[1]


def why_not(saved: SavedVersion, folder: str) -> str | None:
    """Return what is wrong with a version's files; none: they give its digest."""
    name = f"{saved.model} version {saved.version}"
    if not saved.files:
        return f"{name} has no files in {folder}"
    found = digest_of(saved, folder)
    if found == saved.digest:
        return None
    return f"{name} should have digest {short(saved.digest)}, but its files give {short(found)}"


def digest_of(saved: SavedVersion, folder: str) -> str:
    """Return the model digest that the files of a version give."""
    entries = tuple(
        FileEntry(path=file.path.removeprefix(f"{folder}/"), size=file.size, sha256=file.sha256)
        for file in saved.files
    )
    return Manifest(files=tuple(sorted(entries, key=lambda entry: entry.path))).digest


def orphans(home: Path, runs: frozenset[str]) -> tuple[Path, ...]:
    """Return the folders of runs that no database knows.

    `runs`: the folders of known runs, relative to the home, as `EXPERIMENT/RUN/artifacts`.
    """
    root = home / "mlflow/artifacts"
    known = {home / run for run in runs}
    return tuple(sorted(folder for folder in root.glob("*/*/artifacts") if folder not in known))


def _read(path: Path) -> dict[str, list[str]]:
    try:
        found: dict[str, list[str]] = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return found
