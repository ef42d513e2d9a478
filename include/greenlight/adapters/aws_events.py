"""What AWS tells of hosts that it takes, and the answer that it waits for: SQS and the hook.

Who may write to the queue is its policy's business: EventBridge alone.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from botocore.exceptions import ClientError  # type: ignore[import-untyped]

from greenlight.adapters.aws_calls import aws_errors, open_aws
from greenlight.adapters.aws_schedules import HOOK
from greenlight.cost.spot.host_events import HeldEnd, HookTimes, Message

HIDDEN_S = 60
"""How long nobody else gets a message. Whoever dies holding one delays it by as much."""
A_PAGE, MOST_PAGES = 10, 20
"""SQS gives no more messages at once, and sometimes fewer than there are."""
WAIT_S = 1
"""Waiting makes SQS ask all of its servers; without, messages may be overlooked for a while."""
GONE = frozenset({"ReceiptHandleIsInvalid", "MessageNotInflight", "InvalidParameterValue"})
NOT_HELD = "No active Lifecycle Action"
"""AWS says it so in a ValidationError, when the instance ended or somebody else let it."""


class SqsEvents:
    """`cost.spot.host_events.EventQueue` on one SQS queue, given by its address."""

    def __init__(
        self, queue: str, *, region: str, client: Any = None, endpoint: str | None = None
    ) -> None:
        self._queue = queue
        self._client = client or open_aws("sqs", region=region, endpoint=endpoint)

    def receive(self, *, hide: bool) -> tuple[Message, ...]:
        """Return what is there: a region that takes back its spot hosts takes many at once."""
        found: list[Message] = []
        for _ in range(MOST_PAGES):
            with aws_errors("sqs", "sqs:ReceiveMessage"):
                page = self._client.receive_message(
                    QueueUrl=self._queue,
                    MaxNumberOfMessages=A_PAGE,
                    VisibilityTimeout=HIDDEN_S if hide else 0,
                    WaitTimeSeconds=WAIT_S,
                )
            messages = page.get("Messages", ())
            found += [Message(body=m["Body"], receipt=m["ReceiptHandle"]) for m in messages]
            if len(messages) < A_PAGE or not hide:
                break
        return tuple(found)

    def keep(self, receipt: str) -> None:
        """Hide a message for as long again."""
        with aws_errors("sqs", "sqs:ChangeMessageVisibility"):
            try:
                self._client.change_message_visibility(
                    QueueUrl=self._queue, ReceiptHandle=receipt, VisibilityTimeout=HIDDEN_S
                )
            except ClientError as error:
                _unless_gone(error)

    def delete(self, receipt: str) -> None:
        """Never get it again."""
        with aws_errors("sqs", "sqs:DeleteMessage"):
            try:
                self._client.delete_message(QueueUrl=self._queue, ReceiptHandle=receipt)
            except ClientError as error:
                _unless_gone(error)


class AutoScalingEnds:
    """`cost.spot.host_events.EndHook` of one group."""

    def __init__(
        self, group: str, *, region: str, client: Any = None, endpoint: str | None = None
    ) -> None:
        self._group = group
        self._client = client or open_aws("autoscaling", region=region, endpoint=endpoint)

    def holds(self, end: HeldEnd) -> bool:
        """Return whether it is this group's hook that holds an end."""
        return (end.group, end.hook) == (self._group, HOOK)

    def times(self) -> HookTimes | None:
        """Return how long the hook waits."""
        with aws_errors("autoscaling", "autoscaling:DescribeLifecycleHooks"):
            page = self._client.describe_lifecycle_hooks(
                AutoScalingGroupName=self._group, LifecycleHookNames=[HOOK]
            )
        if not (found := page.get("LifecycleHooks")):
            return None
        heartbeat = int(found[0]["HeartbeatTimeout"])
        return HookTimes(
            heartbeat=timedelta(seconds=heartbeat),
            at_most=timedelta(seconds=int(found[0].get("GlobalTimeout", heartbeat))),
        )

    def heartbeat(self, end: HeldEnd) -> bool:
        """Say that we are still at it."""
        with aws_errors("autoscaling", "autoscaling:RecordLifecycleActionHeartbeat"):
            return _while_held(self._client.record_lifecycle_action_heartbeat, _named(end))

    def complete(self, end: HeldEnd) -> bool:
        """Let the instance end."""
        with aws_errors("autoscaling", "autoscaling:CompleteLifecycleAction"):
            return _while_held(
                self._client.complete_lifecycle_action,
                _named(end) | {"LifecycleActionResult": "CONTINUE"},
            )


def _named(end: HeldEnd) -> dict[str, str]:
    return {
        "AutoScalingGroupName": end.group,
        "LifecycleHookName": end.hook,
        "InstanceId": end.instance,
        "LifecycleActionToken": end.token,
    }


def _while_held(call: Any, arguments: dict[str, str]) -> bool:
    try:
        call(**arguments)
    except ClientError as error:
        if NOT_HELD in str(error):
            return False
        raise
    return True


def _unless_gone(error: ClientError) -> None:
    code = str(error.response.get("Error", {}).get("Code", "")).rpartition(".")[2]
    if code not in GONE:
        raise error
