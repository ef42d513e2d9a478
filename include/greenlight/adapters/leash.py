"""Run a command that must not outlive its parent: `python leash.py PID -- COMMAND…`.

A task that is killed with SIGKILL runs no clean-up, so clean-up can't be the task's business. This
process asks the kernel for SIGTERM when its parent's thread ends (`prctl(2)`, PR_SET_PDEATHSIG),
and then ends everything the command started: first SIGTERM, after `GRACE_S` SIGKILL. The same
happens to what a command leaves behind when it ends.

It leads a session of its own, so the group is the command and its descendants; and it adopts
orphans (PR_SET_CHILD_SUBREAPER), so a descendant that left the group is still found. Should
the leash itself be killed, the kernel kills the command.

Runs as a script with `python -I -S`: nothing but the standard library, no import path.

Exits with the command's code, or 128 + N when signal N ended the command.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

GRACE_S = 10.0
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PARENT_GONE = 125

_libc = ctypes.CDLL(None, use_errno=True)


def main(arguments: list[str]) -> int:
    """Run the command after `--` and return its exit code."""
    parent, command = int(arguments[0]), arguments[arguments.index("--") + 1 :]
    signal.signal(signal.SIGTERM, _end_on_signal)
    signal.signal(signal.SIGINT, _end_on_signal)
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        return PARENT_GONE  # it died before prctl: nobody would ever tell us
    # what we were given is the command's too; descriptors of our own close by themselves
    code = subprocess.Popen(command, close_fds=False, preexec_fn=_die_with(os.getpid())).wait()
    end_descendants(grace_s=GRACE_S)
    return code if code >= 0 else 128 - code


def end_descendants(*, grace_s: float) -> None:
    """End every descendant of this process: SIGTERM, and SIGKILL to what is left after `grace_s`.

    The group is signalled as a whole (this process ignores what it sends itself); a descendant that
    left the group is signalled when, orphaned, it has become a child of this process.
    """
    if not _reap():
        return
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    asked: set[int] = set()
    deadline = time.monotonic() + grace_s
    while _reap() and time.monotonic() < deadline:
        for pid in _children() - asked:
            asked.add(pid)
            _send(pid, signal.SIGTERM)
        time.sleep(0.05)
    while _reap():
        for pid in _children():
            _send(pid, signal.SIGKILL)
        time.sleep(0.01)


def _end_on_signal(number: int, frame: FrameType | None) -> None:
    """End everything, and then this process, as if by the signal."""
    del frame
    end_descendants(grace_s=GRACE_S)
    os._exit(128 + number)


def _die_with(leash: int) -> Callable[[], None]:
    """Return what the command does before it starts: tie itself to the leash."""

    def tie() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != leash:
            os._exit(PARENT_GONE)

    return tie


def _reap() -> bool:
    """Collect what has ended and return whether a child, adopted ones included, still runs."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True


def _children() -> set[int]:
    own = os.getpid()
    return {int(pid) for pid in Path(f"/proc/{own}/task/{own}/children").read_text().split()}


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
