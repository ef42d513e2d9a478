"""How far a run of `quantize_and_validate` is, as one number a person can follow."""

from __future__ import annotations

from collections.abc import Iterable

SHARES = {
    "resolve_source": 1,
    "validate_data": 4,
    "measure_parent": 12,
    "plan_recipes": 1,
    "measure_control": 10,
    "prove_recipe": 50,
    "choose": 2,
    "benchmark": 18,
    "register": 2,
}
"""About the share of a run's time that each task takes, in percent; they sum to 100."""

FINISHED = frozenset({"success", "skipped", "failed", "upstream_failed", "removed"})


def percent_done(states: Iterable[tuple[str, str | None]]) -> int:
    """Return the percentage of a run that is done.

    `states` are (task id, state) of every task instance. The instances of a mapped task share its
    part; those that were skipped count as done.
    """
    instances: dict[str, list[bool]] = {}
    for task_id, state in states:
        instances.setdefault(task_id, []).append(state in FINISHED)
    done = sum(
        share * sum(instances[task_id]) / len(instances[task_id])
        for task_id, share in SHARES.items()
        if task_id in instances
    )
    return int(done)
