"""Finished work on disk, by the digest of its inputs: doing it again is looking it up.

`<kind>/<key>.json` holds the inputs and the result; `<kind>/<key>/` is the folder that the work may
fill. The record is written last, so work that was killed half-way has none and is done again. The
folder must be one that all workers of a queue share.
"""

from __future__ import annotations

import fcntl
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from greenlight.core.digest import digest_json
from greenlight.core.files import write_json
from greenlight.core.types import JsonDict

log = logging.getLogger(__name__)
KEY_DIGITS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkStore:
    """Remembers results of pure but expensive work."""

    root: Path

    def folder(self, kind: str, inputs: JsonDict) -> Path:
        """Return the folder that belongs to this work; it may not exist."""
        return self.root / kind / digest_json(inputs)[:KEY_DIGITS]

    def find(self, kind: str, inputs: JsonDict) -> JsonDict | None:
        """Return the result of finished work, or `None`."""
        record = self._record(kind, inputs)
        if not record.is_file():
            return None
        result: JsonDict = json.loads(record.read_text())["result"]
        return result

    def once(
        self,
        kind: str,
        inputs: JsonDict,
        do: Callable[[Path], JsonDict],
        *,
        leaves_folder: bool = False,
    ) -> JsonDict:
        """Return the result of this work, doing it only when no finished result is there.

        `do` receives the work's folder. With `leaves_folder` a result whose folder is gone is done
        again. Two processes that ask for the same work do it once: the second waits.
        """
        folder = self.folder(kind, inputs)
        with self._alone(folder):
            found = self.find(kind, inputs)
            if found is not None and (folder.is_dir() or not leaves_folder):
                log.info("Found finished work %s/%s", kind, folder.name)
                return found
            result = do(folder)
            write_json(self._record(kind, inputs), {"inputs": inputs, "result": result})
        return result

    def journal(self, entry: JsonDict) -> None:
        """Append one line to `jobs.jsonl`: what was really run, and what it took."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "jobs.jsonl").open("a") as file:
            file.write(json.dumps(entry, sort_keys=True) + "\n")

    def journalled(self) -> list[JsonDict]:
        """Return every line of the journal, oldest first."""
        path = self.root / "jobs.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def _record(self, kind: str, inputs: JsonDict) -> Path:
        return self.folder(kind, inputs).with_suffix(".json")

    @contextmanager
    def _alone(self, folder: Path) -> Iterator[None]:
        """Hold the work's lock; the kernel releases it when the process ends, however it ends."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
