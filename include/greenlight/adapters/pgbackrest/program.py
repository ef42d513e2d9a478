"""Run pgBackRest as the account that owns a cluster, in that cluster's home."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from greenlight.adapters.pgbackrest.config import FOLDER, STANZA, Repository, render
from greenlight.adapters.pgbackrest.failures import LOCKED, failure
from greenlight.adapters.processes import LeashedProcess
from greenlight.adapters.stack import postgres
from greenlight.core.clock import Clock, SystemClock
from greenlight.core.errors import ConfigError

log = logging.getLogger(__name__)

PROGRAM = "pgbackrest"
LOCK_WAIT_S = 20.0
"""A run that was killed needs up to ten seconds to end."""
LOCK_POLL_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a command wrote, when it succeeded. Bytes that are no text are marked."""

    answer: str
    log: str


class Program:
    """pgBackRest for one cluster. Not for two threads at once: the cluster's handle is one."""

    def __init__(
        self,
        cluster: postgres.Cluster,
        *,
        port: int | None = None,
        processes: int = 1,
        clock: Clock = SystemClock(),  # noqa: B008 - stateless
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`port`: of the running server, by which it is asked; none: it is never asked.

        Raises:
            ConfigError: pgBackRest is not installed.
        """
        if shutil.which(PROGRAM, path=postgres.ENVIRONMENT["PATH"]) is None:
            raise ConfigError(f"pgBackRest is not installed; {postgres.INSTALL_HINT}")
        self.cluster = cluster
        self._port = port
        self._processes = processes
        self.clock = clock
        self.sleep = sleep

    def elsewhere(self, cluster: postgres.Cluster) -> Program:
        """Return the same for a cluster that no server runs."""
        return Program(cluster, processes=self._processes, clock=self.clock, sleep=self.sleep)

    def configure(self, name: str, repositories: Sequence[Repository], *, home: Path) -> Path:
        """Write the file `name` for some repositories, and return it as the account reaches it.

        Raises:
            ConfigError: a secret or a certificate can't be read.
        """
        text = render(repositories, home=home, port=self._port, processes=self._processes)
        folder = self.cluster.home / FOLDER
        for part in (folder, folder / "lock", folder / "spool"):
            if not part.exists():
                part.mkdir(mode=0o700)
                postgres.give(self.cluster, part)
        for repository in repositories:
            if repository.ca_name:
                self._write(folder / repository.ca_name, _ca(repository))
        self._write(folder / name, text)
        return home / FOLDER / name

    def run(self, repository: Repository, command: str, *arguments: str) -> Output:
        """Run a command on one repository.

        Raises:
            GreenlightError: it failed; which error says what to do.
        """
        doing = f"region {repository.region}: pgbackrest {command}"
        deadline = self.clock.monotonic() + LOCK_WAIT_S
        while True:
            code, output = self._run_once(repository, command, *arguments)
            if code != LOCKED or self.clock.monotonic() >= deadline:
                break
            self.sleep(LOCK_POLL_S)
        if code:
            raise failure(code, output.log, doing=doing, passphrase=repository.passphrase_file)
        for line in output.log.splitlines():
            if line.startswith("WARN"):
                log.warning("%s: %s", doing, line)
        return output

    def _write(self, path: Path, text: str) -> None:
        """Write what has changed only: a push may read the file at this moment."""
        if not path.exists() or path.read_text() != text:
            postgres.write_private(self.cluster, path, text)

    def _run_once(
        self, repository: Repository, command: str, *arguments: str
    ) -> tuple[int, Output]:
        postgres.own_folder(self.cluster)
        with (
            postgres.opened(self.cluster) as (home, handles),
            tempfile.TemporaryFile() as answer,
            tempfile.TemporaryFile() as said,
        ):
            config = self.configure(f"{repository.region}.conf", [repository], home=home)
            words = [PROGRAM, f"--config={config}", f"--stanza={STANZA}", command, *arguments]
            with LeashedProcess(
                [*postgres.become(self.cluster.account), *words],
                env=postgres.ENVIRONMENT,
                cwd=Path("/"),
                stdout=answer,
                stderr=said,
                pass_fds=handles,
            ) as process:
                code = process.wait()
            return code, Output(answer=_text(answer), log=_text(said))


def _ca(repository: Repository) -> str:
    path = repository.store.ca_file
    assert path is not None
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"region {repository.region}: ca_file can't be read: {error}") from error


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
