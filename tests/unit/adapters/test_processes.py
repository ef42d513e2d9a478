"""Nothing that a leashed command started outlives its end, its parent or its leash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import psutil

from greenlight.adapters.processes import LeashedProcess
from greenlight.testing.waiting import wait_for

FOREVER = "import time; time.sleep(60)"
PATIENCE_S = 10.0
eventually = partial(wait_for, seconds=PATIENCE_S)


def python(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-S", "-c", code, *map(str, arguments)]


def pid_in(file: Path) -> int:
    assert eventually(lambda: file.exists() and file.read_text().strip())
    return int(file.read_text())


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


WRITE_PID = "import os, sys, pathlib; pathlib.Path(sys.argv[1]).write_text(str(os.getpid()));"
START_ANOTHER = (
    "import subprocess, sys;"
    "subprocess.Popen([sys.executable, '-S', '-c', sys.argv[2], sys.argv[1]], "
    "start_new_session={session});"
)


def test_the_exit_code_is_the_commands_own() -> None:
    with LeashedProcess(python("raise SystemExit(7)")) as process:
        assert process.wait(PATIENCE_S) == 7


def test_a_command_ended_by_a_signal_exits_with_128_and_its_number() -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    with LeashedProcess(python(code)) as process:
        assert process.wait(PATIENCE_S) == 128 + signal.SIGKILL


def test_stopping_ends_the_descendants_too(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    code = START_ANOTHER.format(session=False) + FOREVER
    with LeashedProcess(python(code, file, WRITE_PID + FOREVER)):
        grandchild = pid_in(file)
    assert gone(grandchild)


def test_a_descendant_that_left_the_group_is_ended_too(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    code = START_ANOTHER.format(session=True) + FOREVER
    with LeashedProcess(python(code, file, WRITE_PID + FOREVER)):
        grandchild = pid_in(file)
        assert os.getpgid(grandchild) == grandchild
    assert gone(grandchild)


def test_what_a_finished_command_leaves_behind_is_ended(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    code = START_ANOTHER.format(session=True) + (
        "import pathlib, time\nwhile not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.01)"
    )
    with LeashedProcess(python(code, file, WRITE_PID + FOREVER)) as process:
        assert process.wait(PATIENCE_S) == 0
        assert gone(pid_in(file))


def test_stopping_twice_is_stopping_once() -> None:
    process = LeashedProcess(python(FOREVER))
    process.stop()
    process.stop()
    assert process.poll() is not None


def test_the_command_dies_when_its_parent_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    parent_code = (
        "import sys, time; from greenlight.adapters.processes import LeashedProcess;"
        "process = LeashedProcess([sys.executable, '-S', '-c', sys.argv[2], sys.argv[1]]);"
        "time.sleep(60)"
    )
    arguments = [sys.executable, "-c", parent_code, str(file), WRITE_PID + FOREVER]
    with subprocess.Popen(arguments) as parent:
        command = pid_in(file)
        parent.kill()
        assert eventually(lambda: gone(command))


def test_the_command_dies_when_its_leash_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    with LeashedProcess(python(WRITE_PID + FOREVER, file)) as process:
        command = pid_in(file)
        os.kill(process.pid, signal.SIGKILL)
        assert eventually(lambda: gone(command))
        assert process.wait(PATIENCE_S) == 128 + signal.SIGKILL


def test_an_exception_in_the_block_ends_the_command(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    try:
        with LeashedProcess(python(WRITE_PID + FOREVER, file)):
            command = pid_in(file)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert gone(command)
