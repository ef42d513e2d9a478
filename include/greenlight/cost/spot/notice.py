"""What to do when a cloud says that it takes a host away. It decides; the router drains.

AWS gives two minutes before it takes a spot host, and sometimes an earlier hint that one is at
risk. An Auto Scaling group that ends a host waits for as long as its lifecycle hook says.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from greenlight.core.errors import InputError

LAST = timedelta(seconds=30)
"""How long before its end a host is drained that nobody can stand in for."""


class NoticeKind(StrEnum):
    """AWS' words."""

    INTERRUPTION = "interruption"
    TERMINATION = "termination"
    REBALANCE = "rebalance"
    """A hint: the host is at risk, and may stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A warning about one host. `at`: when it is taken; a hint has no time."""

    host: str
    kind: NoticeKind
    at: datetime | None


class Step(StrEnum):
    """What somebody has to do."""

    START_REPLACEMENT = "start_replacement"
    DRAIN = "drain"
    """No new requests; open streams may end (`deploy.ports.ServerMode.DRAIN`)."""
    WAIT = "wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One step. `by`: when it must be over."""

    step: Step
    host: str
    by: datetime | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """The fleet as it is. `at_least`: hosts that must go on serving while nothing forces us."""

    hosts: Collection[str]
    draining: Collection[str]
    starting: Collection[str]
    at_least: int


def answer(notice: Notice, fleet: Serving, *, now: datetime) -> tuple[Action, ...]:
    """Return what to do, in order. The same notice twice asks for nothing new.

    A host that will be taken is drained at once, however few are left: its streams would be cut.
    Only when nobody else serves it goes on until shortly before: else everybody would be refused
    for minutes. One that is only at risk is drained when enough others serve, after its replacement
    has started.

    Raises:
        InputError: a host is taken, and it isn't said when.
    """
    if notice.kind is not NoticeKind.REBALANCE and notice.at is None:
        raise InputError(f"the {notice.kind} of {notice.host} has no time")
    if notice.host in fleet.draining:
        return ()
    if notice.host not in fleet.hosts:
        return (
            Action(
                step=Step.WAIT, host=notice.host, by=None, why="it doesn't serve: nothing to do"
            ),
        )
    left = [h for h in fleet.hosts if h != notice.host and h not in fleet.draining]
    actions = []
    if len(left) + len(fleet.starting) < max(fleet.at_least, len(fleet.hosts)):
        actions.append(
            Action(
                step=Step.START_REPLACEMENT,
                host=notice.host,
                by=notice.at,
                why=f"{len(left)} hosts are left and {len(fleet.starting)} start",
            )
        )
    actions.append(_drained(notice, len(left), fleet.at_least, now=now))
    return tuple(actions)


def _drained(notice: Notice, left: int, at_least: int, *, now: datetime) -> Action:
    if notice.at is not None and notice.kind is not NoticeKind.REBALANCE:
        room = max(notice.at - now, timedelta(0))
        why = f"it is taken in {room.total_seconds():.0f} s; streams that last longer are cut"
        if not left and room > LAST:
            why = (
                f"nobody else serves: it goes on until {LAST.total_seconds():.0f} s before its end"
            )
            return Action(step=Step.WAIT, host=notice.host, by=notice.at - LAST, why=why)
        return Action(step=Step.DRAIN, host=notice.host, by=notice.at, why=why)
    if left < at_least:
        return Action(
            step=Step.WAIT,
            host=notice.host,
            by=None,
            why=f"it is only at risk, and {left} others serve, {at_least} are needed: drain it "
            "when its replacement does",
        )
    return Action(
        step=Step.DRAIN, host=notice.host, by=None, why="at risk, and enough others serve"
    )
