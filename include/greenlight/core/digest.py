"""Digests: an alias is a pointer, a digest is the truth.

A **model digest** is the SHA-256 of the sorted manifest (path, size, SHA-256 of every file) of a
model folder. It is the same on every machine and independent of timestamps and file order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from greenlight.core.errors import InputError
from greenlight.core.types import JsonDict

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One file of a manifest. `path` is relative, with forward slashes; `size` in bytes."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Every file of a folder, sorted by path."""

    files: tuple[FileEntry, ...]

    @property
    def digest(self) -> str:
        """The SHA-256 over the manifest, as 64 hex digits."""
        return digest_json([[f.path, f.size, f.sha256] for f in self.files])

    @property
    def total_bytes(self) -> int:
        """The bytes of all files together."""
        return sum(f.size for f in self.files)

    def to_json(self) -> JsonDict:
        """Return `{"digest": …, "files": [{path, size, sha256}, …]}`."""
        return {
            "digest": self.digest,
            "files": [{"path": f.path, "size": f.size, "sha256": f.sha256} for f in self.files],
        }

    @classmethod
    def from_json(cls, data: JsonDict) -> Manifest:
        """Read what `to_json` wrote.

        Raises:
            InputError: the recorded digest does not match the files listed.
        """
        manifest = cls(files=tuple(FileEntry(**entry) for entry in data["files"]))
        if manifest.digest != data["digest"]:
            raise InputError(
                f"manifest says digest {data['digest']}, but its files give {manifest.digest}"
            )
        return manifest


def digest_bytes(data: bytes) -> str:
    """Return the SHA-256 of `data` as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def digest_json(value: object) -> str:
    """Return the SHA-256 of `value` as canonical JSON (sorted keys, no spaces, UTF-8)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return digest_bytes(text.encode())


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file, read in chunks."""
    state = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            state.update(chunk)
    return state.hexdigest()


def manifest_of(folder: Path, *, leave_out: Iterable[str] = ()) -> Manifest:
    """Return the manifest of a folder, symlinked files read through.

    Raises:
        InputError: the folder does not exist or holds no file.
    """
    skipped = frozenset(leave_out)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    entries = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if name not in skipped:
            entries.append(FileEntry(path=name, size=path.stat().st_size, sha256=digest_file(path)))
    if not entries:
        raise InputError(f"{folder} holds no file")
    return Manifest(files=tuple(sorted(entries, key=lambda f: f.path)))


def short(digest: str) -> str:
    """Return the first twelve digits, for names and messages."""
    return digest[:12]
