"""Look every hour whether every host serves what was deployed, and what is still to deploy.

**What it does.** For every fleet that something was deployed to, compares what each host serves
(the digest is read back from the engine) and what the router sends where with the journal and with
the alias `champion`. No host is changed. Drift is the metric `greenlight_fleet_drift` and a failed
task whose last line lists everything.

Then it looks where the aliases `deploy` and `deploy-FLEET` point, and starts `deploy_blue_green`
for an approved version that a fleet doesn't serve yet. That repairs webhooks of MLflow that got
lost: both give the run the same id, so it is started once.

**If it fails**, see `docs/runbooks/deploy.md`.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import dag, get_current_context, task

from greenlight_policy import DEFAULT_ARGS


@dag(
    schedule=timedelta(hours=1),
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    doc_md=__doc__,
    tags=["greenlight", "deploy"],
    default_args=DEFAULT_ARGS | {"execution_timeout": timedelta(minutes=15)},
)
def fleet_reconcile():
    """Wire the comparison."""

    @task
    def find_fleets():
        from greenlight.entrypoints import fleet_reconcile as reconcile

        return reconcile.deployed_fleets()

    @task(map_index_template="{{ fleet }}")
    def check_fleet(fleet):
        from greenlight.entrypoints import fleet_reconcile as reconcile

        get_current_context()["fleet"] = fleet
        return reconcile.check(fleet)

    @task
    def find_requested():
        from greenlight.entrypoints import review

        return review.requested_deploys()

    check_fleet.expand(fleet=find_fleets())
    TriggerDagRunOperator.partial(
        task_id="start_deploy",
        trigger_dag_id="deploy_blue_green",
        skip_when_already_exists=True,
    ).expand_kwargs(find_requested())


fleet_reconcile()
