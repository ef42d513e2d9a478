"""Hosts that AWS takes: drained through the router while there is time, and never put back.

One way in: EventBridge's events in one SQS queue. The other would be each host's own metadata, but
that has to be asked for all hosts every few seconds over a link to a host that is going, and it
says nothing of an end that an Auto Scaling group's hook holds. A queue is asked once, and keeps
what came while nobody looked. EventBridge and metadata promise the same: best effort.

A message stays hidden while its host is in hand, and is deleted when that is over. So a worker that
was killed leaves nothing behind that the next one isn't told again, and what is told twice is done
once.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from greenlight.core.errors import GreenlightError, InputError, UnavailableError
from greenlight.cost.spot.host_events import (
    EndHook,
    EventQueue,
    HookTimes,
    HostEvent,
    Message,
    read_event,
)
from greenlight.cost.spot.notice import Notice, NoticeKind, Serving, Step, answer
from greenlight.deploy.ports import RouterState, ServerMode, ServerState
from greenlight.entrypoints.host_drain import drain_host

if TYPE_CHECKING:
    from greenlight.entrypoints.rollout_tools import Tools

log = logging.getLogger(__name__)

KEEP_S = 20.0
"""How often a message in hand is kept hidden, which lasts a minute."""
BEATS = 3
"""Signs of life within the time that a hook waits for one."""
HINT_LASTS = timedelta(hours=1)
"""How long a hint waits until others can stand in for its host."""
REMEMBERED = 1000
"""Notices that were over not long ago: SQS may tell one again although it was deleted."""
UNKNOWN = "unknown"
"""The kind of what can't be read."""


class Outcome(StrEnum):
    """What became of a notice."""

    DRAINED = "drained"
    """It gets no more requests, and none of its streams was cut."""
    CUT = "cut"
    """It was drained, and some streams hadn't ended when its time was over."""
    LEFT = "left"
    """It still gets requests: we learned of it too late, or nobody could stand in for it."""
    NOT_OURS = "not_ours"
    """No host of fleet.yaml is that instance, or another hook holds its end."""
    UNREADABLE = "unreadable"


@dataclass(slots=True, kw_only=True)
class InHand:
    """A host that is being taken. `sessions`: on it when it was last looked at in time."""

    event: HostEvent
    host: str
    ends: datetime
    times: HookTimes | None = None
    receipts: list[str] = field(default_factory=list)
    sessions: int | None = None
    kept_at: float = -math.inf
    beat_at: float = -math.inf


