"""Write so that a reader never sees half: temporary name, flush, rename."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from greenlight.core.errors import InputError, ResourceError


def write_atomically(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace `path` with `data`; readers see the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: object, *, mode: int = 0o644) -> None:
    """Write `value` as indented JSON, atomically."""
    write_atomically(path, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode(), mode=mode)


def read_json(path: Path, *, who_writes: str) -> dict[str, Any] | None:
    """Return what a JSON file that may not be there yet holds; `None`: it isn't there.

    `who_writes`: what writes it anew, for whoever finds it broken.

    Raises:
        InputError: it is there and can't be read.
    """
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read: {error}; {who_writes} writes it anew") from error
    return found


@contextmanager
def folder_in_the_making(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `target` that becomes `target` when the block succeeds.

    A block that raises, or a process that is killed, leaves no `target`. What a killed process
    left is swept away by the next call for the same target: one writer per target at a time.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for stale in target.parent.glob(f".{target.name}.making-*"):
        shutil.rmtree(stale, ignore_errors=True)
    making = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.making-"))
    try:
        yield making
        making.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        making.rename(target)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def require_free_space(folder: Path, needed_bytes: int, *, what: str) -> None:
    """Refuse work that would fill the disk.

    Raises:
        ResourceError: fewer than `needed_bytes` are free where `folder` is or will be.
    """
    existing = folder
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < needed_bytes:
        raise ResourceError(
            f"{what} needs {needed_bytes / 1e6:.0f} MB under {folder}, but only "
            f"{free / 1e6:.0f} MB are free; free some space or set GREENLIGHT_HOME elsewhere"
        )
