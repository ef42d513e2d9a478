"""What happens when a DAG run misses its deadline."""

from __future__ import annotations

import logging

from greenlight.core.types import JsonDict

log = logging.getLogger(__name__)


def report_missed(*, dag_id: str, limit: str, context: JsonDict | None = None) -> None:
    """Say so, at error level, for the alert that watches the log."""
    run = (context or {}).get("dag_run") or {}
    log.error(
        "Run %s of %s is not finished after %s: open its grid in Airflow and read the log of the "
        "task that runs; a run that waits for an approval is late too",
        run.get("dag_run_id", "(unknown)") if isinstance(run, dict) else run,
        dag_id,
        limit,
    )
