"""Verified model folders on disk, by digest.

`<digest>/` holds the files, `<digest>.json` beside it the manifest. The manifest is written last:
a folder without one is not there.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from greenlight.core.digest import Manifest, digest_file, manifest_of, short
from greenlight.core.errors import InputError
from greenlight.core.files import folder_in_the_making, require_free_space, write_json


class ModelStore:
    """Keeps model folders. Safe when several processes add at once."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def add(self, folder: Path, *, leave_out: tuple[str, ...] = ()) -> Manifest:
        """Copy `folder`, without the files left out, and return its manifest. Idempotent.

        Raises:
            InputError: the folder is missing or empty, or changed while it was copied.
            ResourceError: the disk is too small.
        """
        manifest = manifest_of(folder, leave_out=leave_out)
        with self._alone():
            if self.has(manifest.digest) and not self._problems(manifest):
                return manifest
            require_free_space(self._root, manifest.total_bytes, what=f"keeping {folder}")
            self._sidecar(manifest.digest).unlink(missing_ok=True)
            with folder_in_the_making(self._root / manifest.digest) as making:
                for file in manifest.files:
                    target = making / file.path
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(folder / file.path, target)
                copied = manifest_of(making)
                if copied.digest != manifest.digest:
                    raise InputError(f"{folder} changed while it was copied; try again")
            write_json(self._sidecar(manifest.digest), manifest.to_json())
        return manifest

    def has(self, digest: str) -> bool:
        """Tell whether a digest is here, without reading its files."""
        return self._sidecar(digest).is_file() and (self._root / digest).is_dir()

    def path(self, digest: str) -> Path:
        """Return the folder of a digest.

        Raises:
            InputError: it is not here.
        """
        if not self.has(digest):
            raise InputError(f"model {short(digest)} is not in {self._root}; import it first")
        return self._root / digest

    def manifest(self, digest: str) -> Manifest:
        """Return what a digest's folder should hold.

        Raises:
            InputError: it is not here, or its manifest is damaged.
        """
        self.path(digest)
        sidecar = self._sidecar(digest)
        try:
            return Manifest.from_json(json.loads(sidecar.read_text()))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{sidecar} is damaged ({error}); import the model again") from error

    def verify(self, digest: str) -> Manifest:
        """Read every file of a digest and return its manifest.

        Raises:
            InputError: a file is missing, changed or too many; the message names them.
        """
        manifest = self.manifest(digest)
        problems = self._problems(manifest)
        if manifest.digest != digest:
            problems = (f"the manifest is that of {short(manifest.digest)}", *problems)
        if problems:
            raise InputError(
                f"model {short(digest)} in {self._root} is damaged: {'; '.join(problems)}; "
                "import it again"
            )
        return manifest

    def digests(self) -> tuple[str, ...]:
        """Return every digest that is here."""
        return tuple(sorted(p.stem for p in self._root.glob("*.json") if self.has(p.stem)))

    def _problems(self, manifest: Manifest) -> tuple[str, ...]:
        folder = self._root / manifest.digest
        listed = {file.path for file in manifest.files}
        found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
        changed = [
            f"{file.path} changed"
            for file in manifest.files
            if file.path in found and digest_file(folder / file.path) != file.sha256
        ]
        missing = [f"{name} is missing" for name in sorted(listed - found)]
        extra = [f"{name} does not belong there" for name in sorted(found - listed)]
        return (*changed, *missing, *extra)

    def _sidecar(self, digest: str) -> Path:
        return self._root / f"{digest}.json"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the store's lock; the kernel releases it when the process ends."""
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
