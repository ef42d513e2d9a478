"""Send everything back to the old colour, at once, while a rollout is on its way.

**What it does.** Takes the fleet's lease from whoever carries the rollout on, gives the old colour
all traffic, and stops the new one. The run that went forward ends by itself.

**Who starts it**: the Greenlight page, which asks first, or a person with this form. A rollout that
has ended is another matter: `deploy_blue_green` brings the version before it back.

**If it fails**, the last line of the failed task's log says what to do. See
`docs/runbooks/deploy.md`.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import Param, dag, task

from greenlight_policy import DEFAULT_ARGS

PARAMS = {
    "fleet": Param(
        "demo",
        type="string",
        minLength=1,
        title="Fleet",
        description="Name from fleet.yaml (`greenlight deploy fleets`).",
        section="What goes back",
    ),
    "rollout": Param(
        type="string",
        minLength=1,
        title="Rollout",
        description="Its id, from `greenlight deploy status`: no other one goes back.",
        section="What goes back",
    ),
    "reason": Param(
        type="string",
        minLength=1,
        title="Reason",
        description="Kept in the journal, for the next reader.",
        section="Why",
    ),
    "by": Param(
        "Airflow",
        type="string",
        minLength=1,
        title="Who",
        description="Kept beside the reason.",
        section="Why",
    ),
}


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=16,  # one that waits for a fleet's engines to start keeps no other waiting
    is_paused_upon_creation=False,
    doc_md=__doc__,
    tags=["greenlight", "deploy"],
    params=PARAMS,
    default_args=DEFAULT_ARGS | {"execution_timeout": timedelta(hours=2)},
)
def deploy_roll_back():
    """Wire `greenlight.entrypoints.deploy`."""

    @task
    def go_back(params=None):
        from greenlight.entrypoints import deploy

        return deploy.go_back(dict(params))

    go_back()


deploy_roll_back()
