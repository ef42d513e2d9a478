"""Start, find again and end a HAProxy that outlives the controller that started it."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import subprocess
import time
from pathlib import Path

from pydantic import ValidationError

from greenlight.adapters.haproxy.desired import RouterFolder
from greenlight.adapters.haproxy.runtime import RuntimeApi
from greenlight.adapters.processes import find_program
from greenlight.adapters.stack.supervisor import identity
from greenlight.core.errors import ConfigError, ProcessDiedError, UnavailableError
from greenlight.core.files import write_json
from greenlight.core.types import Value

log = logging.getLogger(__name__)

READY_S = 10.0
KILL_WAIT_S = 5.0
POLL_S = 0.02
LOG_LIMIT_BYTES = 20_000_000
TAIL_LINES = 8

_PID = re.compile(r"^Pid: (\d+)$", re.MULTILINE)


class Record(Value):
    """Which process is ours: its number, and the boot and start time that make it that process."""

    pid: int
    identity: str


class HaproxyProcess:
    """One HAProxy, run in its folder. Its output goes to the folder's log.

    The process has a session of its own, and no variable of our environment.
    """

    def __init__(self, folder: RouterFolder, *, program: str = "haproxy") -> None:
        self._folder = folder
        self._program = program
        self._child: subprocess.Popen[bytes] | None = None

    def pid(self) -> int | None:
        """Return the id of the process that was started, by whomever, if it still runs."""
        if self._child:
            self._child.poll()
        try:
            record = Record.model_validate_json(self._folder.record.read_text())
        except (FileNotFoundError, ValidationError):
            return None
        return record.pid if identity(record.pid) == record.identity else None

    def died(self) -> bool:
        """Return whether the process that was started is gone though nobody stopped it.

        One whose number means nothing here, as it was started in another container, answers.
        """
        if self.pid() or not self._folder.record.exists():
            return False
        try:
            RuntimeApi(self._folder.path).ask("show info")
        except UnavailableError:
            return True
        return False

    def ensure_running(self) -> bool:
        """Start HAProxy unless it runs, and wait until it answers. Return whether it was started.

        One caller at a time: hold the folder's lock.

        Raises:
            ConfigError: HAProxy isn't installed, or refuses its configuration.
            ProcessDiedError: it ended at once, as when its port is taken; the reason is in it.
            UnavailableError: it runs, but does not answer. It is left alone: it may serve.
        """
        if pid := self.pid() or self._adopt():
            self._wait_answer(pid)
            return False
        self._start()
        return True

    def stop(self, *, grace_s: float) -> None:
        """Take no new connection, let open requests end for `grace_s` seconds, then cut them.

        Raises:
            UnavailableError: the process survived SIGKILL.
        """
        steps = ((signal.SIGUSR1, grace_s), (signal.SIGTERM, KILL_WAIT_S),
                 (signal.SIGKILL, KILL_WAIT_S))  # fmt: skip
        for number, patience_s in steps:
            if not (pid := self.pid()):
                break
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            self._wait_end(patience_s)
        if pid := self.pid():
            raise UnavailableError(f"HAProxy (process {pid}) survives SIGKILL; it hangs in a call")
        self._folder.record.unlink(missing_ok=True)

    def _start(self) -> None:
        program = self._find()
        command = [program, "-db", "-f", self._folder.config.name]
        self._check(program)
        path = self._folder.log
        if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
            path.replace(path.with_suffix(".log.1"))
        with path.open("ab") as output:
            self._child = subprocess.Popen(
                command, cwd=self._folder.path, env={}, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        pid = self._child.pid
        self._remember(pid)
        self._wait_answer(pid)
        log.info("router in %s: started HAProxy as process %s", self._folder.path, pid)

    def _adopt(self) -> int | None:
        """Return the process that answers in our folder though no record says so.

        Its controller died between the start and the record.
        """
        try:
            told = RuntimeApi(self._folder.path).ask("show info")
        except UnavailableError:
            return None
        found = _PID.search(told)
        pid = int(found[1]) if found else 0
        # The number may be of another container, and mean a stranger here.
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cwd").samefile(self._folder.path):
                self._remember(pid)
                return pid
        raise UnavailableError(
            f"a HAProxy that is no process of this machine answers in {self._folder.path}; "
            "it is changed, but not started or stopped from here"
        )

    def _remember(self, pid: int) -> None:
        record = Record(pid=pid, identity=identity(pid) or "ended at once")
        write_json(self._folder.record, record.model_dump(), mode=0o600)

    def _find(self) -> str:
        found = find_program(self._program)
        if not found:
            raise ConfigError(
                f"the router needs {self._program}, which is not installed; on Debian: "
                "apt install haproxy"
            )
        return found

    def _check(self, program: str) -> None:
        done = subprocess.run(
            [program, "-c", "-f", self._folder.config.name],
            cwd=self._folder.path, env={}, capture_output=True, text=True, check=False,
            timeout=READY_S,
        )  # fmt: skip
        if done.returncode:
            raise ConfigError(f"HAProxy refuses {self._folder.config}:\n{_end(done.stderr)}")

    def _wait_answer(self, pid: int) -> None:
        runtime = RuntimeApi(self._folder.path)
        deadline = time.monotonic() + READY_S
        while True:
            if self.pid() != pid:
                raise ProcessDiedError(
                    f"HAProxy ended at once; its log {self._folder.log} ends with\n"
                    f"{_end(_text(self._folder.log))}"
                )
            try:
                told = runtime.ask("show info")
            except UnavailableError:
                told = ""
            found = _PID.search(told)
            if found and int(found[1]) == pid:
                return
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"HAProxy (process {pid}) does not answer on the socket in "
                    f"{self._folder.path} for {READY_S:g} s; see {self._folder.log}"
                )
            time.sleep(POLL_S)

    def _wait_end(self, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        while self.pid() and time.monotonic() < deadline:
            time.sleep(POLL_S)


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _end(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines()[-TAIL_LINES:]) or "  (empty)"
