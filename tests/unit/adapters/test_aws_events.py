"""What moto lacks of lifecycle hooks (heartbeats, completing) is recorded (botocore's Stubber)."""

from datetime import timedelta

import boto3
import pytest
from botocore.stub import Stubber

from greenlight.adapters.aws_events import AutoScalingEnds, SqsEvents
from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.cost.spot.host_events import HeldEnd, HookTimes

REGION = "eu-west-2"
QUEUE = "https://sqs.eu-west-2.amazonaws.com/123456789012/q"
END = HeldEnd(group="g", hook="greenlight-drain", instance="i-0123456789abcdef0", token="t" * 36)
NAMED = {
    "AutoScalingGroupName": "g",
    "LifecycleHookName": "greenlight-drain",
    "InstanceId": "i-0123456789abcdef0",
    "LifecycleActionToken": "t" * 36,
}
NOT_HELD = "No active Lifecycle Action found with instance ID i-0123456789abcdef0"


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


@pytest.fixture
def autoscaling():
    with Stubber(boto3.client("autoscaling", REGION)) as stub:
        yield stub


@pytest.fixture
def sqs():
    with Stubber(boto3.client("sqs", REGION)) as stub:
        yield stub


def ends(stub):
    return AutoScalingEnds("g", region=REGION, client=stub.client)


def test_a_heartbeat_and_the_end_name_the_action_by_its_token(autoscaling):
    autoscaling.add_response("record_lifecycle_action_heartbeat", {}, NAMED)
    done = NAMED | {"LifecycleActionResult": "CONTINUE"}
    autoscaling.add_response("complete_lifecycle_action", {}, done)
    assert ends(autoscaling).heartbeat(END)
    assert ends(autoscaling).complete(END)
    autoscaling.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("call", "method"),
    [
        ("record_lifecycle_action_heartbeat", "heartbeat"),
        ("complete_lifecycle_action", "complete"),
    ],
)
def test_an_end_that_is_not_held_any_more_is_no_error(autoscaling, call, method):
    autoscaling.add_client_error(call, "ValidationError", NOT_HELD, 400)
    assert getattr(ends(autoscaling), method)(END) is False


def test_how_long_the_hook_waits_is_its_own_to_say(autoscaling):
    hook = {
        "LifecycleHookName": "greenlight-drain",
        "HeartbeatTimeout": 600,
        "GlobalTimeout": 60_000,
    }
    query = {"AutoScalingGroupName": "g", "LifecycleHookNames": ["greenlight-drain"]}
    autoscaling.add_response("describe_lifecycle_hooks", {"LifecycleHooks": [hook]}, query)
    assert ends(autoscaling).times() == HookTimes(
        heartbeat=timedelta(minutes=10), at_most=timedelta(seconds=60_000)
    )
    autoscaling.add_response("describe_lifecycle_hooks", {"LifecycleHooks": []}, query)
    assert ends(autoscaling).times() is None


def test_only_its_own_hook_of_its_own_group_is_held_by_it(autoscaling):
    hook = ends(autoscaling)
    assert hook.holds(END)
    assert not hook.holds(HeldEnd(group="g", hook="own", instance="i", token="t"))
    assert not hook.holds(HeldEnd(group="other", hook=END.hook, instance="i", token="t"))


@pytest.mark.parametrize(
    ("call", "method"), [("change_message_visibility", "keep"), ("delete_message", "delete")]
)
@pytest.mark.parametrize(
    "code",
    [
        "ReceiptHandleIsInvalid",
        "AWS.SimpleQueueService.MessageNotInflight",
        "InvalidParameterValue",
    ],
)
def test_a_message_that_is_gone_is_no_error(sqs, call, method, code):
    sqs.add_client_error(call, code, "gone", 400)
    getattr(SqsEvents(QUEUE, region=REGION, client=sqs.client), method)("receipt")


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("AWS.SimpleQueueService.NonExistentQueue", 400, ConfigError),
        ("AccessDenied", 403, ConfigError),
        ("RequestThrottled", 403, UnavailableError),
        ("OverLimit", 403, UnavailableError),
        ("InternalError", 500, UnavailableError),
    ],
)
def test_a_queue_that_refuses_says_whether_to_try_again(sqs, code, status, error):
    sqs.add_client_error("receive_message", code, "no", status)
    with pytest.raises(error, match="sqs:ReceiveMessage"):
        SqsEvents(QUEUE, region=REGION, client=sqs.client).receive(hide=True)
