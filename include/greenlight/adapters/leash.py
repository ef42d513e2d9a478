"""Run a command that must not outlive its parent: `python -m greenlight.adapters.leash PID -- …`.

A task that is killed with SIGKILL runs no clean-up, so clean-up can't be the task's business. This
process asks the kernel for SIGTERM when its parent's thread ends (`prctl(2)`, PR_SET_PDEATHSIG),
and then ends its whole process group: first SIGTERM, after `GRACE_S` SIGKILL. It is started as the
leader of a new session, so the group is the command and everything the command started.

Exits with the command's code, or 128 + N when signal N ended the command.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from types import FrameType

GRACE_S = 10.0
PR_SET_PDEATHSIG = 1
PARENT_GONE = 125


def main(arguments: list[str]) -> int:
    """Run the command after `--` and return its exit code."""
    parent, command = int(arguments[0]), arguments[arguments.index("--") + 1 :]
    signal.signal(signal.SIGTERM, _end_group)
    signal.signal(signal.SIGINT, _end_group)
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        return PARENT_GONE  # it died before prctl: nobody would ever tell us
    code = subprocess.Popen(command).wait()
    return code if code >= 0 else 128 - code


def _end_group(number: int, frame: FrameType | None) -> None:
    """End every process of the group, this one last."""
    del number, frame
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    while time.monotonic() < deadline and _has_company():
        time.sleep(0.05)
    os.killpg(0, signal.SIGKILL)


def _has_company() -> bool:
    """Reap what has ended and return whether another process of the group still runs."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
