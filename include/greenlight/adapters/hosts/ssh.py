"""A host over SSH: keys only, a known host key only, and a dead link is noticed."""

from __future__ import annotations

import asyncio
import shlex
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import asyncssh

from greenlight.adapters.hosts.agent.ground import CHUNK
from greenlight.adapters.hosts.transport import Done
from greenlight.core.digest import FileEntry
from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.deploy.fleet import SshAccess

Result = TypeVar("Result")

PIECE_S = 120.0
"""How long the host may take for one piece of a copy while its SSH server still answers."""
BLOCK = 32 << 10
"""Bytes. What every SFTP server takes in one request."""
MISSED = 2
"""Questions of the keepalive that may stay unanswered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SshLimits:
    """Seconds: to connect and log in, and of silence after which a link counts as dead."""

    connect_s: float = 10.0
    silence_s: float = 12.0


class SshTransport:
    """`transport.Transport` over one SSH connection, which is opened again after a loss.

    asyncssh lives in a thread of its own, so that the keepalive also runs between calls.
    """

    python = "python3"

    def __init__(
        self,
        address: str,
        access: SshAccess,
        *,
        limits: SshLimits = SshLimits(),
    ) -> None:
        self._address, self._access, self._limits = address, access, limits
        self._where = f"{access.user}@{address}:{access.port}"
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._opening = asyncio.Lock()
        self._connection: asyncssh.SSHClientConnection | None = None

    def run(self, argv: Sequence[str], *, stdin: bytes, timeout_s: float) -> Done:
        """Run a command; the login shell on the host sees every argument quoted."""
        return self._in_loop(self._run(shlex.join(argv), stdin, timeout_s))

    def upload(
        self,
        source: Path,
        target: str,
        *,
        entry: FileEntry,
        offset: int,
        on_bytes: Callable[[int], None],
    ) -> None:
        """Copy a file by SFTP."""
        self._in_loop(self._upload(source, target, offset, on_bytes))

    def close(self) -> None:
        """End the connection and its thread."""
        with self._starting:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._disconnect(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def _in_loop(self, work: Coroutine[Any, Any, Result]) -> Result:
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name=f"ssh {self._where}", daemon=True
                )
                self._thread.start()
            future = asyncio.run_coroutine_threadsafe(self._translated(work), self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def _translated(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Await, and raise asyncssh's errors as ours."""
        try:
            return await work
        except asyncssh.HostKeyNotVerifiable as error:
            raise ConfigError(
                f"the key that {self._where} shows is not in {self._access.known_hosts}; compare "
                "its fingerprint on the host, then add the key there"
            ) from error
        except asyncssh.PermissionDenied as error:
            raise ConfigError(
                f"{self._where} does not accept {self._access.key_file}; add the public key to the "
                "user's authorized_keys"
            ) from error
        except asyncssh.KeyImportError as error:
            raise ConfigError(f"{self._access.key_file} can't be used: {error}") from error
        except (asyncssh.Error, OSError, TimeoutError) as error:
            raise UnavailableError(f"the link to {self._where} broke: {_said(error)}") from error

    async def _connected(self) -> asyncssh.SSHClientConnection:
        async with self._opening:
            if self._connection is None or self._connection.is_closed():
                for file in (self._access.key_file, self._access.known_hosts):
                    if not file.is_file():
                        raise ConfigError(f"{self._where}: there is no file {file}")
                self._connection = await asyncssh.connect(
                    self._address,
                    self._access.port,
                    username=self._access.user,
                    client_keys=[str(self._access.key_file)],
                    known_hosts=str(self._access.known_hosts),
                    preferred_auth="publickey",
                    config=None,
                    agent_path=None,
                    agent_forwarding=False,
                    connect_timeout=self._limits.connect_s,
                    login_timeout=self._limits.connect_s,
                    keepalive_interval=self._limits.silence_s / (MISSED + 1),
                    keepalive_count_max=MISSED,
                )
            return self._connection

    async def _run(self, command: str, stdin: bytes, timeout_s: float) -> Done:
        connection = await self._connected()
        async with asyncio.timeout(timeout_s):
            done = await connection.run(command, input=stdin, encoding=None, check=False)
        if done.returncode is None:
            raise UnavailableError(f"the link to {self._where} broke while a command ran")
        assert isinstance(done.stdout, bytes)  # no encoding was asked for
        assert isinstance(done.stderr, bytes)
        return Done(code=done.returncode, stdout=done.stdout, stderr=done.stderr)

    async def _upload(
        self, source: Path, target: str, offset: int, on_bytes: Callable[[int], None]
    ) -> None:
        connection = await self._connected()
        async with connection.start_sftp_client() as sftp:
            mode = "r+b" if offset else "wb"
            with source.open("rb") as reader:
                async with sftp.open(target, mode, encoding=None, block_size=0) as writer:
                    await writer.truncate(offset)
                    reader.seek(offset)
                    while chunk := reader.read(CHUNK):
                        async with asyncio.timeout(PIECE_S):
                            await _write(writer, chunk, offset)
                        offset += len(chunk)
                        on_bytes(offset)

    async def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.abort()
            await self._connection.wait_closed()
            self._connection = None


async def _write(writer: asyncssh.SFTPClientFile, chunk: bytes, offset: int) -> None:
    """Write a piece with all its blocks under way at once, and wait for every one of them."""
    written = await asyncio.gather(
        *(writer.write(chunk[at : at + BLOCK], offset + at) for at in range(0, len(chunk), BLOCK)),
        return_exceptions=True,
    )
    for result in written:
        if isinstance(result, BaseException):
            raise result


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__