@dataclass(slots=True, kw_only=True)
class HostNotices:
    """What AWS tells of one fleet. `needed`: how many hosts should serve now; `None`: not known.

    `drain_s`: how long streams may go on when a group ends a host.
    """

    tools: Tools
    queue: EventQueue
    hook: EndHook
    drain_s: int
    needed: Callable[[], int | None]
    count: Callable[[str, str], None] = field(default=lambda kind, outcome: None)
    in_hand: dict[tuple[str, str, str], InHand] = field(default_factory=dict, init=False)
    _over: deque[tuple[str, str, str]] = field(
        default_factory=lambda: deque(maxlen=REMEMBERED), init=False
    )

    def look(self, *, dry_run: bool = False) -> tuple[str, ...]:
        """See what AWS tells, and carry on with every host in hand; return that, a line each.

        One that can't be carried on now doesn't hold the others up.

        Raises:
            UnavailableError, ConfigError: the queue.
        """
        said = [line for one in self.queue.receive(hide=not dry_run)
                for line in self._take(one, dry_run=dry_run)]  # fmt: skip
        for held in list(self.in_hand.values()):
            try:
                said += self._carry_on(held, dry_run=dry_run)
            except GreenlightError as error:
                log.error("host %s, %s: %s", held.host, held.event.kind, error)
                said.append(f"{held.host}: not done yet: {error}")
        if dry_run:
            self.in_hand.clear()
        return tuple(said)

    def _take(self, message: Message, *, dry_run: bool) -> Iterator[str]:
        """Take a message in hand; one that can't be read stays, for the dead-letter queue."""
        try:
            event = read_event(message.body)
        except InputError as error:
            self.count(UNKNOWN, Outcome.UNREADABLE)
            log.error("fleet %s: %s", self.tools.fleet.name, error)
            yield f"not read: {error}"
            return
        if event.key in self._over:
            self.queue.delete(message.receipt)
            return
        known = self.in_hand.get(event.key)
        if known is None and (why := self._why_not_ours(event)):
            yield f"{event.kind} of {event.instance} is left alone: {why}"
            if not dry_run:
                self.count(event.kind, Outcome.NOT_OURS)
                self.queue.delete(message.receipt)
            return
        if known is None:
            known = self.in_hand[event.key] = self._new(event)
        known.receipts.append(message.receipt)
        known.kept_at = self.tools.clock.monotonic()

    def _why_not_ours(self, event: HostEvent) -> str | None:
        if event.instance not in self._instances():
            return f"no host of fleet {self.tools.fleet.name} is that instance"
        if event.held is not None and not self.hook.holds(event.held):
            return f"hook {event.held.hook} of group {event.held.group} isn't the fleet's"
        return None

    def _instances(self) -> Mapping[str, str]:
        hosts = self.tools.fleet.hosts
        return {host.ssm.instance_id: host.name for host in hosts if host.ssm is not None}

    def _new(self, event: HostEvent) -> InHand:
        lasts = (
            HINT_LASTS if event.kind is NoticeKind.REBALANCE else timedelta(seconds=self.drain_s)
        )
        return InHand(
            event=event,
            host=self._instances()[event.instance],
            ends=event.ends or event.told + lasts,
        )

    def _carry_on(self, held: InHand, *, dry_run: bool) -> Iterator[str]:
        now, was_admitted = self.tools.clock.now(), self._is_admitted(held.host)
        over = now >= held.ends
        if was_admitted and not over:
            for step, why in self._answer(held, now=now):
                yield f"{'would ' if dry_run else ''}{step} {held.host}: {why}"
                if step is Step.DRAIN and not dry_run:
                    told = {"kind": str(held.event.kind), "instance": held.event.instance}
                    drain_host(self.tools, held.host, why=why, told=told)
        if dry_run:
            return
        if not over or held.sessions is None:  # later the host is gone, and its requests with it
            held.sessions = sum(server.sessions for server in self._servers(held.host))
        # What was drained just now may have been given a request at the last moment.
        if over or (not was_admitted and self._may_go(held)) or not self._keep(held):
            yield self._finish(held)

    def _is_admitted(self, host: str) -> bool:
        return any(server.mode is ServerMode.READY for server in self._servers(host))

    @staticmethod
    def _may_go(held: InHand) -> bool:
        """Return whether nothing is left to wait for. A spot host is watched until it is taken."""
        if held.event.kind is NoticeKind.TERMINATION:
            return not held.sessions
        return held.event.kind is NoticeKind.REBALANCE

    def _answer(self, held: InHand, *, now: datetime) -> Iterator[tuple[Step, str]]:
        hint = held.event.kind is NoticeKind.REBALANCE
        notice = Notice(host=held.host, kind=held.event.kind, at=None if hint else held.ends)
        try:
            needed = self.needed()
        except UnavailableError as error:  # a host that is taken is taken all the same
            log.warning("how many hosts are needed is not known: %s", error)
            needed = None
        fleet = _serving(self.tools.router.state(), needed=needed, also=held.host)
        for action in answer(notice, fleet, now=now):
            if action.step is not Step.START_REPLACEMENT:  # the group's own business
                yield action.step, action.why

    def _keep(self, held: InHand) -> bool:
        """Keep message and end held; `False`: the end isn't any more."""
        now = self.tools.clock.monotonic()
        if now - held.kept_at >= KEEP_S:
            for receipt in held.receipts:
                self.queue.keep(receipt)
            held.kept_at = now
        if held.event.held is None:
            return True
        if held.times is None:
            drain = timedelta(seconds=self.drain_s)
            held.times = self.hook.times() or HookTimes(heartbeat=drain, at_most=drain)
            held.ends = min(held.ends, held.event.told + held.times.at_most)
        if now - held.beat_at < held.times.heartbeat.total_seconds() / BEATS:
            return True
        held.beat_at = now
        return self.hook.heartbeat(held.event.held)

    def _finish(self, held: InHand) -> str:
        event, outcome = held.event, Outcome.DRAINED
        if self._is_admitted(held.host):
            outcome = Outcome.LEFT
        elif held.sessions and event.kind is not NoticeKind.REBALANCE:
            outcome = Outcome.CUT
        if event.held is not None:
            self.hook.complete(event.held)
        for receipt in held.receipts:
            self.queue.delete(receipt)
        del self.in_hand[event.key]
        self._over.append(event.key)
        self.count(event.kind, outcome)
        said = f"{event.kind} of {held.host} ({event.instance}) is over: {outcome}"
        log.warning("%s; requests on it: %s", said, held.sessions)
        return said

    def _servers(self, host: str) -> tuple[ServerState, ...]:
        return self.tools.router.state().on(host)


def _serving(state: RouterState, *, needed: int | None, also: str) -> Serving:
    """Return who serves; `also` counts although it may be down just now."""
    hosts = {server.host for server in state.servers if server.serves}
    hosts.add(also)
    draining = {s.host for s in state.servers if s.mode is ServerMode.DRAIN} - hosts
    at_least = len(hosts) if needed is None else min(needed, len(hosts))
    return Serving(hosts=hosts, draining=draining, starting=(), at_least=at_least)
