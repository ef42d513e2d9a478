"""Child processes in a group of their own, which end with the process that started them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from greenlight.adapters import leash

SIGNALLED = 128
SYSTEM_FOLDERS = "/usr/local/sbin:/usr/sbin"
"""Where packages put servers; not on every user's path."""


def find_program(name: str) -> str | None:
    """Return where a program is, on the path or in the system's folders; none: not installed."""
    return shutil.which(name) or shutil.which(name, path=SYSTEM_FOLDERS)


class LeashedProcess:
    """A command with its descendants, on a leash (see `adapters.leash`).

    Must be started from a thread that lives as long as the command should: the kernel ties the
    leash to the thread, not to the process.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdout: int | IO[bytes] = subprocess.DEVNULL,
        stderr: int | IO[bytes] = subprocess.STDOUT,
        pass_fds: Sequence[int] = (),
    ) -> None:
        """Start `command`. `env` is the whole environment of the child; `None` passes ours on.

        `pass_fds` are descriptors that the command gets under the same numbers.
        """
        leashed = [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), "--", *command]
        self._process = subprocess.Popen(
            leashed,
            env=dict(env) if env is not None else None,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            pass_fds=pass_fds,
        )

    @property
    def pid(self) -> int:
        """The leader of the group; also the group's id."""
        return self._process.pid

    @property
    def stdout(self) -> IO[bytes] | None:
        """The command's output, when `subprocess.PIPE` was asked for."""
        return self._process.stdout

    def poll(self) -> int | None:
        """Return the exit code, or `None` while the command runs. 128 + N: ended by signal N."""
        code = self._process.poll()
        return code if code is None or code >= 0 else SIGNALLED - code

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for the end and return the exit code, as `poll` does.

        Raises:
            subprocess.TimeoutExpired: it still runs after `timeout_s` seconds.
        """
        code = self._process.wait(timeout_s)
        return code if code >= 0 else SIGNALLED - code

    def stop(self) -> None:
        """End the whole group: SIGTERM, then SIGKILL after the leash's grace. Idempotent."""
        if self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(leash.GRACE_S + 5)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def __enter__(self) -> LeashedProcess:
        """Return the process; leaving the block stops it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the group on every path."""
        self.stop()
        if self._process.stdout is not None:
            self._process.stdout.close()
