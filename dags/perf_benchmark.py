"""Benchmark what a fleet serves after a rollout, and say when it is slower than before.

**What it does.** Runs when the alias `champion` moved, and looks in the journal which fleets serve
a version that was not measured since its rollout (simulators are left out). Each is measured
through its router: first token, time between tokens, whole answer and tokens a second with 1, 4 and
8 requests in flight, then goodput at a fixed rate, each with its n and bounds. The numbers become a
run in MLflow and tags of the version. Then they are compared with those of the version before, if
fleet, flags and load are the same.

**How it ends.** `no regression`, `no earlier benchmark` and `not enough data` are results, and the
task succeeds. `regression` is recorded just so, and the task fails: the last line has the numbers.
Traffic isn't touched; going back is a person's decision.

**Running it by hand** with a fleet measures that fleet again.

**If it fails**, the last line of the failed task's log says what to do. See
`docs/runbooks/deploy.md`.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import Param, dag, get_current_context, task

from greenlight_assets import CHAMPION
from greenlight_policy import DEFAULT_ARGS

PARAMS = {
    "fleet": Param(
        None,
        type=["null", "string"],
        minLength=1,
        title="Fleet",
        description="Name from fleet.yaml. Empty: every fleet not measured since its rollout.",
        section="What is measured",
    ),
}


@dag(
    schedule=[CHAMPION],
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,  # two loads at once would measure each other
    is_paused_upon_creation=False,
    doc_md=__doc__,
    tags=["greenlight", "deploy"],
    params=PARAMS,
    default_args=DEFAULT_ARGS | {"execution_timeout": timedelta(minutes=10)},
)
def perf_benchmark():
    """Wire `greenlight.entrypoints.performance`."""

    @task
    def find_due(params=None):
        from greenlight.entrypoints import performance

        return performance.due_fleets(dict(params))

    @task(
        map_index_template="{{ fleet }}",
        max_active_tis_per_dagrun=1,
        execution_timeout=timedelta(hours=4),
    )
    def benchmark_fleet(fleet, params=None):
        from greenlight.entrypoints import performance

        get_current_context()["fleet"] = fleet
        return performance.benchmark(fleet, dict(params))

    benchmark_fleet.expand(fleet=find_due())


perf_benchmark()
