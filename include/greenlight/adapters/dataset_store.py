"""Data sets on disk, by name and version.

`<name>/<version>/data.jsonl` holds the rows, `dataset.json` beside it what is known about them, the
digest of the bytes among it. A version never changes: other rows are another version.
"""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from greenlight.core.digest import digest_bytes, short
from greenlight.core.errors import InputError
from greenlight.core.files import folder_in_the_making, write_atomically, write_json
from greenlight.core.types import JsonDict
from greenlight.quantize.datasets import Row, parse_rows, read_verified, to_jsonl
from greenlight.quantize.jobs import Dataset, DatasetKind

DATA, METADATA = "data.jsonl", "dataset.json"
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_DIGITS = re.compile(r"(\d+)")


class DatasetStore:
    """Keeps data sets. Safe when several processes add at once."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def add(
        self,
        name: str,
        version: str | None = None,
        *,
        kind: DatasetKind,
        licence: str,
        source: str,
        rows: Sequence[Row] | bytes,
    ) -> Dataset:
        """Keep rows, or the bytes of a JSONL file, and return the set. Idempotent.

        `version` none: the newest version, when it is the same in everything, else the next number.

        Raises:
            InputError: a bad name, version or licence, rows that `read_dataset` refuses, this
                version is there already with another content, or its file was edited.
        """
        for what, value in (("name", name), ("version", version)):
            if value is not None and not NAME.fullmatch(value):
                raise InputError(
                    f"data set {what} {value!r}: up to 64 of a-z, 0-9, '.', '_', '-', "
                    "the first a letter or a digit"
                )
        if not licence.strip():
            raise InputError(f"data set {name} needs a licence, such as cc-by-4.0 or proprietary")
        data = rows if isinstance(rows, bytes) else to_jsonl(rows)
        facts = {
            "name": name,
            "kind": kind,
            "licence": licence,
            "source": source,
            "rows": len(parse_rows(data, kind, where=f"data set {name}")),
            "digest": digest_bytes(data),
        }
        with self._alone():
            return self._keep(facts, version, data)

    def load(self, name: str, version: str | None = None) -> Dataset:
        """Return a set whose file is as it was added; `version` none: the newest.

        Raises:
            InputError: there is no such set or version (those there are, are named), or its file
                was edited (both digests are named).
        """
        dataset = self.find(name, version)
        read_verified(dataset)
        return dataset

    def find(self, name: str, version: str | None = None) -> Dataset:
        """Return a set without reading its rows. Raises `InputError` as `load`."""
        versions = self._versions(name)
        if not versions:
            names = ", ".join(self._names()) or "none; run `greenlight data build`"
            raise InputError(f"there is no data set {name!r}; there are: {names}")
        wanted = version or versions[-1]
        if wanted not in versions:
            raise InputError(
                f"data set {name} has no version {wanted!r}; there are: {', '.join(versions)}"
            )
        return self._read(name, wanted)

    def list(self) -> tuple[Dataset, ...]:
        """Return every version of every set, by name, the newest version last."""
        return tuple(
            self._read(name, version) for name in self._names() for version in self._versions(name)
        )

    def _keep(self, facts: JsonDict, version: str | None, data: bytes) -> Dataset:
        there = self._versions(facts["name"])
        looked_at = version or (there[-1] if there else None)
        if looked_at in there:
            kept = self._read(facts["name"], looked_at)
            if all(getattr(kept, key) == value for key, value in facts.items()):
                return self._restored(kept, data)
            if version:
                raise InputError(
                    f"data set {kept.name} version {version} is there already: {kept.kind}, "
                    f"{kept.licence}, digest {short(kept.digest)}; this is {facts['kind']}, "
                    f"{facts['licence']}, digest {short(facts['digest'])}; give it another version"
                )
        version = version or _next(there)
        dataset = Dataset(**facts, version=version, path=self._file(facts["name"], version))
        with folder_in_the_making(dataset.path.parent) as making:
            write_atomically(making / DATA, data)
            write_json(making / METADATA, dataset.model_dump(mode="json", exclude={"path"}))
        return dataset

    def _restored(self, kept: Dataset, data: bytes) -> Dataset:
        """Return the set, its file written again if it is gone. What somebody edited stays."""
        if not kept.path.is_file():
            write_atomically(kept.path, data)
        read_verified(kept)
        return kept

    def _read(self, name: str, version: str) -> Dataset:
        path = self._file(name, version)
        metadata = path.with_name(METADATA)
        try:
            facts = json.loads(metadata.read_text(encoding="utf-8"))
            return Dataset.model_validate(facts | {"path": path})
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"{metadata} is damaged ({error}); delete {path.parent} and add the set again"
            ) from error

    def _file(self, name: str, version: str) -> Path:
        return self._root / name / version / DATA

    def _names(self) -> tuple[str, ...]:
        return tuple(sorted({path.parts[-3] for path in self._root.glob(f"*/*/{METADATA}")}))

    def _versions(self, name: str) -> tuple[str, ...]:
        """Return the versions of a set, oldest first: 2 comes before 10."""
        if not NAME.fullmatch(name):
            return ()
        found = {path.parts[-2] for path in (self._root / name).glob(f"*/{METADATA}")}
        return tuple(sorted((v for v in found if NAME.fullmatch(v)), key=_in_order))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the store's lock; the kernel releases it when the process ends, however it ends."""
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _in_order(version: str) -> tuple[list[tuple[int, int, str]], str]:
    parts = _DIGITS.split(version)
    return [(1, int(p), "") if p.isdigit() else (0, 0, p) for p in parts if p], version


def _next(versions: Sequence[str]) -> str:
    """Return the number after the highest of the versions that start with one."""
    numbers = [int(found[0]) for v in versions if (found := _DIGITS.match(v))]
    return str(max(numbers, default=0) + 1)
