"""How commands and files reach a host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from greenlight.core.digest import FileEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A command that ran to its end on the host. `code` is negative when a signal ended it."""

    code: int
    stdout: bytes
    stderr: bytes


class Transport(Protocol):
    """A link to one host. Safe to use from several threads.

    Every method raises `UnavailableError` when the link is gone, within a bounded time.
    """

    @property
    def python(self) -> str:
        """The interpreter on the host that runs the agent."""

    def run(self, argv: Sequence[str], *, stdin: bytes, timeout_s: float) -> Done:
        """Run a command on the host; its arguments arrive as they are, through no shell.

        Raises:
            ConfigError: the host refuses us, or cannot be trusted.
        """

    def upload(
        self,
        source: Path,
        target: str,
        *,
        entry: FileEntry,
        offset: int,
        on_bytes: Callable[[int], None],
    ) -> None:
        """Copy what is behind `offset` to the same place in `target`, whose folder exists.

        What `target` holds behind the offset is cut off first. `entry` is what the manifest says
        about the file; `on_bytes` is called with the bytes of the file that have arrived. A copy
        that breaks off leaves full pieces of `agent.ground.CHUNK` bytes, and a last, doubtful one.
        """

    def close(self) -> None:
        """Give the link up; the next call would open it again."""
