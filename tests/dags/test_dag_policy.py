"""Rules that every DAG of this repository keeps."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DAG_FILES = sorted((ROOT / "dags").glob("*.py"))
HEAVY = {
    "torch", "transformers", "mlflow", "pandas", "numpy", "scipy", "great_expectations", "boto3",
    "matplotlib",
}  # fmt: skip
MOST_RUNS = 16
ROUTINE = {"all_success", "none_failed", "none_failed_min_one_success"}
RAISES_WHAT_FAILED = {"deploy_blue_green.outcome", "restore_drill.report"}
"""Last tasks that run after a failure, and fail then."""


def test_every_dag_file_imports(dag_bag):
    assert dag_bag.import_errors == {}


def test_every_file_holds_one_dag_of_its_name(dag_bag):
    assert {Path(d.fileloc).stem: d.dag_id for d in dag_bag.dags.values()} == {
        f.stem: f.stem for f in DAG_FILES
    }


def test_every_dag_and_its_form_explain_themselves(dag_bag):
    for dag in dag_bag.dags.values():
        assert (dag.doc_md or "").strip(), dag.dag_id
        assert "If it fails" in dag.doc_md, f"{dag.dag_id} does not say what to do"
        for name in dag.params:
            param = dag.params.get_param(name)
            assert param.description, f"{dag.dag_id}.{name}"
            assert param.schema.get("title"), f"{dag.dag_id}.{name}"
            assert param.schema.get("section"), f"{dag.dag_id}.{name}"


def test_every_dag_names_a_runbook_that_exists(dag_bag):
    for dag in dag_bag.dags.values():
        named = [w.strip("`.") for w in dag.doc_md.split() if "docs/runbooks/" in w]
        assert named, dag.dag_id
        assert all((ROOT / name).is_file() for name in named), named


def test_every_dag_bounds_its_runs(dag_bag):
    for dag in dag_bag.dags.values():
        assert not dag.catchup, dag.dag_id
        assert dag.max_active_runs <= MOST_RUNS, dag.dag_id


def test_a_permanent_error_is_never_retried_and_others_are(dag_bag):
    from airflow.sdk import RetryAction

    from greenlight.core.errors import GateError, UnavailableError

    for dag in dag_bag.dags.values():
        for task in dag.tasks:
            policy = task.retry_policy
            assert policy is not None, f"{dag.dag_id}.{task.task_id}"
            decide = lambda error: policy.evaluate(error, 1, 3).action  # noqa: E731, B023
            assert decide(GateError("no")) is RetryAction.FAIL
            assert decide(UnavailableError("away")) is RetryAction.DEFAULT
            assert task.retries >= 1, f"{dag.dag_id}.{task.task_id}"


def test_a_run_in_which_something_failed_is_no_success(dag_bag):
    # Airflow judges a run by its last tasks alone.
    forgiving = {
        f"{dag.dag_id}.{task.task_id}"
        for dag in dag_bag.dags.values()
        for task in dag.tasks
        if all(after.is_teardown for after in task.downstream_list)
        and (task.on_failure_fail_dagrun or not task.is_teardown)
        and task.trigger_rule.value not in ROUTINE
    }
    assert forgiving == RAISES_WHAT_FAILED


def test_work_on_the_gpu_is_bounded_by_the_pool_and_in_time(dag_bag):
    gpu = [t for d in dag_bag.dags.values() for t in d.tasks if t.pool == "gpu"]
    assert {t.task_id for t in gpu} >= {"measure_parent", "prove_recipe", "benchmark"}
    assert [t.task_id for t in gpu if t.execution_timeout is None] == []
    assert {t.queue for t in gpu} == {"gpu"}  # in production a GPU's worker takes no other


@pytest.mark.parametrize("path", DAG_FILES, ids=lambda p: p.stem)
def test_parsing_imports_nothing_heavy(path):
    code = (
        "import runpy, sys; import airflow.sdk, airflow.providers.standard.operators.hitl; "
        "before = set(sys.modules); "
        f"sys.path.insert(0, {str(ROOT / 'plugins')!r}); runpy.run_path({str(path)!r}); "
        "print(*(set(sys.modules) - before))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {m.partition(".")[0] for m in out.stdout.splitlines()[-1].split()}
    assert loaded & HEAVY == set()
