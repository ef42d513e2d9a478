"""Deploy a broken version to a shadow fleet every night, and time how it is caught.

**What it does.** Starts a shadow fleet (the real router and the real rollout, simulated engines),
makes a healthy version live, and deploys versions with a planted fault, one after the other, while
clients send requests. Detection time, actuation time and dropped requests go to MLflow.

**A fault that isn't caught** fails the run: the same fault in a real version would have gone live.

**If it fails**, see `docs/runbooks/deploy.md`.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Param, dag, get_current_context, task

from greenlight_policy import DEFAULT_ARGS

NIGHTLY = "30 3 * * *"


@dag(
    schedule=NIGHTLY,
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    doc_md=__doc__,
    tags=["greenlight", "deploy"],
    params={
        "faults": Param(
            ["slow first token", "slow tokens", "errors", "cut streams"],
            type="array",
            items={"type": "string"},
            minItems=1,
            title="Faults",
            description="What is planted, one a line.",
            section="Drill",
        )
    },
    default_args=DEFAULT_ARGS | {"execution_timeout": timedelta(minutes=30)},
)
def rollback_drill():
    """Wire the drill."""

    @task
    def list_faults(params=None):
        return list(params["faults"])

    @task(map_index_template="{{ fault }}", max_active_tis_per_dagrun=1)
    def plant(fault):
        from greenlight.entrypoints import rollback_drill as drills

        get_current_context()["fault"] = fault
        return drills.drill(fault)

    plant.expand(fault=list_faults())


rollback_drill()
