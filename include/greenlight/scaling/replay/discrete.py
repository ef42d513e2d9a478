"""A replay of single requests: arrivals, tokens, cold starts, draining, interruptions.

The fluid replay says how many hosts; this one says what a client sees of them. Requests go to the
host with the fewest open ones. Every minute the policy is asked, with the load that a gateway can
know: how many requests came in the last minute, times the mean length of answers that have ended.
A host that is stopped takes no more requests and costs until its last one has ended, or its drain
limit cuts the rest. An interruption (spot) gives notice, then cuts. Nothing is retried.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from greenlight.core.errors import InputError
from greenlight.scaling.replay.engine import Engine, EngineLimits, Request, Served
from greenlight.scaling.replay.latency import LatencyModel
from greenlight.scaling.replay.policies import Policy, Seen

TICK_S = 60.0
_LENGTHS = 500
"""Ended answers over which their length is averaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscreteFleet:
    """What hosts are like. Times in seconds."""

    latency: LatencyModel
    limits: EngineLimits
    cold_start_s: float
    drain_limit_s: float = 600.0
    gpus_per_host: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What a client expects: the first token and the mean gap between tokens, in seconds."""

    ttft_s: float
    gap_s: float

    def kept(self, served: Served) -> bool:
        """Tell whether a request got what it should, to its end."""
        if served.cut or served.ended is None or served.first_token is None:
            return False
        waited = served.first_token - served.request.arrives
        return waited <= self.ttft_s and served.gap_s <= self.gap_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Interruption:
    """The cloud takes the oldest host back: notice at `at`, gone `notice_s` later."""

    at: float
    notice_s: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscreteOutcome:
    """What came of it. `ttft_p99_s`: of requests that got a first token; `None`: none did."""

    requests: int
    slo_pct: float
    cut: int
    preempted: int
    ttft_p50_s: float | None
    ttft_p99_s: float | None
    gpu_hours: float
    starts: int
    stops: int


@dataclass(slots=True, kw_only=True)
class _Host:
    ordered: float
    ready: float
    engine: Engine
    drains_until: float | None = None
    gone: float | None = None


@dataclass(slots=True)
class _World:
    """Hosts by what they do, oldest first."""

    fleet: DiscreteFleet
    hosts: list[_Host] = field(default_factory=list)
    left: list[_Host] = field(default_factory=list)
    ended: deque[int] = field(default_factory=lambda: deque(maxlen=_LENGTHS))
    starts: int = 0
    stops: int = 0

    def start(self, now: float, *, ready: float) -> None:
        engine = Engine(self.fleet.latency, self.fleet.limits, now=ready)
        self.hosts.append(_Host(ordered=now, ready=ready, engine=engine))

    def serving(self, now: float) -> list[_Host]:
        return [h for h in self.hosts if h.ready <= now and h.drains_until is None]

    def starting(self, now: float) -> list[_Host]:
        return [h for h in self.hosts if h.ready > now and h.drains_until is None]

    def stop(self, host: _Host, now: float, *, within: float) -> None:
        self.stops += 1
        host.drains_until = now + within
        if host.ready > now:
            self._leave(host, now)

    def advance(self, now: float) -> None:
        """Let every host work until now; those that have drained go."""
        for host in list(self.hosts):
            limit = host.drains_until
            if host.ready > now:
                continue
            until = now if limit is None else min(now, limit)
            self.ended.extend(s.request.new_tokens for s in host.engine.advance(until))
            if limit is None:
                continue
            if not host.engine.open_requests:
                self._leave(host, min(now, limit))
            elif limit <= now:
                host.engine.cut()
                self._leave(host, limit)

    def become(self, wanted: int, now: float) -> None:
        serving, starting = self.serving(now), self.starting(now)
        change = max(0, wanted) - len(serving) - len(starting)
        for _ in range(change):
            self.starts += 1
            self.start(now, ready=now + self.fleet.cold_start_s)
        for host in [*reversed(starting), *sorted(serving, key=_busy)][: max(0, -change)]:
            self.stop(host, now, within=self.fleet.drain_limit_s)

    def _leave(self, host: _Host, now: float) -> None:
        host.gone = now
        self.hosts.remove(host)
        self.left.append(host)

    def paid_s(self, end: float) -> float:
        return sum((end if h.gone is None else h.gone) - h.ordered for h in self.left + self.hosts)


def _busy(host: _Host) -> int:
    return host.engine.open_requests


def simulate(
    requests: Sequence[Request],
    policy: Policy,
    fleet: DiscreteFleet,
    objective: Objective,
    *,
    hosts: int,
    interruptions: Iterable[Interruption] = (),
) -> DiscreteOutcome:
    """Return how a policy does on requests in order of arrival. `hosts`: ready at the start.

    Raises:
        InputError: there are no requests, or they aren't in order.
    """
    arrivals = [request.arrives for request in requests]
    if not requests or arrivals != sorted(arrivals):
        raise InputError(f"{len(requests)} requests: at least one is needed, in order of arrival")
    world = _World(fleet)
    for _ in range(hosts):
        world.start(0.0, ready=0.0)
    served = [Served(request=request) for request in requests]
    homeless: deque[Served] = deque()
    notices = deque(sorted(interruptions, key=lambda notice: notice.at))
    next_request = arrived = step = 0
    while next_request < len(served):
        tick = step * TICK_S
        while next_request < len(served) and arrivals[next_request] < tick:
            _route(world, homeless, served[next_request], arrivals[next_request])
            next_request += 1
        world.advance(tick)
        _interrupt(world, notices, tick)
        load = _load(world, next_request - arrived) if step else None
        arrived = next_request
        seen = Seen(
            step=step,
            now=tick,
            load=load,
            ready=len(world.serving(tick)),
            starting=len(world.starting(tick)),
        )
        world.become(policy.desired(seen), tick)
        _place(world, homeless, tick)
        step += 1
    end = step * TICK_S
    _finish(world, homeless, end)
    return _outcome(world, served, objective, end=end)


def _route(world: _World, homeless: deque[Served], served: Served, now: float) -> None:
    """Give a request to the host with the fewest open ones, all of them worked up to now."""
    candidates = world.serving(now)
    for host in candidates:
        world.ended.extend(s.request.new_tokens for s in host.engine.advance(now))
    if not candidates:
        homeless.append(served)
        return
    min(candidates, key=_busy).engine.add(served)


def _place(world: _World, homeless: deque[Served], now: float) -> None:
    """Give requests that found no host at all to one, once there is one."""
    hosts = world.serving(now)
    while homeless and hosts:
        min(hosts, key=_busy).engine.add(homeless.popleft())


def _interrupt(world: _World, notices: deque[Interruption], now: float) -> None:
    while notices and notices[0].at <= now:
        notice = notices.popleft()
        serving = world.serving(now)
        if serving:
            world.stop(serving[0], now, within=notice.notice_s)


def _load(world: _World, came: int) -> float | None:
    """Return the tokens a second that were asked for, as far as a gateway can know it."""
    if not world.ended:
        return None
    return came * float(np.mean(world.ended)) / TICK_S


def _finish(world: _World, homeless: deque[Served], end: float) -> None:
    """Let everybody who has a host come to an end."""
    for host in world.hosts:
        limit = math.inf if host.drains_until is None else host.drains_until
        while host.engine.open_requests and host.engine.now < limit:
            host.engine.advance(min(limit, max(host.engine.now, end) + TICK_S))
        host.engine.cut()
    for served in homeless:
        served.cut = True


def _outcome(
    world: _World, served: Sequence[Served], objective: Objective, *, end: float
) -> DiscreteOutcome:
    waits = [s.first_token - s.request.arrives for s in served if s.first_token is not None]
    return DiscreteOutcome(
        requests=len(served),
        slo_pct=100 * sum(objective.kept(s) for s in served) / len(served),
        cut=sum(s.cut for s in served),
        preempted=sum(s.preempted for s in served),
        ttft_p50_s=float(np.quantile(waits, 0.5)) if waits else None,
        ttft_p99_s=float(np.quantile(waits, 0.99)) if waits else None,
        gpu_hours=world.paid_s(end) / 3600 * world.fleet.gpus_per_host,
        starts=world.starts,
        stops=world.stops,
    )
