"""A file that one process appends lines to and others can tell from a dead one's.

The writer holds a lock on it for life, which the kernel lets go with the process, whatever ends it.
Whoever gets the lock may ship what is left, and remove the file.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from pathlib import Path

from greenlight.core.errors import ResourceError

SUFFIX = ".jsonl"


class SpoolFile:
    """Lines of one writer. `name` is unique for ever."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path, self.name = path, path.stem
        self._handle = handle
        self.size = os.fstat(handle).st_size

    @classmethod
    def create(cls, folder: Path) -> SpoolFile:
        """Return a new file; nobody sees it before it is locked."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / f"{uuid.uuid4().hex}{SUFFIX}"
        hidden = path.with_suffix(".new")
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        handle = os.open(hidden, flags, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        hidden.rename(path)
        return cls(path, handle)

    @classmethod
    def adopt(cls, path: Path) -> SpoolFile | None:
        """Return a file whose writer is gone; nothing when it lives, or another was faster."""
        try:
            handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        if not path.exists():
            os.close(handle)
            return None
        return cls(path, handle)

    def write(self, line: bytes) -> None:
        """Append a line, whole or not at all.

        Raises:
            ResourceError: the disk is full or broken.
        """
        try:
            written = os.write(self._handle, line)
            if written == len(line):
                self.size += written
                return
            os.ftruncate(self._handle, self.size)
        except OSError as error:
            raise ResourceError(f"the audit spool {self.path} can't be written: {error}") from error
        raise ResourceError(f"the audit spool {self.path} can't be written: the disk is full")

    def read(self, start: int, *, most: int) -> bytes:
        """Return whole lines from an offset on, about `most` bytes of them."""
        data = os.pread(self._handle, most, start)
        return data[: data.rfind(b"\n") + 1]

    def sync(self) -> None:
        """Bring what was written to the disk itself, past a loss of power."""
        os.fdatasync(self._handle)

    def remove(self) -> None:
        """Delete the file, and let it go."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let the file go; what is in it waits for whoever adopts it."""
        os.close(self._handle)
