"""What moto lacks of Auto Scaling, and every refusal, is recorded (botocore's Stubber)."""

from datetime import UTC, datetime

import boto3
import pytest
from botocore.stub import Stubber

from greenlight.adapters.aws_schedules import TAG, AwsScheduleTarget
from greenlight.core.errors import ConfigError, RefusedError, UnavailableError
from greenlight.scaling.rules import MomentRule, WeeklyRule
from greenlight.scaling.schedule import Size
from greenlight.scaling.targets import (
    DropRule,
    FastLoop,
    PutBounds,
    PutDrain,
    PutLoop,
    PutRule,
)
from greenlight.testing.manual_clock import ManualClock

NOW = datetime(2026, 3, 23, 12, 0, tzinfo=UTC)  # a Monday
SIZE = Size(minimum=1, desired=2, maximum=3)
WEEKLY = WeeklyRule(name="week-mon-0730", minute=450, zone="Europe/London", size=SIZE)
ONCE = MomentRule(name="once-20260325-0000", at=datetime(2026, 3, 25, tzinfo=UTC), size=SIZE)
LOOP = FastLoop(metric="tokens_per_second", target=150.0, warm_up_s=300)
GROUP = {
    "AutoScalingGroupName": "g",
    "MinSize": 1,
    "MaxSize": 3,
    "DesiredCapacity": 1,
    "DefaultCooldown": 300,
    "AvailabilityZones": ["a"],
    "HealthCheckType": "EC2",
    "CreatedTime": NOW,
    "Tags": [{"Key": TAG, "Value": "chat"}],
}
ACTION = {"ScheduledActionName": "greenlight-week-mon-0730", "MinSize": 1}
POLICY = {"PolicyName": "greenlight-tracking"}
HOOK = {"LifecycleHookName": "greenlight-drain", "HeartbeatTimeout": 600}


