"""Damage a backup in every known way once a week, and prove that each damage is noticed.

**What it does.** Makes a small home of its own with two stores, backs it up, and plants one fault
after the other: a flipped byte, a missing piece of the log, a deleted artifact, a wrong key, a
truncated file, a dead region, a backup killed half-way. Real backups are not touched. A fault that
nobody notices fails the run: the same fault in a real set would have counted as a good backup.

**If it fails**, see `docs/runbooks/backup.md`.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, setup, task, teardown

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

    @setup
    def make_scratch(run_id=None):
        from greenlight.entrypoints import backup_tasks

        return backup_tasks.make_scratch(run_id, of="fault-drill")

    @task
    def plant_faults(scratch):
        from greenlight.entrypoints import backup_tasks

        return backup_tasks.plant_faults(scratch)

    @teardown
    def remove_scratch(scratch):
        from greenlight.entrypoints import backup_tasks

        backup_tasks.remove_scratch(scratch)

    scratch = make_scratch()
    scratch >> plant_faults(scratch) >> remove_scratch(scratch)


backup_fault_drill()
