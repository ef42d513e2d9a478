"""A golden file of every DAG's schedule and edges: a change of the orchestration shows in review.

After a wanted change: `UPDATE_SHAPES=1 .venv/bin/pytest tests/dags/test_dag_shapes.py`.
"""

import os
from pathlib import Path

GOLDEN = Path(__file__).with_name("shapes.txt")


def describe(dag):
    assets = isinstance(dag.schedule, list)
    schedule = ", ".join(asset.name for asset in dag.schedule) if assets else dag.schedule
    yield f"{dag.dag_id} [{schedule}]"
    for task in sorted(dag.tasks, key=lambda t: t.task_id):
        notes = [task.trigger_rule.value] if task.trigger_rule.value != "all_success" else []
        notes += [f"pool {task.pool}"] if task.pool != "default_pool" else []
        notes += ["mapped"] if task.is_mapped else []
        downstream = ", ".join(sorted(task.downstream_task_ids))
        line = f"  {task.task_id}" + (f" ({', '.join(notes)})" if notes else "")
        yield line + (f" -> {downstream}" if downstream else "")


def test_dag_shapes_match_the_golden_file(dag_bag):
    lines = [line for _, dag in sorted(dag_bag.dags.items()) for line in describe(dag)]
    text = "\n".join(lines) + "\n"
    if os.environ.get("UPDATE_SHAPES"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()