@pytest.fixture
def aws(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    client = boto3.client("autoscaling", "eu-central-1")
    with Stubber(client) as stubber:
        yield stubber


def target(stubber):
    return AwsScheduleTarget(
        "g", fleet="chat", region="eu-central-1", clock=ManualClock(NOW), client=stubber.client
    )


def group(stubber, **changes):
    stubber.add_response("describe_auto_scaling_groups", {"AutoScalingGroups": [GROUP | changes]})


def reads(stubber, *, actions=(), policies=(), hooks=()):
    group(stubber)
    stubber.add_response(
        "describe_scheduled_actions", {"ScheduledUpdateGroupActions": list(actions)}
    )
    stubber.add_response("describe_policies", {"ScalingPolicies": list(policies)})
    stubber.add_response("describe_lifecycle_hooks", {"LifecycleHooks": list(hooks)})


def listed(stubber, what):
    answers = {
        "actions": ("describe_scheduled_actions", {"ScheduledUpdateGroupActions": [ACTION]}),
        "policies": ("describe_policies", {"ScalingPolicies": [POLICY]}),
        "hooks": ("describe_lifecycle_hooks", {"LifecycleHooks": [HOOK]}),
    }
    stubber.add_response(*answers[what])


CALLS = [
    ("put_scheduled_update_group_action", PutRule(rule=WEEKLY, before=None), None),
    ("delete_scheduled_action", DropRule(rule=WEEKLY), "actions"),
    ("update_auto_scaling_group", PutBounds(bounds=(1, 2), before=(0, 1)), None),
    ("put_scaling_policy", PutLoop(loop=LOOP), None),
    ("delete_policy", PutLoop(loop=None), "policies"),
    ("put_lifecycle_hook", PutDrain(drain_s=600), None),
    ("delete_lifecycle_hook", PutDrain(drain_s=None), "hooks"),
]
REFUSALS = [
    ("AccessDenied", 403, ConfigError),
    ("ValidationError", 400, ConfigError),
    ("Throttling", 400, UnavailableError),
    ("InternalFailure", 500, UnavailableError),
]


@pytest.mark.parametrize(("code", "status", "raised"), REFUSALS)
@pytest.mark.parametrize(("call", "change", "first"), CALLS, ids=[call for call, *_ in CALLS])
def test_a_refused_change_says_whether_to_try_again(aws, call, change, first, code, status, raised):
    group(aws)
    if first:
        listed(aws, first)
    aws.add_client_error(call, code, "no", status)
    action = "".join(part.title() for part in call.split("_"))
    with pytest.raises(raised, match=f"autoscaling:{action}"):
        target(aws).apply([change])


@pytest.mark.parametrize(("code", "status", "raised"), REFUSALS)
@pytest.mark.parametrize("refused", range(4))
def test_a_refused_read_says_whether_to_try_again(aws, refused, code, status, raised):
    steps = [
        ("describe_auto_scaling_groups", {"AutoScalingGroups": [GROUP]}),
        ("describe_scheduled_actions", {"ScheduledUpdateGroupActions": []}),
        ("describe_policies", {"ScalingPolicies": []}),
        ("describe_lifecycle_hooks", {"LifecycleHooks": []}),
    ]
    for call, answer in steps[:refused]:
        aws.add_response(call, answer)
    aws.add_client_error(steps[refused][0], code, "no", status)
    with pytest.raises(raised):
        target(aws).read()


def test_a_group_that_is_not_there_is_named(aws):
    aws.add_response("describe_auto_scaling_groups", {"AutoScalingGroups": []})
    with pytest.raises(ConfigError, match="no Auto Scaling group g"):
        target(aws).read()


@pytest.mark.parametrize("tags", [[], [{"Key": TAG, "Value": "other"}]])
def test_nothing_is_changed_in_a_group_without_the_fleets_tag(aws, tags):
    group(aws, Tags=tags)
    with pytest.raises(RefusedError, match="has no tag greenlight:fleet=chat"):
        target(aws).apply([PutRule(rule=WEEKLY, before=None)])


def action(**values):
    return {
        "ScheduledActionName": "greenlight-week-mon-0730",
        "MinSize": 1,
        "DesiredCapacity": 2,
        "MaxSize": 3,
        "TimeZone": "Europe/London",
        "Recurrence": "30 7 * * MON",
        **values,
    }


def test_the_next_run_that_aws_tells_is_no_later_begin(aws):
    coming = datetime(2026, 3, 30, 6, 30, tzinfo=UTC)  # next Monday, summer time
    reads(aws, actions=[action(StartTime=coming)])
    assert target(aws).read().rules == (WEEKLY,)


def test_a_begin_after_the_next_run_is_told(aws):
    later = datetime(2026, 4, 6, 6, 30, tzinfo=UTC)
    reads(aws, actions=[action(StartTime=later)])
    (rule,) = target(aws).read().rules
    assert rule.begins == later


@pytest.mark.parametrize(
    "by_hand",
    [
        action(Recurrence="*/5 * * * *"),
        action(MinSize=9),
        action(TimeZone="Asia/Tokyo"),
        {"ScheduledActionName": "greenlight-week-mon-0730", "Recurrence": "30 7 * * MON"},
    ],
)
def test_an_action_that_was_changed_by_hand_is_not_what_we_want(aws, by_hand):
    reads(aws, actions=[by_hand])
    assert target(aws).read().rules != (WEEKLY,)


def test_a_moment_is_read_in_utc(aws):
    once = {
        "ScheduledActionName": "greenlight-once-20260325-0000",
        "MinSize": 1,
        "DesiredCapacity": 2,
        "MaxSize": 3,
        "StartTime": datetime(2026, 3, 25, tzinfo=UTC),
    }
    reads(aws, actions=[once])
    assert target(aws).read().rules == (ONCE,)


def test_a_moment_that_is_over_and_gone_needs_no_dropping(aws):
    group(aws)
    aws.add_response("describe_scheduled_actions", {"ScheduledUpdateGroupActions": []})
    target(aws).apply([DropRule(rule=ONCE)])
    aws.assert_no_pending_responses()


def test_all_pages_are_read(aws):
    group(aws)
    aws.add_response(
        "describe_scheduled_actions",
        {"ScheduledUpdateGroupActions": [action()], "NextToken": "more"},
    )
    other = action(ScheduledActionName="greenlight-week-tue-0730", Recurrence="30 7 * * TUE")
    aws.add_response("describe_scheduled_actions", {"ScheduledUpdateGroupActions": [other]})
    aws.add_response("describe_policies", {"ScalingPolicies": [{"PolicyName": "own"}]})
    aws.add_response("describe_lifecycle_hooks", {"LifecycleHooks": [HOOK]})
    found = target(aws).read()
    assert [rule.minute for rule in found.rules] == [450, 1890]
    assert (found.foreign, found.drain_s, found.loop) == (("own",), 600, None)


def test_a_rule_is_put_as_aws_wants_it(aws):
    group(aws)
    aws.add_response(
        "put_scheduled_update_group_action",
        {},
        {
            "AutoScalingGroupName": "g",
            "ScheduledActionName": "greenlight-week-mon-0730",
            "MinSize": 1,
            "DesiredCapacity": 2,
            "MaxSize": 3,
            "Recurrence": "30 7 * * MON",
            "TimeZone": "Europe/London",
        },
    )
    target(aws).apply([PutRule(rule=WEEKLY, before=None)])


def test_aws_that_is_away_can_be_tried_again(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    away = AwsScheduleTarget(
        "g",
        fleet="chat",
        region="eu-central-1",
        clock=ManualClock(NOW),
        endpoint="http://127.0.0.1:9",
    )
    with pytest.raises(UnavailableError, match="does not answer"):
        away.read()
