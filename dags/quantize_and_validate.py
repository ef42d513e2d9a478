"""Make a model smaller, prove that it still answers as well, and put it up for approval.

**What it does.** Takes a registered model version, quantizes it recipe by recipe from the smallest
up, compares each candidate with its parent on the same items, and keeps the smallest one that
passes every gate with statistical evidence. The winner is benchmarked on the serving engine and
registered in MLflow with alias `candidate` and all its numbers. Then a person is asked
(**Browse → Required Actions**); approval is bound to the digests of the model and of the evidence.

**When none passes** the run fails at `choose`, with the table and the nearest miss in its log, and
nothing is registered.

**Running it again** with the same inputs finds finished work by digest and doesn't redo it.

**If it fails**, the last line of the failed task's log says what to do. See
`docs/runbooks/quantize.md`.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import (
    DeadlineAlert,
    DeadlineReference,
    Param,
    SyncCallback,
    TriggerRule,
    dag,
    get_current_context,
    task,
)
from airflow.sdk.exceptions import AirflowSkipException

from greenlight_approval import QUESTION, CandidateApproval
from greenlight_assets import CANDIDATE, DECISION
from greenlight_policy import DEFAULT_ARGS

GPU = {"pool": "gpu", "queue": "gpu", "execution_timeout": timedelta(hours=8)}

PARAMS = {
    "model": Param(
        "smollm2-135m-instruct",
        type="string",
        minLength=1,
        title="Model",
        description="Name of a registered model (`greenlight models list`).",
        section="Model",
    ),
    "version": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="Version",
        description="Empty: the newest complete version when the run starts.",
        section="Model",
    ),
    "backend": Param(
        "gptqmodel",
        type="string",
        enum=["gptqmodel", "auto-gptq"],
        title="Backend",
        description="auto-gptq is archived upstream and needs `scripts/setup autogptq`.",
        section="Quantization",
    ),
    "recipes": Param(
        ["q4-g32", "q4-g32-act-gate-up"],
        type="array",
        items={"type": "string"},
        minItems=1,
        title="Recipes",
        description="Names from recipes.yaml, one a line. Tried from the smallest result up.",
        section="Quantization",
    ),
    "search": Param(
        default=False,
        type="boolean",
        title="Search for recipes",
        description="Measure which module groups are sensitive; add recipes that spend bits there.",
        section="Quantization",
    ),
    "device": Param(
        "cpu",
        type="string",
        enum=["cpu", "cuda"],
        title="Device",
        description="Where quantizing and measuring run.",
        section="Quantization",
    ),
    "engine": Param(
        "vllm-cpu",
        type="string",
        enum=["vllm-cpu", "vllm-gpu", "transformers"],
        title="Serving engine",
        description="A recipe that this engine can't serve is refused before any work.",
        section="Quantization",
    ),
    "calibration": Param(
        "calibration-default",
        type="string",
        title="Calibration set",
        description="Name of a text set (`greenlight data list`).",
        section="Data",
    ),
    "evaluation": Param(
        ["handbook-heldout", "python-heldout", "wordnet-choice", "instructions-default"],
        type="array",
        items={"type": "string"},
        minItems=1,
        title="Evaluation sets",
        description="Names, one a line. None may share text with the calibration set.",
        section="Data",
    ),
    "gates": Param(
        "standard",
        type="string",
        enum=["strict", "standard", "lenient"],
        title="Gates",
        description="Margins, fixed before looking; see docs/reference/gates.md.",
        section="Gates",
    ),
}


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=8,  # runs that wait for a person are active too; pool `gpu` bounds the work
    is_paused_upon_creation=False,
    doc_md=__doc__,
    tags=["greenlight", "quantize"],
    params=PARAMS,
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(hours=24),
        callback=SyncCallback(
            "greenlight.entrypoints.deadlines.report_missed",
            kwargs={"dag_id": "quantize_and_validate", "limit": "24 h"},
        ),
    ),
    default_args=DEFAULT_ARGS,
)
def quantize_and_validate():
    """Wire the steps of `greenlight.entrypoints.quantize`."""

    @task
    def resolve_source(params=None):
        from greenlight.entrypoints import quantize

        return quantize.steps().resolve_source(dict(params))

    @task
    def validate_data(source):
        from greenlight.entrypoints import quantize

        return quantize.steps().validate_data(source)

    @task(**GPU)
    def measure_parent(source, data):
        from greenlight.entrypoints import quantize

        return quantize.steps().measure_parent(source, data)

    @task(**GPU)
    def plan_recipes(source, data):
        from greenlight.entrypoints import quantize

        return quantize.steps().plan_recipes(source, data)

    @task(**GPU)
    def measure_control(source, data, parent, plan):
        from greenlight.entrypoints import quantize

        return quantize.steps().measure_control(source, data, parent, plan)

    @task(**GPU, map_index_template="{{ label }}", max_active_tis_per_dagrun=1)
    def prove_recipe(planned, source, data, parent):
        from greenlight.entrypoints import quantize

        get_current_context()["label"] = planned["recipe"]["name"]
        trial = quantize.steps().prove_recipe(source, data, parent, planned)
        get_current_context()["label"] = f"{planned['recipe']['name']}: {trial['verdict']}"
        if trial["verdict"] == "not needed":
            raise AirflowSkipException(trial["reason"])
        return trial

    @task(trigger_rule=TriggerRule.NONE_FAILED)
    def choose(source, parent, control, trials):
        from greenlight.entrypoints import quantize

        return quantize.steps().choose(source, parent, control, list(trials))

    @task(**GPU)
    def benchmark(source, data, winner):
        from greenlight.entrypoints import quantize

        return quantize.steps().benchmark(source, data, winner)

    @task(outlets=[CANDIDATE])
    def register(source, data, parent, control, winner, served):
        from greenlight.entrypoints import quantize

        return quantize.steps().register(source, data, parent, control, winner, served)

    @task(outlets=[DECISION])
    def record_answer(candidate, answer):
        from greenlight.entrypoints import approvals

        return approvals.record_answer(candidate, answer)

    source = resolve_source()
    data = validate_data(source)
    parent = measure_parent(source, data)
    plan = plan_recipes(source, data)
    parent >> plan
    control = measure_control(source, data, parent, plan)
    trials = prove_recipe.partial(source=source, data=data, parent=parent).expand(planned=plan)
    winner = choose(source, parent, control, trials)
    served = benchmark(source, data, winner)
    candidate = register(source, data, parent, control, winner, served)
    approve = CandidateApproval(
        task_id="approve",
        subject="Approve {{ ti.xcom_pull(task_ids='register')['title'] }}?",
        body="{{ ti.xcom_pull(task_ids='register')['description'] }}",
        **QUESTION,
    )
    candidate >> approve
    record_answer(candidate, approve.output)


quantize_and_validate()
