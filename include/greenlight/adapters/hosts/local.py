"""This machine as a host: commands are child processes, copies stay on its disks."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from greenlight.adapters.hosts.agent.ground import CHUNK, opened
from greenlight.adapters.hosts.transport import Done
from greenlight.core.digest import FileEntry
from greenlight.core.errors import InputError, ResourceError, UnavailableError

FICLONE = 0x40049409
"""Share a file's blocks until one side writes (Linux, ioctl_ficlone(2)): Btrfs, XFS."""


class LocalTransport:
    """`transport.Transport` without a link."""

    python = sys.executable

    def run(self, argv: Sequence[str], *, stdin: bytes, timeout_s: float) -> Done:
        """Run a command as a child of this process."""
        try:
            done = subprocess.run(
                list(argv), input=stdin, capture_output=True, check=False, timeout=timeout_s
            )
        except subprocess.TimeoutExpired as error:
            raise UnavailableError(
                f"a command on this machine did not end within {timeout_s:g} s"
            ) from error
        return Done(code=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def upload(
        self,
        source: Path,
        target: str,
        *,
        entry: FileEntry,
        offset: int,
        on_bytes: Callable[[int], None],
    ) -> None:
        """Copy a file. Never a hard link: who changes the source must not change the model."""
        try:
            _copy(source, Path(target), entry.size, offset, on_bytes)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise ResourceError(f"the disk is full: {error}") from error
            raise InputError(f"{source} can't be copied to {target}: {error}") from error

    def close(self) -> None:
        """Nothing is open."""


def _copy(
    source: Path, target: Path, size: int, offset: int, on_bytes: Callable[[int], None]
) -> None:
    with source.open("rb") as reader, opened(target, offset) as writer:
        if offset == 0 and _cloned(reader, writer):
            on_bytes(size)
            return
        reader.seek(offset)
        while chunk := reader.read(CHUNK):
            writer.write(chunk)
            on_bytes(writer.tell())


def _cloned(reader: IO[bytes], writer: IO[bytes]) -> bool:
    with contextlib.suppress(OSError):  # another disk, or a file system that can't
        fcntl.ioctl(writer.fileno(), FICLONE, reader.fileno())
        return True
    return False
