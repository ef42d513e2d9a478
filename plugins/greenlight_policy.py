"""What every Greenlight DAG does about failures: retry what may succeed, and nothing else."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

FAIL_FAST = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception="greenlight.core.errors.PermanentError",
            action=RetryAction.FAIL,
            reason="the same inputs would fail again",
        )
    ]
)

DEFAULT_ARGS = {
    "owner": "greenlight",
    "retries": 2,
    "retry_delay": timedelta(seconds=20),
    "retry_policy": FAIL_FAST,
}
