"""What every hour cost, whose it was, and what size the hosts should be.

**What it does.** Takes the hours that are due: the newest three again, because samples come late,
and what is missing or was kept aside. For each: usage from Prometheus, prices from the dated book
or AWS, Great Expectations on both, then the bill is shared out (workload + idle + overhead), kept,
and written as FOCUS rows. Then every host is sized, with a backtest of the advice; budgets
are held against what is spent and what is forecast, yesterday against such days, and who should
know is told once. Last comes the report: one page, in the home and, once a day, in MLflow.

**How it ends.** An hour that doesn't pass is kept aside with the reasons, the others are kept, and
the run fails. An hour that has costs is never replaced by one that has none.

**If it fails**, the last line of the failed task's log says what to do. See
`docs/runbooks/cost.md`.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Param, dag, task

from greenlight_policy import DEFAULT_ARGS

HOURLY = "7 * * * *"


@dag(
    schedule=HOURLY,
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    doc_md=__doc__,
    tags=["greenlight", "cost"],
    params={
        "first": Param(
            "",
            type="string",
            title="First hour",
            description="To compute hours of the past again, in UTC: 2026-11-24T10. Empty: due.",
            section="Hours",
        ),
        "last": Param(
            "",
            type="string",
            title="Hour after the last",
            description="In UTC, not computed itself. Empty: up to now.",
            section="Hours",
        ),
    },
    default_args=DEFAULT_ARGS | {"execution_timeout": timedelta(minutes=50)},
)
def cost_rightsizing_hourly():
    """Wire `greenlight.entrypoints.cost_tasks`."""

    @task
    def find_due(params=None):
        from greenlight.entrypoints import cost_tasks

        return cost_tasks.find_due(params["first"], params["last"])

    @task
    def compute(hours):
        from greenlight.entrypoints import cost_tasks

        return cost_tasks.compute(hours)

    @task
    def advise():
        from greenlight.entrypoints import cost_tasks

        return cost_tasks.advise()

    @task
    def tell():
        from greenlight.entrypoints import cost_tasks

        return cost_tasks.tell()

    @task
    def write_report():
        from greenlight.entrypoints import cost_tasks

        return cost_tasks.write_report()

    @task
    def report_aside(computed):
        from greenlight.entrypoints import cost_tasks

        return cost_tasks.report_aside(computed)

    computed = compute(find_due())
    computed >> advise() >> write_report()
    computed >> tell()
    report_aside(computed)


cost_rightsizing_hourly()
