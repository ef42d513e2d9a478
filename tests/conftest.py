"""What every test stands on: no test sees the developer's settings, home or Airflow.

Airflow reads its configuration when it is first imported, so its variables are set here, at the
import of this file and not in a fixture.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from greenlight.core.settings import Settings

if TYPE_CHECKING:
    import sqlalchemy as sa

PROJECT = Path(__file__).resolve().parents[1]
FOREIGN = ("AIRFLOW", "GREENLIGHT_", "MLFLOW_", "PG")
SCRATCH = Path(tempfile.mkdtemp(prefix="greenlight-tests-"))

for name in [name for name in os.environ if name.startswith(FOREIGN)]:
    del os.environ[name]
os.environ |= {
    "GREENLIGHT_HOME": str(SCRATCH / "greenlight"),
    "AIRFLOW_HOME": str(SCRATCH / "airflow"),
    "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{SCRATCH}/airflow.db",
    "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(SCRATCH / "airflow/logs"),
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "OMP_NUM_THREADS": "2",
}


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Undo what a command configured: its stream is closed when its test has ended."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers, root.level = handlers, level


def pytest_unconfigure() -> None:
    shutil.rmtree(SCRATCH, ignore_errors=True)


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Settings]:
    """A maker of settings whose home is a new folder; keywords change single settings."""

    def make(**changes: object) -> Settings:
        return Settings.model_validate({"home": tmp_path / "home"} | changes)

    return make


@pytest.fixture(scope="module")
def database_engine() -> Iterator[sa.Engine]:
    """A new PostgreSQL with Greenlight's tables, empty."""
    from greenlight.adapters import database
    from greenlight.testing.servers import postgres_binaries, postgres_server

    binaries = postgres_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed")
    with postgres_server(binaries) as url:
        database.migrate(url)
        engine = database.open_engine(url)
        yield engine
        engine.dispose()
