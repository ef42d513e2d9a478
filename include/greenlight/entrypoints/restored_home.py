"""A home that was restored, while its databases run: settled, looked at, stopped again."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from greenlight.backup.sets import Recorded
from greenlight.core.errors import InputError
from greenlight.core.settings import Ports, Settings

if TYPE_CHECKING:
    from greenlight.adapters.stack.embedded import EmbeddedStack
    from greenlight.adapters.stack.services import ServiceName, StackAddresses
    from greenlight.backup.ports import Databases

log = logging.getLogger(__name__)


class RestoredHome:
    """Runs PostgreSQL, then MLflow, on a restored home. Nothing of it archives until it is adopted.

    Leaving the block stops what runs. The home stays as it is then.
    """

    def __init__(self, settings: Settings, home: Path) -> None:
        """`settings` are the source's: the programs are the same, the home and its ports not."""
        self._settings = settings.model_copy(
            update={
                "home": home,
                "ports": Ports(),
                "database_url": None,
                "superuser_url": None,
                "secrets_folder": None,
                "mlflow_url": None,
                "airflow_url": None,
            }
        )
        self._addresses: StackAddresses | None = None

    def __enter__(self) -> RestoredHome:
        """Start nothing yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop what runs."""
        self.stop()

    @property
    def databases(self) -> Databases:
        """The restored databases; they must have been started."""
        from greenlight.adapters.saved_databases import SavedDatabases
        from greenlight.adapters.stack.postgres import superuser_url

        return SavedDatabases(superuser_url(self._settings))

    def start_databases(self) -> str:
        """Let PostgreSQL recover to the target, and remove what is of a later time.

        The snapshot of the files may be younger than the target: folders of runs that the
        databases don't know are orphans.

        Raises:
            ProcessDiedError: it ended while it recovered; the end of its log is in the message.
            UnavailableError: it did not recover in time.
        """
        from greenlight.adapters.saved_files import orphans
        from greenlight.adapters.stack.services import ServiceName

        self._start(ServiceName.POSTGRES)
        later = orphans(self._settings.home, self.databases.runs())
        for folder in later:
            shutil.rmtree(folder)
        return f"recovered; folders of later runs that were removed: {len(later)}"

    def disagreements(self) -> tuple[str, ...]:
        """Return what registry and files disagree about, in both directions.

        Every file of every registered version is read.
        """
        from greenlight.adapters.saved_files import VersionFiles, orphans

        files, databases = VersionFiles(self._settings.home), self.databases
        found = [files.of(version)[1] for version in databases.catalogue()]
        strays = orphans(self._settings.home, databases.runs())
        return (
            *(problem for problem in found if problem),
            *(f"{folder} belongs to no run" for folder in strays),
        )

    def start_mlflow(self) -> str:
        """Start MLflow on the restored databases, and ask it for every version.

        Raises:
            InputError: it tells other versions than the database holds.
        """
        from greenlight.adapters.mlflow_registry import MlflowRegistry
        from greenlight.adapters.stack.services import ServiceName

        self._addresses = self._start(ServiceName.MLFLOW)
        registry = MlflowRegistry(self._addresses.mlflow_url)
        told = {
            (version.model, version.version, version.digest)
            for model in registry.models()
            for version in registry.versions(model)
        }
        held = {(v.model, v.version, v.digest) for v in self.databases.catalogue()}
        if told != held:
            raise InputError(f"MLflow tells {len(told)} versions, the database holds {len(held)}")
        return f"MLflow tells every version of the database ({len(told)})"

    def fetch(self, recorded: Recorded) -> Path:
        """Download a version through MLflow, proven to be its digest, into the home.

        Raises:
            InputError: there is no such version, or its files are not its digest.
        """
        from greenlight.adapters.mlflow_registry import MlflowRegistry

        if self._addresses is None:
            raise InputError("MLflow does not run")
        folder = Path(tempfile.mkdtemp(dir=self._settings.home, prefix=".champion-")) / "model"
        registry = MlflowRegistry(self._addresses.mlflow_url)
        registry.download(recorded.model, version=recorded.version, target=folder)
        return folder

    def adopt(self) -> None:
        """Stop what runs, and let the home archive its log from its next start on.

        Until then nothing of it reaches the regions of the home it comes from.
        """
        from greenlight.adapters.stack import archive

        self.stop()
        archive.adopt(self._settings)

    def stop(self) -> None:
        """Stop what runs; nothing does is fine."""
        self._stack().down(_log)

    def _start(self, *services: ServiceName) -> StackAddresses:
        return self._stack().up(_log, only=services, migrate=False)

    def _stack(self) -> EmbeddedStack:
        from greenlight.adapters.stack.embedded import EmbeddedStack

        return EmbeddedStack(self._settings, environment=os.environ)


def stop(settings: Settings, home: Path) -> None:
    """Stop what runs on a restored home, whoever started it."""
    RestoredHome(settings, home).stop()


def _log(name: str, what: str) -> None:
    log.info("%s: %s", name, what)
