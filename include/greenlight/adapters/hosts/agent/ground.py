"""What both halves of the agent stand on: errors, locks, hashes, files that appear whole."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

Json = dict[str, Any]

CHUNK = 4 << 20
"""Copies arrive in pieces of this size, each written in full before the next is begun."""
LOCK_S = 45.0
COMMAND_S = 120.0


class Refusal(Exception):
    """An error that the controller raises under its own name."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def inside(folder: Path, name: str) -> Path:
    """Return a path below `folder`; a name that leads out of it is refused."""
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts:
        raise Refusal("InputError", f"{name!r} leads out of {folder}")
    return folder / pure


def sha256_of(path: Path, limit: int | None = None) -> str:
    """Return the hash of a file, or of its first `limit` bytes, which are on disk after that."""
    state, left = hashlib.sha256(), path.stat().st_size if limit is None else limit
    with path.open("rb") as file:
        os.fsync(file.fileno())
        while left > 0 and (chunk := file.read(min(CHUNK, left))):
            state.update(chunk)
            left -= len(chunk)
    return state.hexdigest()


def opened(path: Path, offset: int) -> IO[bytes]:
    """Open for writing from `offset` on; what was behind it is cut off."""
    file = path.open("r+b" if offset else "wb")
    file.truncate(offset)
    file.seek(offset)
    return file


def write_json(path: Path, value: Json) -> None:
    """Replace a file: readers see the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    making = path.with_name(f".{path.name}.{os.getpid()}")
    with making.open("w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    making.replace(path)


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a folder's lock; the kernel gives it back when this process ends."""
    folder.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + LOCK_S
    with (folder / "lock").open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    message = f"{folder} is being changed by another controller for {LOCK_S:g} s"
                    raise Refusal("UnavailableError", message) from None
                time.sleep(0.05)
        yield


def run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a program of the host to its end, whatever its exit code."""
    try:
        return subprocess.run(
            argv, capture_output=True, text=True, check=False, timeout=COMMAND_S, errors="replace"
        )
    except FileNotFoundError as error:
        raise Refusal("ConfigError", f"there is no program {argv[0]} on the host") from error
    except subprocess.TimeoutExpired as error:
        message = f"{' '.join(argv[:3])} did not end within {COMMAND_S:g} s"
        raise Refusal("UnavailableError", message) from error


def boot_id() -> str:
    """Return what changes when the host starts anew: process numbers count from there."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def uptime() -> float:
    """Return seconds since the host started, the same for every process."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def record_of(slot: Path) -> Json | None:
    """Return what was started in a slot, or `None`."""
    try:
        record: Json = json.loads((slot / "record.json").read_text())
    except FileNotFoundError:
        return None
    return record
