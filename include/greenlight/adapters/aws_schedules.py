"""A schedule in an AWS Auto Scaling group: scheduled actions, target tracking, a draining hook.

Ours are called `greenlight-…`; what is called otherwise isn't touched. The group itself must carry
the tag `greenlight:fleet` with the fleet's name, set by whoever owns it: without it nothing is read
and nothing is changed. A scheduled action sets minimum, maximum and desired hosts; between actions
target tracking moves the desired number. The hook holds an instance that is to end until whoever
drains it says that it is done, or until its time is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from greenlight.adapters.aws_calls import aws_errors, open_aws
from greenlight.core.clock import Clock
from greenlight.core.errors import ConfigError, RefusedError
from greenlight.core.types import JsonDict
from greenlight.scaling.rules import MomentRule, Rule, WeeklyRule, next_time_of
from greenlight.scaling.schedule import MINUTES_A_DAY, Size
from greenlight.scaling.targets import (
    Change,
    DropRule,
    FastLoop,
    Found,
    PutBounds,
    PutDrain,
    PutLoop,
    PutRule,
)

PREFIX = "greenlight-"
TAG = "greenlight:fleet"
LOOP, HOOK = f"{PREFIX}tracking", f"{PREFIX}drain"
NAMESPACE = "Greenlight"
TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"
CRON_DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")


class AwsScheduleTarget:
    """One group."""

    def __init__(
        self,
        group: str,
        *,
        fleet: str,
        region: str,
        clock: Clock,
        client: Any = None,
        endpoint: str | None = None,
    ) -> None:
        self._group, self._fleet, self._clock = group, fleet, clock
        self._client = client or open_aws("autoscaling", region=region, endpoint=endpoint)

    def read(self) -> Found:
        """Return the group's actions, policies and hooks."""
        there = self._managed()
        actions = list(self._actions())
        policies = list(self._policies())
        ours = [one for one in actions if one["ScheduledActionName"].startswith(PREFIX)]
        hooks = self._hooks()
        foreign = [one["ScheduledActionName"] for one in actions if one not in ours]
        foreign += [one["PolicyName"] for one in policies if one["PolicyName"] != LOOP]
        foreign += [one["LifecycleHookName"] for one in hooks if one["LifecycleHookName"] != HOOK]
        return Found(
            rules=tuple(r for one in ours if (r := _rule(one, self._clock.now())) is not None),
            bounds=(int(there["MinSize"]), int(there["MaxSize"])),
            loop=next((_loop(one) for one in policies if one["PolicyName"] == LOOP), None),
            drain_s=next(
                (int(one["HeartbeatTimeout"]) for one in hooks if one["LifecycleHookName"] == HOOK),
                None,
            ),
            foreign=tuple(sorted(foreign)),
        )

    def apply(self, changes: Sequence[Change]) -> None:
        """Make the changes."""
        self._managed()
        for change in changes:
            match change:
                case PutRule(rule=rule):
                    self._put(rule)
                case DropRule(rule=rule):
                    self._drop(rule)
                case PutBounds(bounds=(low, high)):
                    with aws_errors("autoscaling", "autoscaling:UpdateAutoScalingGroup"):
                        self._client.update_auto_scaling_group(
                            AutoScalingGroupName=self._group, MinSize=low, MaxSize=high
                        )
                case PutLoop(loop=loop):
                    self._put_loop(loop)
                case PutDrain(drain_s=drain_s):
                    self._put_hook(drain_s)

    def _managed(self) -> Mapping[str, Any]:
        """Return the group.

        Raises:
            ConfigError: there is none.
            RefusedError: it doesn't carry the fleet's name.
        """
        with aws_errors("autoscaling", "autoscaling:DescribeAutoScalingGroups"):
            page = self._client.describe_auto_scaling_groups(AutoScalingGroupNames=[self._group])
        found: list[Mapping[str, Any]] = page["AutoScalingGroups"]
        if not found:
            raise ConfigError(f"there is no Auto Scaling group {self._group}: name one that is")
        tags = {tag["Key"]: tag.get("Value") for tag in found[0].get("Tags", ())}
        if tags.get(TAG) != self._fleet:
            raise RefusedError(
                f"group {self._group} has no tag {TAG}={self._fleet} (it says {tags.get(TAG)!r}): "
                "who owns it must set that before Greenlight schedules it"
            )
        return found[0]

    def _actions(self) -> Iterator[Mapping[str, Any]]:
        with aws_errors("autoscaling", "autoscaling:DescribeScheduledActions"):
            for page in self._pages(self._client.describe_scheduled_actions):
                yield from page.get("ScheduledUpdateGroupActions", ())

    def _policies(self) -> Iterator[Mapping[str, Any]]:
        with aws_errors("autoscaling", "autoscaling:DescribePolicies"):
            for page in self._pages(self._client.describe_policies):
                yield from page.get("ScalingPolicies", ())

    def _pages(self, describe: Callable[..., JsonDict]) -> Iterator[JsonDict]:
        query: JsonDict = {"AutoScalingGroupName": self._group}
        while True:
            page = describe(**query)
            yield page
            if not (token := page.get("NextToken")):
                return
            query["NextToken"] = token

    def _hooks(self) -> list[Mapping[str, Any]]:
        with aws_errors("autoscaling", "autoscaling:DescribeLifecycleHooks"):
            page = self._client.describe_lifecycle_hooks(AutoScalingGroupName=self._group)
        hooks: list[Mapping[str, Any]] = page.get("LifecycleHooks", [])
        return hooks

    def _put(self, rule: Rule) -> None:
        values: JsonDict = {
            "AutoScalingGroupName": self._group,
            "ScheduledActionName": f"{PREFIX}{rule.name}",
            "MinSize": rule.size.minimum,
            "MaxSize": rule.size.maximum,
            "DesiredCapacity": rule.size.desired,
        }
        if isinstance(rule, WeeklyRule):
            values |= {"Recurrence": _cron(rule.minute), "TimeZone": rule.zone}
            if rule.begins is not None:
                values["StartTime"] = rule.begins
        else:
            values["StartTime"] = rule.at
        with aws_errors("autoscaling", "autoscaling:PutScheduledUpdateGroupAction"):
            self._client.put_scheduled_update_group_action(**values)

    def _drop(self, rule: Rule) -> None:
        """Take an action away. One of a single moment may be over, and gone by itself."""
        name = f"{PREFIX}{rule.name}"
        if all(one["ScheduledActionName"] != name for one in self._actions()):
            return
        with aws_errors("autoscaling", "autoscaling:DeleteScheduledAction"):
            self._client.delete_scheduled_action(
                AutoScalingGroupName=self._group, ScheduledActionName=name
            )

    def _put_loop(self, loop: FastLoop | None) -> None:
        if loop is None:
            if any(one["PolicyName"] == LOOP for one in self._policies()):
                with aws_errors("autoscaling", "autoscaling:DeletePolicy"):
                    self._client.delete_policy(AutoScalingGroupName=self._group, PolicyName=LOOP)
            return
        with aws_errors("autoscaling", "autoscaling:PutScalingPolicy"):
            self._client.put_scaling_policy(
                AutoScalingGroupName=self._group,
                PolicyName=LOOP,
                PolicyType="TargetTrackingScaling",
                EstimatedInstanceWarmup=loop.warm_up_s,
                TargetTrackingConfiguration={
                    "CustomizedMetricSpecification": {
                        "MetricName": loop.metric,
                        "Namespace": NAMESPACE,
                        "Dimensions": [{"Name": "fleet", "Value": self._fleet}],
                        "Statistic": "Average",
                    },
                    "TargetValue": loop.target,
                },
            )

    def _put_hook(self, drain_s: int | None) -> None:
        if drain_s is None:
            if any(one["LifecycleHookName"] == HOOK for one in self._hooks()):
                with aws_errors("autoscaling", "autoscaling:DeleteLifecycleHook"):
                    self._client.delete_lifecycle_hook(
                        AutoScalingGroupName=self._group, LifecycleHookName=HOOK
                    )
            return
        with aws_errors("autoscaling", "autoscaling:PutLifecycleHook"):
            self._client.put_lifecycle_hook(
                AutoScalingGroupName=self._group,
                LifecycleHookName=HOOK,
                LifecycleTransition=TERMINATING,
                HeartbeatTimeout=drain_s,
                DefaultResult="CONTINUE",
            )


