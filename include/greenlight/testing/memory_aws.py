"""Events of AWS as EventBridge writes them, and a queue and a hook in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import count

from greenlight.core.clock import Clock
from greenlight.core.types import JsonDict
from greenlight.cost.spot.host_events import TERMINATING, HeldEnd, HookTimes, Message

HIDDEN = timedelta(minutes=1)
GROUP, HOOK = "chat-gpu", "greenlight-drain"


def an_event(detail_type: str, detail: JsonDict, *, told: datetime, source: str = "aws.ec2") -> str:
    """Return a message's text."""
    return json.dumps(
        {
            "version": "0",
            "id": "12345678-1234-1234-1234-123456789012",
            "detail-type": detail_type,
            "source": source,
            "account": "123456789012",
            "time": told.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": "eu-west-2",
            "resources": [],
            "detail": detail,
        }
    )


def interruption(instance: str, *, told: datetime, action: str = "terminate") -> str:
    """Return the warning that a spot host is taken in two minutes."""
    detail = {"instance-id": instance, "instance-action": action}
    return an_event("EC2 Spot Instance Interruption Warning", detail, told=told)


def rebalance(instance: str, *, told: datetime) -> str:
    """Return the hint that a spot host is at risk."""
    detail = {"instance-id": instance}
    return an_event("EC2 Instance Rebalance Recommendation", detail, told=told)


def ending(instance: str, *, told: datetime, **changes: str) -> str:
    """Return that a hook holds the end of a host."""
    detail = {
        "LifecycleActionToken": "87654321-4321-4321-4321-210987654321",
        "AutoScalingGroupName": GROUP,
        "LifecycleHookName": HOOK,
        "EC2InstanceId": instance,
        "LifecycleTransition": TERMINATING,
        "Origin": "AutoScalingGroup",
        "Destination": "EC2",
    }
    return an_event(
        "EC2 Instance-terminate Lifecycle Action",
        detail | changes,
        told=told,
        source="aws.autoscaling",
    )


class MemoryEvents:
    """`cost.spot.host_events.EventQueue` in a dictionary. `clock` decides what is hidden."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._numbers = clock, count(1)
        self._bodies: dict[str, str] = {}
        self._hidden: dict[str, datetime] = {}

    def send(self, body: str) -> None:
        """Put a message in."""
        self._bodies[f"message {next(self._numbers)}"] = body

    @property
    def left(self) -> Mapping[str, str]:
        """What was not deleted."""
        return dict(self._bodies)

    def receive(self, *, hide: bool) -> tuple[Message, ...]:
        """Return what isn't hidden."""
        now = self._clock.now()
        found = [n for n in self._bodies if self._hidden.get(n, now) <= now]
        if hide:
            self._hidden |= dict.fromkeys(found, now + HIDDEN)
        return tuple(Message(body=self._bodies[n], receipt=n) for n in found)

    def keep(self, receipt: str) -> None:
        """Hide a message for a minute from now on."""
        if receipt in self._bodies:
            self._hidden[receipt] = self._clock.now() + HIDDEN

    def delete(self, receipt: str) -> None:
        """Forget it."""
        self._bodies.pop(receipt, None)


class MemoryHook:
    """`cost.spot.host_events.EndHook` of one group. `calls`: what was asked, in order."""

    def __init__(
        self, clock: Clock, *, heartbeat_s: float = 120, at_most_s: float = 172_800
    ) -> None:
        self._clock = clock
        self._times = HookTimes(
            heartbeat=timedelta(seconds=heartbeat_s), at_most=timedelta(seconds=at_most_s)
        )
        self._until: dict[str, datetime] = {}
        self.calls: list[tuple[str, str]] = []

    def hold(self, token: str) -> None:
        """Begin to hold an end."""
        self._until[token] = self._clock.now() + self._times.heartbeat

    def is_held(self, token: str) -> bool:
        """Return whether an end still waits."""
        return token in self._until and self._clock.now() < self._until[token]

    def holds(self, end: HeldEnd) -> bool:
        """Return whether it is this hook that holds an end."""
        return (end.group, end.hook) == (GROUP, HOOK)

    def times(self) -> HookTimes:
        """Return how long it waits."""
        return self._times

    def heartbeat(self, end: HeldEnd) -> bool:
        """Wait as long again."""
        self.calls.append(("heartbeat", end.instance))
        if held := self.is_held(end.token):
            self.hold(end.token)
        return held

    def complete(self, end: HeldEnd) -> bool:
        """Let it end."""
        self.calls.append(("complete", end.instance))
        held = self.is_held(end.token)
        self._until.pop(end.token, None)
        return held
