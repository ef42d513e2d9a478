"""Start, reload and end nginx as a child of this process."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path

import psutil
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from greenlight.adapters.nginx.config import render_modsecurity, render_nginx
from greenlight.adapters.processes import LeashedProcess, find_program
from greenlight.core.errors import ConfigError, ProcessDiedError, UnavailableError
from greenlight.core.files import write_atomically
from greenlight.gateway.edge import EdgeSettings

READY_S = 15.0
CHECK_S = 60.0
POLL_S = 0.05
ANSWER_S = 2.0
LOG_LIMIT_BYTES = 20_000_000
TAIL_LINES = 8
MODULE = "ngx_http_modsecurity_module.so"
PACKAGES = "apt install nginx libnginx-mod-http-modsecurity modsecurity-crs"


def nginx_problem(edge: EdgeSettings, *, program: str = "nginx") -> str | None:
    """Return what is missing on this machine, and how to get it; or nothing."""
    if not find_program(program):
        return f"{program} is not installed; on Debian: {PACKAGES}"
    for path in (edge.modules / MODULE, edge.rules, edge.unicode_map):
        if not path.exists():
            return f"{path} is missing; on Debian: {PACKAGES}"
    return None


def certificate_expiry(path: Path) -> datetime:
    """Return when the first certificate of a PEM file's chain ends.

    Raises:
        ConfigError: the file can't be read, or holds no certificate.
    """
    return min(certificate.not_valid_after_utc for certificate in _certificates(path))


class Nginx:
    """One nginx, run in a private folder of its own: configuration, logs, process id.

    It ends with the thread that started it. A supervisor that wants it to live on can use
    `prepare`, `command` and `reload` alone.
    """

    def __init__(
        self,
        edge: EdgeSettings,
        *,
        folder: Path,
        program: str = "nginx",
        ready_s: float = READY_S,
    ) -> None:
        self._edge = edge
        self._folder = folder
        self._program = program
        self._ready_s = ready_s
        self._child: LeashedProcess | None = None

    @property
    def url(self) -> str:
        """Where clients on this machine reach it."""
        host, port = self._reached_at()
        return f"https://{f'[{host}]' if ':' in host else host}:{port}"

    def command(self) -> list[str]:
        """Return what runs nginx in the foreground; to be run in its folder."""
        program = find_program(self._program) or self._program
        # nginx writes to its default log until it has read where it should
        return [program, "-p", f"{self._folder}/", "-c", "nginx.conf", "-e", "error.log"]

    def pid(self) -> int | None:
        """Return the id of the nginx that runs in the folder, whoever started it."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self._folder / "nginx.pid").read_text())
            if Path(f"/proc/{pid}/cwd").samefile(self._folder):
                return pid
        return None

    def prepare(self) -> None:
        """Write the configuration and let nginx check it.

        What is there is replaced only by what nginx accepts: a running one could be reloaded by
        somebody else.

        Raises:
            ConfigError: something isn't installed, or nginx refuses a setting or a certificate.
        """
        if problem := nginx_problem(self._edge, program=self._program):
            raise ConfigError(problem)
        certificate_expiry(self._edge.certificate)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        (self._folder / "temporary").mkdir(exist_ok=True)
        files = {
            "nginx.conf": render_nginx(self._edge, is_root=os.geteuid() == 0),
            "modsecurity.conf": render_modsecurity(self._edge),
        }
        kept = {name: _bytes(self._folder / name) for name in files}
        for name, text in files.items():
            write_atomically(self._folder / name, text.encode(), mode=0o600)
        if refusal := self._refusal():
            for name, before in kept.items():
                if before is not None:
                    write_atomically(self._folder / name, before, mode=0o600)
            raise ConfigError(f"nginx refuses its configuration in {self._folder}:\n{refusal}")

    def start(self) -> None:
        """Start nginx and wait until it answers with the certificate of the settings.

        Raises:
            ConfigError: see `prepare`; or an nginx already runs in the folder.
            ProcessDiedError: it ended at once, as when its port is taken; the reason is in it.
            UnavailableError: it does not answer. It is stopped.
        """
        if pid := self.pid():
            raise ConfigError(f"nginx already runs in {self._folder} as process {pid}; stop it")
        self.prepare()
        self._rotate_logs()
        self._child = LeashedProcess(self.command(), env={}, cwd=self._folder)
        try:
            self._wait("answer", self._serves_the_certificate)
        except BaseException:
            self.stop()
            raise

    def reload(self) -> None:
        """Let new workers take over, with what settings and certificate files say now.

        The old ones end when their last request or stream has. An idle connection of theirs is
        closed, which clients that keep connections must expect at any time.

        Raises:
            ConfigError: see `prepare`; nginx goes on with what it has.
            UnavailableError: no nginx runs in the folder, or it did not take over the new files.
        """
        pid = self.pid()
        if pid is None:
            raise UnavailableError(f"no nginx runs in {self._folder}; start it")
        self.prepare()
        self._rotate_logs()
        before = _workers(pid)
        _signal(pid, signal.SIGHUP)
        self._wait("take over its new configuration", lambda: _took_over(pid, before))
        self._wait("serve the new certificate", self._serves_the_certificate)

    def stop(self, *, grace_s: float = 0) -> None:
        """Take no new connection, let open requests end for `grace_s` seconds, then cut them."""
        if self._child is None:
            return
        if grace_s and (pid := self.pid()):
            _signal(pid, signal.SIGQUIT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(grace_s)
        self._child.stop()
        self._child = None

    def _rotate_logs(self) -> None:
        """Begin new ones where they have grown long: nginx opens them when it starts or reloads."""
        for path in self._folder.glob("*.log"):
            if path.stat().st_size > LOG_LIMIT_BYTES:
                path.replace(path.with_suffix(".log.1"))

    def _refusal(self) -> str | None:
        done = subprocess.run(
            [*self.command(), "-t"], cwd=self._folder, env={}, capture_output=True, text=True,
            check=False, timeout=CHECK_S,
        )  # fmt: skip
        return _end(done.stderr) if done.returncode else None

    def _serves_the_certificate(self) -> bool:
        wanted = _certificates(self._edge.certificate)[0].public_bytes(Encoding.DER)
        # Only compared, never trusted.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with (
                socket.create_connection(self._reached_at(), timeout=ANSWER_S) as plain,
                context.wrap_socket(plain) as secured,
            ):
                return secured.getpeercert(binary_form=True) == wanted
        except OSError:
            return False

    def _reached_at(self) -> tuple[str, int]:
        address = ip_address(self._edge.address)
        any_address = {4: "127.0.0.1", 6: "::1"}[address.version]
        return (any_address if address.is_unspecified else str(address)), self._edge.port

    def _wait(self, what: str, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self._ready_s
        while not holds():
            if self._child and self._child.poll() is not None:
                raise ProcessDiedError(f"nginx ended at once; its log ends with\n{self._tail()}")
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"nginx in {self._folder} did not {what} within {self._ready_s:g} s; "
                    f"its log ends with\n{self._tail()}"
                )
            time.sleep(POLL_S)

    def _tail(self) -> str:
        path = self._folder / "error.log"
        return _end(path.read_text(errors="replace") if path.exists() else "")


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"the certificate {path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} holds no certificate in PEM format: {error}") from error


def _workers(master: int) -> set[int]:
    try:
        return {child.pid for child in psutil.Process(master).children()}
    except psutil.NoSuchProcess:
        return set()


def _took_over(master: int, before: set[int]) -> bool:
    """Return whether there are new workers, and every old one has closed its door.

    An old one may accept for a moment after the first new one did, with the old certificate.
    """
    now = _workers(master)
    return bool(now - before) and all(_is_leaving(pid) for pid in now & before)


def _is_leaving(worker: int) -> bool:
    try:
        return "shutting down" in " ".join(psutil.Process(worker).cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return True


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _end(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines()[-TAIL_LINES:]) or "  (empty)"
