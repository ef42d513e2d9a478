"""Tomorrow's capacity: learned from demand, replayed, approved where it changes much, applied.

**What it does**, every night and for each fleet of scaling.yaml that something is deployed to:
compares yesterday with its plan. Learns demand by time of the week from Prometheus, takes what a
host was measured to take (MLflow) and how long it takes to start (rollouts), and plans the coming
week. Replays that beside static, HPA, the schedule that runs, and an oracle. A small change is
applied at once; a large one, a first one, or one that did worse in the replay waits for a person
(**Browse → Required Actions**), whose answer is bound to that very schedule.

**What is skipped**, with the reason in the task's log: too little measured to plan, nobody answered
before the next night, a rejection, a blackout.

**Running it again** applies nothing twice: what the target has already isn't changed.

**If it fails**, the last line of the failed task's log says what to do. See
`docs/runbooks/scaling.md`.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import TriggerRule, dag, get_current_context, task, task_group
from airflow.sdk.exceptions import AirflowSkipException

from greenlight_approval import QUESTION, CandidateApproval
from greenlight_policy import DEFAULT_ARGS

NIGHTLY = "20 3 * * *"
UNTIL_THE_NEXT = {"response_timeout": timedelta(hours=20)}
"""Tomorrow night there is a new schedule to ask about."""


@dag(
    schedule=NIGHTLY,
    catchup=False,
    max_active_runs=4,  # a run that waits for a person is active too, and keeps no other waiting
    is_paused_upon_creation=False,
    doc_md=__doc__,
    tags=["greenlight", "scaling"],
    default_args=DEFAULT_ARGS | {"execution_timeout": timedelta(hours=1)},
)
def scaling_schedule():
    """Wire `greenlight.entrypoints.scaling_tasks`."""

    @task
    def find_fleets():
        from greenlight.entrypoints import scaling_tasks

        return scaling_tasks.fleets()

    @task(map_index_template="{{ fleet }}")
    def look_back(fleet):
        from greenlight.entrypoints import scaling_tasks

        get_current_context()["fleet"] = fleet
        found = scaling_tasks.look_back(fleet)
        if "why" in found:
            raise AirflowSkipException("; ".join(found["why"]))
        return found

    @task(map_index_template="{{ fleet }}")
    def plan(fleet):
        from greenlight.entrypoints import scaling_tasks

        get_current_context()["fleet"] = fleet
        return scaling_tasks.plan(fleet)

    @task
    def ask(proposal):
        from greenlight.entrypoints import scaling_tasks

        asked = scaling_tasks.question(proposal)
        if asked is None:
            raise AirflowSkipException("nobody needs to be asked")
        return asked

    @task
    def record_answer(asked, answer):
        from greenlight.entrypoints import scaling_tasks

        return scaling_tasks.record_answer(asked, answer)

    @task(trigger_rule=TriggerRule.NONE_FAILED)
    def apply(proposal):
        from greenlight.entrypoints import scaling_tasks

        found = scaling_tasks.apply(proposal)
        if not found["applied"]:
            raise AirflowSkipException(found["why"])
        return found

    @task_group
    def schedule_fleet(fleet):
        proposal = plan(fleet)
        asked = ask(proposal)
        approve = CandidateApproval(
            task_id="approve",
            subject="Apply {{ ti.xcom_pull(task_ids='schedule_fleet.ask', "
            "map_indexes=ti.map_index)['title'] }}?",
            body="{{ ti.xcom_pull(task_ids='schedule_fleet.ask', "
            "map_indexes=ti.map_index)['description'] }}",
            **QUESTION | UNTIL_THE_NEXT,
        )
        asked >> approve
        record_answer(asked, approve.output) >> apply(proposal)

    fleets = find_fleets()
    look_back.expand(fleet=fleets)
    schedule_fleet.expand(fleet=fleets)


scaling_schedule()
