"""Bring Airflow's and Greenlight's tables to the installed versions."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from greenlight.adapters.processes import LeashedProcess
from greenlight.adapters.stack import postgres, postgres_databases
from greenlight.adapters.stack.readiness import Report
from greenlight.adapters.stack.secrets import StackSecrets
from greenlight.core.errors import ProcessDiedError, UnavailableError
from greenlight.core.files import write_json
from greenlight.core.settings import Ports, Settings

TIMEOUT_S = 600.0


def migrate_airflow(
    settings: Settings,
    *,
    ports: Ports,
    secrets: StackSecrets,
    environment: Mapping[str, str],
    report: Report,
) -> None:
    """Migrate Airflow's database; `environment` is what its components get.

    Its own check takes ten seconds, so what it left is remembered: the program's version and the
    revision found in the database, which a restored backup would change.

    Raises:
        ProcessDiedError: Airflow's migration failed; the end of its log is in the message.
    """
    stamp = settings.run / "airflow-schema.json"

    def now() -> dict[str, str | None]:
        revision = postgres_databases.schema_version(
            "airflow", port=ports.postgres, password=secrets.postgres
        )
        return {"version": version("apache-airflow"), "revision": revision}

    before = now()
    if before["revision"] is None or _read(stamp) != before:
        report("migrations", "bringing Airflow's database up to date")
        _run_airflow(settings, environment)
        write_json(stamp, now())


def migrate_greenlight(*, ports: Ports, secrets: StackSecrets) -> None:
    """Migrate Greenlight's database."""
    from greenlight.adapters import database  # its Alembic is needed here only

    database.migrate(
        postgres.database_url("greenlight", port=ports.postgres, password=secrets.postgres)
    )


def _read(stamp: Path) -> object:
    try:
        return json.loads(stamp.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def _run_airflow(settings: Settings, environment: Mapping[str, str]) -> None:
    log = settings.logs / "airflow-migrate.log"
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    with (
        log.open("wb") as output,
        LeashedProcess(command, env=environment, cwd=settings.home, stdout=output) as process,
    ):
        try:
            code = process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise UnavailableError(
                f"airflow db migrate still runs after {TIMEOUT_S:.0f} s; see {log}"
            ) from None
    if code:
        lines = log.read_text(errors="replace").splitlines()[-12:]
        said = "\n".join(f"  {line}" for line in lines)
        raise ProcessDiedError(
            f"airflow db migrate ended with exit code {code}; the end of {log}:\n{said}"
        )
