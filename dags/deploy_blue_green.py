"""Bring an approved version to every host of a fleet, without dropping a stream.

**What it does.** Copies the model to every host (one gatekeeper first, then all side by side),
starts the idle colour, asks it golden prompts, warms it up, and moves traffic to it in steps. At
each step both colours get the same load, and green must prove that it is as good as blue: errors,
first token, time between tokens, answers. Then blue stays warm for the bake, the alias `champion`
moves, and blue is drained until its streams end.

**When green is worse**, or nobody can tell, the task that looks sends everything back to blue at
once and fails; `roll_back` stops green, and the last line of `outcome` says why.

**Who is asked.** A version with evidence that nobody approved yet is put up for approval first
(**Browse → Required Actions**); an answer is bound to the digests of the model and its evidence.

**What is refused** before anything changes: a worker without room or with a wrong file (see
`greenlight doctor`), a version that was rejected or whose evidence is too
old, another tokenizer, a host that does not answer, too little GPU memory, a second deploy to the
fleet, a live version that is down (start it, or give it up with the form's switch).

**Killed in the middle**, a retry goes on where it stopped: every step is in the journal.

**If it fails**, the last line of the failed task's log says what to do. See
`docs/runbooks/deploy.md`.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pendulum
from airflow.sdk import Param, TriggerRule, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from greenlight_approval import QUESTION, CandidateApproval
from greenlight_assets import CHAMPION
from greenlight_policy import DEFAULT_ARGS

HOST = {"execution_timeout": timedelta(hours=2)}

PARAMS = {
    "fleet": Param(
        "demo",
        type="string",
        minLength=1,
        title="Fleet",
        description="Name from fleet.yaml (`greenlight deploy fleets`).",
        section="What goes where",
    ),
    "version": Param(
        "approved",
        type=["string", "integer"],
        title="Version",
        description="A version's number, or an alias. Only what a person approved goes live.",
        section="What goes where",
    ),
    "rollout": Param(
        "standard",
        type="string",
        minLength=1,
        title="Rollout",
        description="Name from rollout.yaml: strategy, steps, bake time, limits.",
        section="How",
    ),
    "allow_interface_change": Param(
        default=False,
        type="boolean",
        title="Allow another tokenizer or chat template",
        description="Otherwise a version that clients would notice is refused.",
        section="How",
    ),
    "replace_dead": Param(
        default=False,
        type="boolean",
        title="Give up a dead live version",
        description="Only for a live version of which no engine answers and which can't start "
        "again: nothing is compared, and there is nothing to go back to.",
        section="How",
    ),
}


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=4,  # fleets side by side; a second run on one fleet is refused by its lease
    is_paused_upon_creation=False,
    doc_md=__doc__,
    tags=["greenlight", "deploy"],
    params=PARAMS,
    default_args=DEFAULT_ARGS,
)
def deploy_blue_green():
    """Wire the steps of `greenlight.entrypoints.deploy`."""

    @task
    def preflight():
        from greenlight.entrypoints import doctor

        return doctor.preflight()

    @task
    def ask(params=None):
        from greenlight.entrypoints import deploy

        asked = deploy.question(dict(params))
        if asked is None:
            raise AirflowSkipException("nobody needs to be asked")
        return asked

    @task
    def record_answer(asked, answer):
        from greenlight.entrypoints import approvals

        return approvals.record_answer(asked, answer)

    @task(trigger_rule=TriggerRule.NONE_FAILED)
    def begin(params=None, run_id=None):
        from greenlight.entrypoints import deploy

        return deploy.begin(dict(params), rollout_id=run_id, by="Airflow")

    @task(**HOST)
    def prepare_gatekeeper(plan):
        from greenlight.entrypoints import deploy

        deploy.step(plan, "prepare", plan["gatekeeper"])
        return plan["others"]

    @task(**HOST, map_index_template="{{ host }}")
    def prepare_host(host, plan):
        from greenlight.entrypoints import deploy

        get_current_context()["host"] = host
        deploy.step(plan, "prepare", host)

    @task(trigger_rule=TriggerRule.NONE_FAILED, execution_timeout=timedelta(hours=1))
    def smoke_test(plan):
        from greenlight.entrypoints import deploy

        deploy.step(plan, "smoke")
        return plan["moves"]

    @task(
        map_index_template="{{ move }}",
        max_active_tis_per_dagrun=1,
        execution_timeout=timedelta(hours=4),
    )
    def shift_and_analyse(move, plan):
        from greenlight.entrypoints import deploy

        get_current_context()["move"] = f"{move} %" if move.isdigit() else move
        made = deploy.step(plan, "move", move)
        if "skipped" in made:
            raise AirflowSkipException(made["skipped"])

    @task(execution_timeout=timedelta(hours=24))
    def bake(plan):
        from greenlight.entrypoints import deploy

        deploy.step(plan, "bake")

    @task(outlets=[CHAMPION])
    def promote(plan):
        from greenlight.entrypoints import deploy

        deploy.step(plan, "promote")

    @task(execution_timeout=timedelta(hours=2))
    def retire(plan):
        from greenlight.entrypoints import deploy

        deploy.step(plan, "retire")

    @task(trigger_rule=TriggerRule.ONE_FAILED, execution_timeout=timedelta(hours=2))
    def roll_back(plan):
        from greenlight.entrypoints import deploy

        deploy.step(plan, "roll_back")

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def outcome(plan):
        from greenlight.entrypoints import deploy

        return deploy.finish(plan)

    fit, asked = preflight(), ask()
    fit >> asked
    approve = CandidateApproval(
        task_id="approve",
        subject="Approve {{ ti.xcom_pull(task_ids='ask')['title'] }} and deploy it?",
        body="{{ ti.xcom_pull(task_ids='ask')['description'] }}",
        **QUESTION,
    )
    plan = begin()
    asked >> approve
    record_answer(asked, approve.output) >> plan
    others = prepare_gatekeeper(plan)
    hosts = prepare_host.partial(plan=plan).expand(host=others)
    moves = smoke_test(plan)
    hosts >> moves
    moved = shift_and_analyse.partial(plan=plan).expand(move=moves)
    forward = [moved, bake(plan), promote(plan), retire(plan)]
    for before, after in pairwise(forward):
        before >> after
    back = roll_back(plan)
    [others, hosts, moves, *forward] >> back
    [forward[-1], back] >> outcome(plan)


deploy_blue_green()
