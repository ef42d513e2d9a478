"""Real SSH hosts for tests: each an sshd in a network namespace of its own, with a link to cut.

The hosts share this machine's disks and process numbers, so a test can look at what a host holds.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from greenlight.adapters.processes import LeashedProcess
from greenlight.core.errors import UnavailableError
from greenlight.deploy.fleet import SshAccess

PREFIX = "greenlight"
FOLDER = "greenlight-ssh-"
_NAMESPACE = re.compile(rf"^{PREFIX}-(\d+)-\w+", re.MULTILINE)
PORT = 22
READY_S = 15.0
PRIVILEGE_SEPARATION = Path("/run/sshd")
"""sshd does not start without this folder; its service would make it."""
CONFIG = """\
Port {port}
ListenAddress {address}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AllowAgentForwarding no
StrictModes no
UsePAM no
LogLevel ERROR
Subsystem sftp internal-sftp
SetEnv HOME={folder}
"""
"""The home is empty, so that nobody's shell start-up files take part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SshHost:
    """One running host. `root`: an empty folder for its models and slots."""

    namespace: str
    address: str
    access: SshAccess
    root: Path

    def cut(self) -> None:
        """Take the host's end of the link down: packets vanish, nobody is told."""
        _ip("-n", self.namespace, "link", "set", "eth0", "down")

    def mend(self) -> None:
        """Bring the link up again; returns when the host answers."""
        _ip("-n", self.namespace, "link", "set", "eth0", "up")
        _await_banner(self.address)


def why_no_ssh_hosts() -> str | None:
    """Return what this machine lacks for SSH hosts, or `None`."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program in ("ip", "sshd", "ssh-keygen"):
        if shutil.which(program) is None:
            return f"there is no {program}"
    name = f"{PREFIX}-{os.getpid()}-probe"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    if made.returncode != 0:
        return f"network namespaces are not allowed: {made.stderr.decode().strip()}"
    _ip("netns", "delete", name)
    return None


@contextmanager
def ssh_hosts(count: int = 2) -> Iterator[tuple[SshHost, ...]]:
    """Yield running hosts. Namespaces, links, processes and folders are gone afterwards.

    What a killed test run left is removed first; hosts of other runs stay.
    """
    _sweep()
    with (
        tempfile.TemporaryDirectory(
            prefix=f"{FOLDER}{os.getpid()}-", ignore_cleanup_errors=True
        ) as folder,
        ExitStack() as stack,
    ):
        yield tuple(stack.enter_context(_host(Path(folder), n)) for n in range(count))


@contextmanager
def _host(parent: Path, number: int) -> Iterator[SshHost]:
    token = secrets.token_hex(3)
    folder = parent / f"host-{number}"
    (folder / "root").mkdir(parents=True)
    with (
        _namespace(f"{PREFIX}-{os.getpid()}-{token}") as namespace,
        contextlib.closing(_Link(namespace, token)) as link,
    ):
        access = _keys(folder, link.host)
        with (
            (folder / "sshd.log").open("wb") as output,
            LeashedProcess(
                ["ip", "netns", "exec", namespace, str(shutil.which("sshd")), "-D", "-e",
                 "-f", str(folder / "sshd_config")],
                stdout=output,
            ) as sshd,
        ):  # fmt: skip
            _await_banner(link.host, alive=lambda: sshd.poll() is None)
            yield SshHost(
                namespace=namespace, address=link.host, access=access, root=folder / "root"
            )


class _Link:
    """A pair of interfaces, one end here and one in a namespace, in a network of two addresses."""

    def __init__(self, namespace: str, token: str) -> None:
        # 198.18.0.0/15 is set aside for tests of networks (RFC 2544): nobody routes it.
        block = secrets.randbelow(2**13)
        third, fourth = divmod(block * 4, 256)
        ours, self.host = (f"198.18.{third}.{fourth + n}" for n in (1, 2))
        self._name = f"gl{token}"
        _ip("link", "add", self._name, "type", "veth",
            "peer", "name", "eth0", "netns", namespace)  # fmt: skip
        _ip("address", "add", f"{ours}/30", "dev", self._name)
        _ip("link", "set", self._name, "up")
        inside = ("-n", namespace)
        _ip(*inside, "address", "add", f"{self.host}/30", "dev", "eth0")
        _ip(*inside, "link", "set", "eth0", "up")
        _ip(*inside, "link", "set", "lo", "up")

    def close(self) -> None:
        """Delete both ends."""
        subprocess.run(["ip", "link", "delete", self._name], capture_output=True, check=False)


@contextmanager
def _namespace(name: str) -> Iterator[str]:
    _ip("netns", "add", name)
    try:
        yield name
    finally:
        _delete(name)


def _delete(namespace: str) -> None:
    """End what runs in a namespace, then delete it; its end of a link goes with it."""
    for _ in range(50):
        pids = _ip("netns", "pids", namespace).split()
        if not pids:
            break
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.05)
    _ip("netns", "delete", namespace)


def _sweep() -> None:
    for found in _NAMESPACE.finditer(_ip("netns", "list")):
        if not Path(f"/proc/{found[1]}").exists():
            _delete(found[0])
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*-*"):
        if not Path(f"/proc/{folder.name.removeprefix(FOLDER).split('-')[0]}").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _keys(folder: Path, address: str) -> SshAccess:
    PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
    for name in ("host_key", "user_key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True
        )
    shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
    kind, key, *_ = (folder / "host_key.pub").read_text().split()
    (folder / "known_hosts").write_text(f"{address} {kind} {key}\n")
    config = CONFIG.format(port=PORT, address=address, folder=folder)
    (folder / "sshd_config").write_text(config)
    return SshAccess(
        user="root",
        port=PORT,
        key_file=folder / "user_key",
        known_hosts=folder / "known_hosts",
    )


def _await_banner(address: str, *, alive: Callable[[], bool] = lambda: True) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and alive():
        with (
            contextlib.suppress(OSError),
            socket.create_connection((address, PORT), timeout=2) as link,
        ):
            if link.recv(4) == b"SSH-":
                return
        time.sleep(0.05)
    raise UnavailableError(f"sshd on {address} does not answer")


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UnavailableError(f"ip {' '.join(arguments)} failed: {done.stderr.strip()}")
    return done.stdout
