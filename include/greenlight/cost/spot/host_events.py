"""Events by which AWS tells that it takes a host, as EventBridge puts them into a queue.

Three rules feed one queue: the spot interruption warning, the rebalance recommendation, and what an
Auto Scaling group sends before it ends an instance that its lifecycle hook holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from pydantic import AwareDatetime, ConfigDict, Field, ValidationError

from greenlight.core.errors import InputError
from greenlight.core.types import Value
from greenlight.cost.spot.notice import NoticeKind

NOTICE_TIME = timedelta(minutes=2)
"""From the warning until a spot host is taken."""
AT_ONCE = "hibernate"
"""The one action that begins with its warning."""
TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldEnd:
    """An end that waits for us. `token` names this one end of the instance."""

    group: str
    hook: str
    instance: str
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostEvent:
    """What AWS told of an instance. `ends`: when a spot host is taken; `held`: whom we must tell.

    How long an end is held isn't in the event: the hook says it.
    """

    kind: NoticeKind
    instance: str
    told: datetime
    ends: datetime | None = None
    held: HeldEnd | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What is the same when AWS tells the same thing twice."""
        ends = self.ends.isoformat() if self.ends else ""
        return (self.kind, self.instance, self.held.token if self.held else ends)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message that nobody else sees for a while. `receipt`: with which it is kept or deleted."""

    body: str
    receipt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HookTimes:
    """How long a hook waits for a sign of life, and at most with any number of them."""

    heartbeat: timedelta
    at_most: timedelta


class EventQueue(Protocol):
    """Messages, each of which comes again until it is deleted.

    All methods raise `UnavailableError` when the queue can't be reached, `ConfigError` when it
    refuses.
    """

    def receive(self, *, hide: bool) -> tuple[Message, ...]:
        """Return some messages. `hide`: nobody else gets them for a minute."""

    def keep(self, receipt: str) -> None:
        """Hide a message for a minute from now on; one that is gone is fine."""

    def delete(self, receipt: str) -> None:
        """Never get it again; one that is gone is fine."""


class EndHook(Protocol):
    """The hook that holds the end of a fleet's instances. Raises as `EventQueue`."""

    def holds(self, end: HeldEnd) -> bool:
        """Return whether it is this hook that holds an end."""

    def times(self) -> HookTimes | None:
        """Return how long it waits; `None`: there is no such hook."""

    def heartbeat(self, end: HeldEnd) -> bool:
        """Say that we are still at it; `False`: the end isn't held any more."""

    def complete(self, end: HeldEnd) -> bool:
        """Let the instance end; `False`: it wasn't held any more."""


class _Read(Value):
    """What we need of an event; AWS adds fields as it likes."""

    model_config = ConfigDict(extra="ignore")


class _Envelope(_Read):
    detail_type: str = Field(alias="detail-type")
    time: AwareDatetime
    detail: dict[str, Any]


class _Instance(_Read):
    instance: str = Field(alias="instance-id")
    action: str = Field(alias="instance-action", default="")


class _Lifecycle(_Read):
    instance: str = Field(alias="EC2InstanceId")
    group: str = Field(alias="AutoScalingGroupName")
    hook: str = Field(alias="LifecycleHookName")
    token: str = Field(alias="LifecycleActionToken")
    transition: str = Field(alias="LifecycleTransition")


def read_event(body: str) -> HostEvent:
    """Return the event of a message.

    Raises:
        InputError: it is none of the three, or lacks something.
    """
    try:
        found = _Envelope.model_validate_json(body)
        told = found.time.astimezone(UTC)
        match found.detail_type:
            case "EC2 Spot Instance Interruption Warning":
                warned = _Instance.model_validate(found.detail)
                ends = told if warned.action == AT_ONCE else told + NOTICE_TIME
                return HostEvent(
                    kind=NoticeKind.INTERRUPTION, instance=warned.instance, told=told, ends=ends
                )
            case "EC2 Instance Rebalance Recommendation":
                warned = _Instance.model_validate(found.detail)
                return HostEvent(kind=NoticeKind.REBALANCE, instance=warned.instance, told=told)
            case "EC2 Instance-terminate Lifecycle Action":
                return _ending(_Lifecycle.model_validate(found.detail), told)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"an event's {where or 'text'}: {first['msg']}") from error
    raise InputError(
        f"an event of type {found.detail_type!r} says nothing of a host's end: let no rule of "
        "EventBridge send it to this queue"
    )


def _ending(found: _Lifecycle, told: datetime) -> HostEvent:
    if found.transition != TERMINATING:
        raise InputError(f"the transition {found.transition!r} isn't {TERMINATING}")
    held = HeldEnd(group=found.group, hook=found.hook, instance=found.instance, token=found.token)
    return HostEvent(kind=NoticeKind.TERMINATION, instance=found.instance, told=told, held=held)
