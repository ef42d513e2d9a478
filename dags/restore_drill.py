"""Prove every night that the backup restores: up to the champion generating the recorded tokens.

**What it does.** Takes the region that was not drilled last, chooses a random second that its sets
can restore, and restores everything into a scratch home: databases to that second (proven by rows
written before and after it), artifacts, then MLflow, then the champion, which must generate the
tokens that were recorded when the set was made. Every rung of that ladder is recorded, with the
recovery time (RTO) and how far behind the region was (RPO).

**How it ends.** `pass` means every rung. `fail` fails the run. `inconclusive`, something could not
be tried, fails it too: it proves nothing. So does a drill that was killed or cancelled. The report
is in MLflow, experiment *greenlight*. The scratch home is gone, whatever happens.

**If it fails**, the last line of the failed task's log says which rung and why. See
`docs/runbooks/backup.md`.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Param, dag, setup, task, teardown

from greenlight_policy import DEFAULT_ARGS

NIGHTLY = "14 4 * * *"


@dag(
    schedule=NIGHTLY,
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    doc_md=__doc__,
    tags=["greenlight", "backup"],
    params={
        "region": Param(
            None,
            type=["null", "string"],
            minLength=1,
            title="Region",
            description="Name from backup.yaml. Empty: the one that was not drilled last.",
            section="Drill",
        )
    },
    default_args=DEFAULT_ARGS | {"execution_timeout": timedelta(hours=4)},
)
def restore_drill():
    """Wire `greenlight.entrypoints.restore_drill`."""

    @task
    def choose(params=None):
        from greenlight.entrypoints import backup_tasks

        return backup_tasks.choose(params["region"])

    @setup
    def make_scratch(run_id=None):
        from greenlight.entrypoints import backup_tasks

        return backup_tasks.make_scratch(run_id)

    @task
    def climb(choice, scratch):
        from greenlight.entrypoints import backup_tasks

        return backup_tasks.climb(choice, scratch)

    @teardown
    def remove_scratch(scratch):
        from greenlight.entrypoints import backup_tasks

        backup_tasks.remove_scratch(scratch)

    @teardown(on_failure_fail_dagrun=True)  # else a cancelled run would end as a success
    def report(drill):
        from greenlight.entrypoints import backup_tasks

        return backup_tasks.report(drill)

    scratch = make_scratch()
    climbed = climb(choose(), scratch)
    scratch >> climbed >> remove_scratch(scratch)
    report(climbed)


restore_drill()
