"""Damage a backup in every known way once a week, and prove that each damage is noticed.

**What it does.** Makes a small home of its own with two stores, backs it up, and plants one fault
after the other: a flipped byte, a missing piece of the log, a deleted artifact, a wrong key, a
truncated file, a dead region, a backup killed half-way. Real backups are not touched. A fault that
nobody notices fails the run: the same fault in a real set would have counted as a good backup.

**If it fails**, see `docs/runbooks/backup.md`.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task

from greenlight_policy import DEFAULT_ARGS

WEEKLY = "14 5 * * 0"


@dag(
    schedule=WEEKLY,
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    doc_md=__doc__,
    tags=["greenlight", "backup"],
    default_args=DEFAULT_ARGS | {"execution_timeout": timedelta(hours=1)},
)
def backup_fault_drill():
    """Wire the fault matrix."""

    @task
    def plant_faults():
        from greenlight.entrypoints import backup_tasks

        return backup_tasks.plant_faults()

    plant_faults()


backup_fault_drill()
