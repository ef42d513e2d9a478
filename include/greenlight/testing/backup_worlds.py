"""A small home with real databases, a real MLflow and two real regions, to be backed up and harmed.

Everything is real but its size: one model of a few files, and a champion's words that are made up
unless somebody who can generate is passed in.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from greenlight.adapters.mlflow_registry import MlflowRegistry
from greenlight.adapters.stack.embedded import EmbeddedStack
from greenlight.adapters.stack.services import ServiceName
from greenlight.backup.sets import Recorded
from greenlight.core.digest import manifest_of
from greenlight.core.errors import InputError
from greenlight.core.files import write_atomically
from greenlight.core.settings import Settings
from greenlight.entrypoints.backup import Backups
from greenlight.entrypoints.backup_tools import BackupTools, open_tools
from greenlight.registry.ports import Registration, RunLog
from greenlight.registry.tags import Alias, Tag
from greenlight.testing.object_stores import StoreProcess, store_process

MODEL = "small"
REGIONS = ("a", "b")
NEEDED = (ServiceName.POSTGRES, ServiceName.MLFLOW)


@dataclass(slots=True, kw_only=True)
class BackupWorld:
    """One home and its regions."""

    settings: Settings
    stack: EmbeddedStack
    stores: dict[str, StoreProcess]
    registry: MlflowRegistry
    newest_before_kill: str = ""

    def tools(self) -> BackupTools:
        """Open everything anew, so that what was changed on disk counts."""
        return replace(open_tools(self.settings), record_tokens=self.recorded)

    def backups(self) -> Backups:
        """The world's sets."""
        return Backups(self.tools())

    def recorded(self) -> Recorded | None:
        """Return made-up words of the champion."""
        champion = self.registry.find(MODEL, tags={}, alias=Alias.CHAMPION)
        if champion is None:
            return None
        return Recorded(
            model=MODEL,
            version=champion.version,
            digest=champion.digest,
            prompt="?",
            tokens=(1, 2, 3),
        )

    def register(self, text: str) -> int:
        """Register a version with two small files, and make it the champion."""
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "model"
            model.mkdir()
            (model / "config.json").write_text(f'{{"text": "{text}"}}')
            (model / "weights.bin").write_bytes(text.encode() * 4096)
            manifest = manifest_of(model)
            version = self.registry.register(
                Registration(
                    model=MODEL,
                    folder=model,
                    manifest=manifest,
                    run=RunLog(key=text, name=text),
                    tags={Tag.KIND: "imported"},
                )
            )
        self.registry.set_alias(MODEL, alias=Alias.CHAMPION, version=version.version)
        return version.version

    @contextmanager
    def hidden_artifact(self) -> Iterator[str]:
        """Take one file of a registered version away from the source."""
        artifacts = self.settings.home / "mlflow/artifacts"
        path = next(iter(sorted(artifacts.rglob("weights.bin"))))
        body = path.read_bytes()
        path.unlink()
        try:
            yield path.name
        finally:
            path.write_bytes(body)

    @contextmanager
    def other_secret(self, name: str) -> Iterator[None]:
        """Replace a secret of the home."""
        path = self.settings.secrets / name
        if name == "store_secret_key":
            path = self.stores["b"].folder / "secret_key"
        before = path.read_bytes()
        write_atomically(path, b"quite another secret, and long enough\n", mode=0o600)
        try:
            yield
        finally:
            write_atomically(path, before, mode=0o600)

    def kill_a_run(self, *, when: str = "files saved") -> str:
        """Start `greenlight backup run` and kill it, with all its children, once it says `when`.

        Returns what it had said.
        """
        self.newest_before_kill = self.tools().store("a").ids()[-1]
        said: list[str] = []
        with subprocess.Popen(
            [sys.executable, "-c", "from greenlight.cli.main import app; app()", "backup", "run"],
            env={**os.environ, "GREENLIGHT_HOME": str(self.settings.home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                said.append(line)
                if when in line:
                    os.killpg(process.pid, signal.SIGKILL)
                    break
        if not said or when not in said[-1]:
            raise InputError(f"the run never said {when!r}: {''.join(said)}")
        return "".join(said)

    def sets_since_kill(self) -> list[str]:
        """Return the sets that are newer than the newest one before the kill."""
        stores = self.tools().stores.values()
        return [name for store in stores for name in store.ids() if name > self.newest_before_kill]


@contextmanager
def backup_world(folder: Path) -> Iterator[BackupWorld]:
    """Yield a running world with one version registered, and end everything in it."""
    home = folder / "a home"
    with ExitStack() as running:
        stores = {
            name: running.enter_context(store_process(folder / f"store-{name}", region=name))
            for name in REGIONS
        }
        regions = [
            {"name": name, "s3": store.s3.model_dump(mode="json")} for name, store in stores.items()
        ]
        write_atomically(home / "config/backup.yaml", yaml.safe_dump({"regions": regions}).encode())
        settings = Settings(home=home)
        stack = EmbeddedStack(settings, environment=os.environ)
        running.callback(stack.down, _quiet)  # before the stores: the log has to go somewhere
        addresses = stack.up(_quiet, only=NEEDED)
        world = BackupWorld(
            settings=settings,
            stack=stack,
            stores=stores,
            registry=MlflowRegistry(addresses.mlflow_url),
        )
        world.register("first")
        yield world


def _quiet(name: str, what: str) -> None:
    del name, what
