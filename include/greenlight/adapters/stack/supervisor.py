"""Start, recognize and end services that outlive the command that started them.

A service leads a session of its own. Its pid file holds the process id *and* the start time the
kernel recorded: after a reboot or a crash the number may belong to somebody else, and nothing is
ever signalled on the number alone.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from greenlight.adapters.stack.services import (
    FAREWELLS,
    Audience,
    Farewell,
    Service,
    ServiceName,
)
from greenlight.core.errors import UnavailableError
from greenlight.core.files import write_json
from greenlight.core.types import Value

LOG_LIMIT_BYTES = 20_000_000
POLL_S = 0.1
KILL_WAIT_S = 10.0


class Record(Value):
    """What the pid file says."""

    pid: int
    identity: str
    """Boot id and start time: what makes the number a process."""
    digest: str
    """What it was started with."""
    started_at: float
    """Unix seconds."""
    log_offset: int
    """Where this start's part of the log begins, in bytes."""


def identity(pid: int) -> str | None:
    """Return what tells this process from an earlier one of the same number; none: no process.

    A zombie counts as gone.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else f"{boot}:{fields[19]}"


class Supervisor:
    """The pid files in `run` and the logs in `logs`."""

    def __init__(self, *, run: Path, logs: Path) -> None:
        self.run = run
        self.logs = logs
        self._children: dict[ServiceName, subprocess.Popen[bytes]] = {}

    def log(self, name: ServiceName) -> Path:
        """Where the service's output goes."""
        return self.logs / f"{name}.log"

    def running(self, name: ServiceName) -> Record | None:
        """Return the record of a service whose process is the one that was started."""
        self._reap(name)
        record = self._read(name)
        return record if record and identity(record.pid) == record.identity else None

    def start(self, service: Service, *, pass_fds: Sequence[int] = ()) -> Record:
        """Start a service in a session of its own and write its pid file."""
        self.run.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        path = self.log(service.name)
        if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
            path.replace(path.with_suffix(".log.1"))
        with path.open("ab") as output:
            offset = output.tell()
            child = subprocess.Popen(
                service.command,
                env=dict(service.environment),
                cwd=service.cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=pass_fds,
            )
        self._children[service.name] = child
        record = Record(
            pid=child.pid,
            identity=identity(child.pid) or "ended at once",
            digest=service.digest,
            started_at=time.time(),
            log_offset=offset,
        )
        write_json(self._pid_file(service.name), record.model_dump())
        return record

    def stop(self, names: Sequence[ServiceName], *, grace_s: float) -> None:
        """Ask services to end, together; whatever is left after `grace_s` seconds is killed.

        Raises:
            UnavailableError: a process survived SIGKILL (it hangs in the kernel).
        """
        told: list[tuple[ServiceName, Record, list[psutil.Process]]] = []
        for name in names:
            record = self._read(name)
            members = list(self._members(record)) if record else []
            if record and members:
                told.append((name, record, members))
                farewell = FAREWELLS.get(name, Farewell())
                for process in members:
                    if _is_asked(process.pid, record.pid, farewell.audience):
                        is_leader = process.pid == record.pid
                        _signal(process, farewell.number if is_leader else farewell.to_others)
        deadline = time.monotonic() + grace_s
        for name, record, members in told:
            while self._left(name, record, members) and time.monotonic() < deadline:
                time.sleep(POLL_S)
            self._kill(name, record, members)
        for name in names:
            self._pid_file(name).unlink(missing_ok=True)

    def exit_reason(self, name: ServiceName) -> str:
        """Say how a service that should run ended, with the last lines of its log."""
        child = self._children.get(name)
        code = child.poll() if child else None
        ended = "is not running" if code is None else f"ended with exit code {code}"
        return f"{name} {ended}; the end of {self.log(name)}:\n{self.tail(name)}"

    def tail(self, name: ServiceName, *, lines: int = 12) -> str:
        """Return the last lines the service wrote since its last start."""
        path, record = self.log(name), self._read(name)
        if not path.exists():
            return "  (no log)"
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            end = file.tell()
            begin = record.log_offset if record and record.log_offset <= end else 0
            file.seek(max(begin, end - 20_000))
            text = file.read().decode(errors="replace")
        return "\n".join(f"  {line}" for line in text.splitlines()[-lines:]) or "  (empty)"

    def listens(self, name: ServiceName, port: int) -> bool:
        """Return whether the listener on `port` belongs to this service and nobody else."""
        record = self.running(name)
        return record is not None and any(
            connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
            for process in self._members(record)
            for connection in _connections(process)
        )

    def _pid_file(self, name: ServiceName) -> Path:
        return self.run / f"{name}.json"

    def _read(self, name: ServiceName) -> Record | None:
        try:
            return Record.model_validate(json.loads(self._pid_file(name).read_text()))
        except (FileNotFoundError, ValueError):
            return None

    def _reap(self, name: ServiceName) -> None:
        if child := self._children.get(name):
            child.poll()

    def _members(self, record: Record) -> Iterator[psutil.Process]:
        """Yield the leader, then the rest of its session and its descendants elsewhere.

        The kernel gives no number away while a session carries it, so a session whose leader died
        is still ours; a leader with another start time is a stranger, and so is its session.
        """
        found = identity(record.pid)
        if found not in (None, record.identity):
            return
        seen: set[int] = set()
        if found:
            leader = psutil.Process(record.pid)
            for process in [leader, *leader.children(recursive=True)]:
                seen.add(process.pid)
                yield process
        elif not record.identity.startswith(_boot()):
            return
        for process in psutil.process_iter():
            if process.pid not in seen and _session(process.pid) == record.pid:
                yield process

    def _left(
        self, name: ServiceName, record: Record, members: list[psutil.Process]
    ) -> list[psutil.Process]:
        self._reap(name)
        known = {p.pid: p for p in members}
        known |= {p.pid: p for p in self._members(record)}
        return [p for p in known.values() if _is_alive(p)]

    def _kill(self, name: ServiceName, record: Record, members: list[psutil.Process]) -> None:
        deadline = time.monotonic() + KILL_WAIT_S
        while left := self._left(name, record, members):
            if time.monotonic() > deadline:
                pids = ", ".join(str(p.pid) for p in left)
                raise UnavailableError(
                    f"{name}: process {pids} survives SIGKILL; it hangs in the kernel, which a "
                    f"full or broken disk can cause"
                )
            for process in left:
                _signal(process, signal.SIGKILL)
            time.sleep(POLL_S)


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _is_asked(pid: int, leader: int, audience: Audience) -> bool:
    if audience is Audience.SESSION or pid == leader:
        return True
    try:
        same_session, same_group = os.getsid(pid) == leader, os.getpgid(pid) == leader
    except (ProcessLookupError, PermissionError):
        return False
    return audience is Audience.OTHER_GROUPS_TOO and same_session and not same_group


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _connections(process: psutil.Process) -> list[psutil._common.pconn]:
    try:
        return list(process.net_connections(kind="tcp"))
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []
