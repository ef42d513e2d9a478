"""Start `quantize_and_validate` for every model version that is tagged for it.

**What it does.** Looks every 15 minutes for versions with the tag `greenlight.quantize: requested`
and starts one run for each. The run's id is made from the version's digest, so a version is
quantized once, however often it is found, and an event that got lost costs minutes at most.

**If it fails**, MLflow did not answer: see `docs/runbooks/quantize.md`.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import dag, task

from greenlight_policy import DEFAULT_ARGS


@dag(
    schedule=timedelta(minutes=15),
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    doc_md=__doc__,
    tags=["greenlight", "quantize"],
    default_args=DEFAULT_ARGS | {"execution_timeout": timedelta(minutes=10)},
)
def quantize_reconcile():
    """Wire the reconciliation."""

    @task
    def find_requested():
        from greenlight.entrypoints import reconcile

        return reconcile.requested_runs()

    TriggerDagRunOperator.partial(
        task_id="start_run",
        trigger_dag_id="quantize_and_validate",
        skip_when_already_exists=True,
    ).expand_kwargs(find_requested())


quantize_reconcile()
