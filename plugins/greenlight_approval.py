"""The approval task: Approve and Reject are both answers, and so is nobody answering."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.sdk import Param

if TYPE_CHECKING:
    from airflow.sdk import Context


QUESTION = {
    "params": {
        "reason": Param(
            "",
            type="string",
            title="Reason",
            description="Kept with the decision; say why when you reject.",
        )
    },
    "response_timeout": timedelta(hours=72),
}
"""What every approval asks beside its yes or no, and how long it waits."""


class CandidateApproval(ApprovalOperator):
    """`ApprovalOperator` that hands every outcome to the next task, which records it.

    The stock operator skips what follows a rejection, so that nothing could say why, and fails when
    time is up, so that a run nobody answered looks like a broken one.
    """

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Return the answer; `chosen_options` is empty when nobody answered in time."""
        if event.get("error_type") == "timeout":
            return {"chosen_options": [], "params_input": {}, "responded_by_user": None}
        return HITLOperator.execute_complete(self, context, event)