def _cron(minute: int) -> str:
    day, rest = divmod(minute, MINUTES_A_DAY)
    return f"{rest % 60} {rest // 60} * * {CRON_DAYS[day]}"


def _minute(cron: str) -> int | None:
    """Return the minute of the week; `None`: no cron of ours."""
    parts = cron.split()
    if len(parts) != 5 or parts[2:4] != ["*", "*"] or parts[4] not in CRON_DAYS:
        return None
    if not (parts[0].isdigit() and parts[1].isdigit()):
        return None
    return CRON_DAYS.index(parts[4]) * MINUTES_A_DAY + int(parts[1]) * 60 + int(parts[0])


def _rule(action: Mapping[str, Any], now: datetime) -> Rule | None:
    """Return an action as a rule. One that was changed by hand reads as a rule of other values.

    Of a weekly action AWS tells when it comes next, whether it was asked to begin then or not.
    """
    name = str(action["ScheduledActionName"]).removeprefix(PREFIX)
    low = int(action.get("MinSize") or 0)
    desired = max(low, int(action.get("DesiredCapacity") or 0))
    size = Size(minimum=low, desired=desired, maximum=max(desired, int(action.get("MaxSize") or 0)))
    start = _utc(action.get("StartTime"))
    recurrence = action.get("Recurrence")
    if not recurrence:
        return None if start is None else MomentRule(name=name, at=start, size=size)
    minute, zone = _minute(str(recurrence)), str(action.get("TimeZone") or "UTC")
    if minute is None:
        return WeeklyRule(name=name, minute=-1, zone=zone, size=size)
    later = start is not None and start > next_time_of(zone, minute, now)
    return WeeklyRule(
        name=name, minute=minute, zone=zone, size=size, begins=start if later else None
    )


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)


def _loop(policy: Mapping[str, Any]) -> FastLoop:
    tracking = policy.get("TargetTrackingConfiguration") or {}
    metric = tracking.get("CustomizedMetricSpecification") or {}
    return FastLoop(
        metric=str(metric.get("MetricName", "")),
        target=float(tracking.get("TargetValue", 0)),
        warm_up_s=int(policy.get("EstimatedInstanceWarmup") or 0),
    )
