"""Back up databases and artifacts at one instant, every night, in two regions, and read it back.

**What it does.** Copies PostgreSQL to every region (full once a week, incremental else), makes a
restore point, lists the registered versions at that very instant, saves artifacts, models,
configuration and router state, and writes a signed manifest. Everything is then read back *in each
region*: only a set that passes counts as verified. At last retention deletes what it may, never
below its floor.

**How it ends.** A region that is away fails the run, and the set stays in the others. A set that
does not verify fails the run, and is never counted.

**If it fails**, the last line of the failed task's log says what to do. See
`docs/runbooks/backup.md`.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Param, dag, get_current_context, task

from greenlight_policy import DEFAULT_ARGS

NIGHTLY = "14 2 * * *"


@dag(
    schedule=NIGHTLY,
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    doc_md=__doc__,
    tags=["greenlight", "backup"],
    params={
        "kind": Param(
            "due",
            type="string",
            enum=["due", "full", "incremental"],
            title="Kind",
            description="Of the databases' copies. due: as full_every_days in backup.yaml says.",
            section="Backup",
        )
    },
    default_args=DEFAULT_ARGS | {"execution_timeout": timedelta(hours=6)},
)
def backup_nightly():
    """Wire `greenlight.entrypoints.backup`."""

    @task
    def preflight():
        from greenlight.entrypoints import doctor

        return doctor.preflight()

    @task
    def back_up(params=None, run_id=None):
        from greenlight.entrypoints import backup_tasks

        return backup_tasks.back_up(params["kind"], by=run_id)

    @task
    def find_regions():
        from greenlight.entrypoints import backup_tasks

        return backup_tasks.regions()

    @task(map_index_template="{{ region }}", max_active_tis_per_dagrun=1)
    def prune(region, run_id=None):
        from greenlight.entrypoints import backup_tasks

        get_current_context()["region"] = region
        return backup_tasks.prune(region, by=run_id)

    @task
    def publish_metrics():
        from greenlight.entrypoints import backup_tasks

        return backup_tasks.publish_metrics()

    saved, regions = back_up(), find_regions()
    preflight() >> saved >> regions
    prune.expand(region=regions) >> publish_metrics()


backup_nightly()
