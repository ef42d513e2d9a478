"""Runs restic on one region's repository, never for longer than the store answers.

restic itself waits: a quarter of an hour for a store that is away, for ever for one that accepts
connections and says nothing, three quarters of a minute for each object that is missing. So the
store is asked first, and again and again while restic works, and restic is stopped when the store
stays away or when the same object fails again and again. What it said becomes one of our errors.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from greenlight.adapters import s3
from greenlight.adapters.processes import LeashedProcess
from greenlight.adapters.restic.output import NETWORK, Ended, asks_in_vain
from greenlight.backup.backup_file import S3Store
from greenlight.core.errors import (
    ConfigError,
    GreenlightError,
    InputError,
    ResourceError,
    UnavailableError,
)

PREFIX = "restic/"
PROGRAM = "restic"
POLL_S = 0.5
LOCK_POLL_S = 5.0
NO_ROOM_BYTES = 64 << 10
PASSED_ON = ("PATH", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")
OF_ROLES = "AWS_"


class ResticRepository:
    """One region's repository."""

    def __init__(
        self,
        store: S3Store,
        *,
        region: str,
        password_file: Path,
        folder: Path,
        environment: Mapping[str, str],
        patience_s: float = 60.0,
        lock_wait_s: float = 600.0,
    ) -> None:
        """Read the keys; nobody is asked yet.

        `folder` holds restic's cache and what a call needs while it runs. `environment`: ours, of
        which restic gets what it needs. `patience_s`: the store may be away for so long while
        restic works. `lock_wait_s`: another process may hold the repository for so long.

        Raises:
            ConfigError: restic is not installed, or a key can't be read.
        """
        self.region = region
        self._store, self._keys, self._client = store, s3.read_keys(store), s3.open_client(store)
        self._password_file = password_file
        self._folder = folder
        self._environment = environment
        self._patience_s, self._lock_wait_s = patience_s, lock_wait_s
        self._program = find_program(environment)

    def reach(self) -> None:
        """Return when the store answers and lets us in.

        Raises:
            UnavailableError: it doesn't answer.
            ConfigError: it refuses us.
        """
        s3.reach(self._client, self._store, prefix=PREFIX)

    def objects(self, kind: str = "") -> Iterator[str]:
        """Yield the names of the repository's objects of one kind, such as `snapshots/`."""
        for key in s3.keys_under(self._client, self._store, prefix=f"{PREFIX}{kind}"):
            yield key.removeprefix(PREFIX)

    def object(self, name: str) -> bytes | None:
        """Return one object; none: it isn't there."""
        return s3.get(self._client, self._store, key=f"{PREFIX}{name}")

    def keep(self, name: str, body: bytes) -> None:
        """Write an object of ours beside restic's."""
        s3.put(self._client, self._store, key=f"{PREFIX}{name}", body=body)

    def remove(self, name: str) -> None:
        """Delete one object, without asking restic."""
        s3.delete(self._client, self._store, key=f"{PREFIX}{name}")

    def call(self, *arguments: str, cwd: Path | None = None) -> Ended:
        """Run a command, with the cache, and wait for whoever holds the repository.

        Raises:
            UnavailableError: the store is away, or somebody holds the repository for too long.
            ConfigError: the store refuses us.
        """
        return self._unlocked(arguments, cwd=cwd, fresh=False)

    def read(self, *arguments: str) -> Ended:
        """Run a command that changes nothing, with everything it reads from the store itself.

        It needs no right to write: where no lock can be written, it runs without one.
        """
        ended = self._unlocked(arguments, cwd=None, fresh=True)
        if ended.could_not_lock:
            return self._once(("--no-lock", *arguments), cwd=None, fresh=True)
        return ended

    def failure(self, ended: Ended) -> GreenlightError:
        """Return the error that a call's end stands for.

        Raises:
            UnavailableError: the store is away, which explains it.
            ConfigError: the store refuses us, which explains it.
        """
        self.reach()
        text = "\n".join(ended.complaints)
        last = (ended.complaints or (f"exit code {ended.code} without a word",))[-1]
        if "Access Denied" in text:
            return ConfigError(f"{s3.place(self._store)} does not let restic in: {last}")
        if "wrong password or no key found" in text:
            return self._no_key()
        if "no space left on device" in text:
            return self._no_room(last)
        if "PutObject" in text and not NETWORK.search(text):
            return ResourceError(f"{s3.place(self._store)} {s3.takes_nothing(last)}")
        if "unable to open config file" in text:
            return InputError(f"{self._who}: there is no repository: {last}")
        if damage := ended.damage:
            return InputError(f"{self._who}: {'; '.join(damage[:5])}")
        return UnavailableError(f"{self._who} failed: {last}")

    @property
    def _who(self) -> str:
        return f"restic in region {self.region}"

    def _no_key(self) -> GreenlightError:
        """Tell a wrong password from a lost key: restic has one sentence for both."""
        if next(self.objects("keys/"), None) is None:
            return InputError(f"{self._who}: the repository's key (restic/keys/) is gone")
        return ConfigError(
            f"{self._who}: the password in {self._password_file} doesn't open the repository; put "
            f"the one back that it was made with"
        )

    def _is_full(self) -> bool:
        return shutil.disk_usage(self._folder).free < NO_ROOM_BYTES

    def _no_room(self, why: OSError | str) -> ResourceError:
        return ResourceError(
            f"{self._who}: this machine's disk is full under {self._folder}: {why}; make room"
        )

    @contextlib.contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise self._no_room(error) from error

    def _unlocked(self, arguments: tuple[str, ...], *, cwd: Path | None, fresh: bool) -> Ended:
        """Run a command when nobody holds the repository. Locks of the dead are removed."""
        deadline = time.monotonic() + self._lock_wait_s
        pause_s = 0.0
        while True:
            self.reach()
            ended = self._once(arguments, cwd=cwd, fresh=fresh)
            if ended.locked is None:
                return ended
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"{self._who}: {ended.locked}, for longer than {self._lock_wait_s:g} s; "
                    f"the lock of a process that died on another machine lapses after 30 minutes"
                )
            time.sleep(pause_s)
            self._once(("unlock",), cwd=None, fresh=False)
            pause_s = LOCK_POLL_S

    def _once(self, arguments: tuple[str, ...], *, cwd: Path | None, fresh: bool) -> Ended:
        with self._room(), self._scratch() as scratch:
            cache = scratch / "cache" if fresh else self._folder / "cache"
            cache.mkdir(exist_ok=True)
            command = [self._program, *self._options(cache), *arguments]
            stdout, stderr = scratch / "stdout", scratch / "stderr"
            with (
                stdout.open("wb") as out,
                stderr.open("wb") as err,
                LeashedProcess(
                    command, env=self._settings(scratch), cwd=cwd or scratch, stdout=out, stderr=err
                ) as process,
            ):
                code = self._follow(process, stderr)
            ended = Ended(code=code, stdout=_text(stdout), stderr=_text(stderr))
            if code and not ended.stderr and self._is_full():
                raise self._no_room("restic had no room for a word")
            return ended

    def _follow(self, process: LeashedProcess, stderr: Path) -> int | None:
        """Return the exit code; `None` when restic asked in vain, and leaving the block stops it.

        Raises:
            UnavailableError: the store stayed away.
            ResourceError: the disk here stayed full; restic 0.14 may wait for ever then.
        """
        asked_at = full_at = time.monotonic()
        away_since = None
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(POLL_S)
            if asks_in_vain(_text(stderr)):
                return None
            now = time.monotonic()
            full_at = full_at if self._is_full() else now
            if now - full_at >= self._patience_s:
                raise self._no_room("restic doesn't go on")
            if now - asked_at < self._patience_s / 4:
                continue
            try:
                self.reach()
            except UnavailableError:
                away_since = away_since or now
                if time.monotonic() - away_since >= self._patience_s:
                    raise
            else:
                away_since = None
            asked_at = time.monotonic()

    def _options(self, cache: Path) -> list[str]:
        lookup = "path" if self._store.path_style else "auto"
        options = ["--cache-dir", str(cache), "-o", f"s3.bucket-lookup={lookup}"]
        if self._store.ca_file is not None:
            options += ["--cacert", str(self._store.ca_file.absolute())]
        return options

    def _settings(self, scratch: Path) -> dict[str, str]:
        """Return the whole environment. Keys of ours keep those of the environment away."""
        ours = self._environment
        settings = {name: ours[name] for name in PASSED_ON if name in ours} | {
            "RESTIC_REPOSITORY": f"s3:{self._store.endpoint}/{self._store.bucket}/{PREFIX}",
            "RESTIC_PASSWORD_FILE": str(self._password_file.absolute()),
            "RESTIC_PROGRESS_FPS": "0.1",
            "TMPDIR": str(scratch),
            "TZ": "UTC",
        }
        if self._keys is None:
            settings |= {name: ours[name] for name in ours if name.startswith(OF_ROLES)}
        else:
            settings |= {
                "AWS_ACCESS_KEY_ID": self._keys.access,
                "AWS_SECRET_ACCESS_KEY": self._keys.secret,
            }
        return settings | {"AWS_DEFAULT_REGION": self._store.region}

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[Path]:
        """Yield a folder for one call; what calls that were killed left is swept away first."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in self._folder.iterdir():
            owner = left.name.partition("-")[0]
            if owner.isdigit() and not psutil.pid_exists(int(owner)):
                shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(dir=self._folder, prefix=f"{os.getpid()}-"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def find_program(environment: Mapping[str, str]) -> str:
    """Return where restic is.

    Raises:
        ConfigError: it isn't installed.
    """
    found = shutil.which(PROGRAM, path=environment.get("PATH", os.defpath))
    if found is None:
        raise ConfigError("restic is not installed; `scripts/setup system` installs it")
    return found


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
