"""Write a row that proves time, and measure how far the log's archive is behind.

**What it does.** Every ten minutes one row is committed (a *sentinel*): a restored database that
has it, and lacks the next one, is of the time between. Then the archive's lag and the ages of the
newest verified set and the last passed drill become metrics, which the alerts watch.

**If it fails**, see `docs/runbooks/backup.md`.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import dag, task

from greenlight_policy import DEFAULT_ARGS


@dag(
    schedule=timedelta(minutes=10),
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    doc_md=__doc__,
    tags=["greenlight", "backup"],
    default_args=DEFAULT_ARGS | {"execution_timeout": timedelta(minutes=5)},
)
def backup_heartbeat():
    """Wire the heartbeat."""

    @task
    def beat():
        from greenlight.entrypoints import backup_tasks

        return backup_tasks.beat()

    beat()


backup_heartbeat()
