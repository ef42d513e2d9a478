"""`greenlight scaling loop`: a fleet's own slots, started and drained between a schedule's bounds.

It holds, and says why, while a rollout is on its way, while somebody else has the fleet's lease,
and while it isn't known what is asked of the fleet.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from greenlight.core.errors import (
    GreenlightError,
    LostLeaseError,
    RefusedError,
    RetryableError,
)
from greenlight.deploy.colours import Colour
from greenlight.deploy.journal import Live, live, since_live, unfinished
from greenlight.deploy.ports import (
    EngineState,
    HostRunner,
    Lease,
    RouterState,
    ServerMode,
    ServerState,
)
from greenlight.entrypoints.fleet_load import load_now
from greenlight.entrypoints.fleet_loop import keep_looking
from greenlight.entrypoints.lease_keeper import LeaseKeeper
from greenlight.entrypoints.scaling import read_kept
from greenlight.scaling.capacity import HostCapacity, Unknown
from greenlight.scaling.ports import DemandSource, ScheduleStore
from greenlight.scaling.reactive import Bounds, Decision, Recommendation, Signal, decide
from greenlight.scaling.scaling_file import FleetScaling, LocalSlots
from greenlight.scaling.slots import Action, Slot, SlotState, Step, hosts_there, plan_slots

if TYPE_CHECKING:
    from greenlight.entrypoints.rollout_tools import Tools

log = logging.getLogger(__name__)

LEASE_S = 60.0
LEFT_ALONE_S = 600.0
"""How long a host is left alone that couldn't be started, so that another one is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """One look at a fleet. `steps`: what was, or would be, done."""

    why: str
    steps: tuple[Step, ...] = ()


@dataclass(slots=True, kw_only=True)
class SlotLoop:
    """The loop of one fleet. What it remembers is only how long things have been so."""

    tools: Tools
    scaling: FleetScaling
    store: ScheduleStore
    source: DemandSource
    capacity: Callable[[], HostCapacity | Unknown]
    _window: tuple[Recommendation, ...] = field(default=(), init=False)
    _draining: dict[str, float] = field(default_factory=dict, init=False)
    _failed: dict[str, tuple[float, str]] = field(default_factory=dict, init=False)

    def run(
        self,
        *,
        every_s: float,
        stop: threading.Event,
        looked: Callable[[], None] = lambda: None,
    ) -> None:
        """Look again and again, as `fleet_loop.Loop`."""
        fleet = self.tools.fleet.name
        keep_looking(self._look, fleet=fleet, every_s=every_s, stop=stop, looked=looked)

    def _look(self) -> tuple[str, int]:
        try:
            found = self.cycle()
        except (RetryableError, RefusedError) as error:
            found = Cycle(why=f"held: {error}")
        return "; ".join([found.why, *(step.line for step in found.steps)]), logging.INFO

    def cycle(self, *, dry_run: bool = False) -> Cycle:
        """Look at the fleet once, and do what follows from it.

        Raises:
            UnavailableError: the router, the database or a host that is needed doesn't answer.
            RefusedError: somebody else is changing the fleet; nothing was done.
        """
        now_live = self._free()
        if isinstance(now_live, str):
            return Cycle(why=now_live)
        kept = self.store.applied(self.tools.fleet.name)
        if kept is None:
            return Cycle(why="held: no schedule is applied")
        size = read_kept(kept).at(self.tools.clock.now())
        slots = self._slots(now_live)
        most = len(self.tools.hosts)
        bounds = Bounds(
            minimum=min(size.minimum, most),
            maximum=min(size.maximum, most),
            unseen=min(size.desired, most),
        )
        decision = self._decide(slots, bounds)
        steps = plan_slots(
            slots,
            desired=decision.desired,
            floor=self.scaling.floor,
            drain_s=self.scaling.drain_s,
            held=decision.held,
        )
        if steps and not dry_run:
            self._act(steps, now_live)
        away = [f"{s.host} is left alone: {s.reason}" for s in slots if s.state is SlotState.AWAY]
        return Cycle(why="; ".join([decision.why, *away]), steps=steps)

    def _free(self) -> Live | str:
        """Return what is live, or why the fleet isn't touched."""
        history = since_live(self.tools.journal, self.tools.fleet.name)
        left, now_live = unfinished(history), live(history)
        if left is not None:
            return f"held: rollout {left.id} is on its way"
        return now_live or "held: nothing is live"

    def _slots(self, now_live: Live) -> list[Slot]:
        state, now = self.tools.router.state(), self.tools.clock.monotonic()
        found = [_slot(host, runner, state, now_live) for host, runner in self.tools.hosts.items()]
        draining = {slot.host for slot in found if slot.state is SlotState.DRAINING}
        self._draining = {host: self._draining.get(host, now) for host in draining}
        return [
            self._left_alone(replace(slot, draining_s=now - self._draining.get(slot.host, now)))
            for slot in found
        ]

    def _left_alone(self, slot: Slot) -> Slot:
        since, reason = self._failed.get(slot.host, (-math.inf, ""))
        if self.tools.clock.monotonic() - since > LEFT_ALONE_S:
            return slot
        is_resting = slot.state is SlotState.RESTING
        return replace(slot, state=SlotState.AWAY, reason=reason) if is_resting else slot

    def _decide(self, slots: list[Slot], bounds: Bounds) -> Decision:
        serving, coming = hosts_there(slots)
        now = self.tools.clock.monotonic()
        if not self._window:  # a new loop lets a window pass before it takes anything away
            self._window = (Recommendation(at=now, hosts=serving + coming),)
        capacity = self.capacity()
        known = isinstance(capacity, HostCapacity)
        speed = capacity.tokens_per_second if isinstance(capacity, HostCapacity) else 1.0
        fleet, at = self.tools.fleet.name, self.tools.clock.now()
        load = load_now(self.source, fleet, now=at) if known else None
        decision = decide(
            {Signal.TOKENS: load / serving if load is not None and serving else None},
            ready=serving,
            starting=coming,
            bounds=bounds,
            window=self._window,
            now=now,
            settings=self.scaling.reactive(speed),
        )
        self._window = decision.window
        return decision

    def _act(self, steps: tuple[Step, ...], now_live: Live) -> None:
        """Take the fleet's lease, see that it is still ours to change, do the steps, let go.

        A step that fails doesn't hold the others up.
        """
        name, leases = self.tools.fleet.name, self.tools.leases
        lease = leases.acquire(name, holder=f"the loop of {name}", ttl_s=LEASE_S)
        try:
            with LeaseKeeper(leases, lease, ttl_s=LEASE_S) as keeper:
                again = self._free()
                if again != now_live:
                    raise RefusedError(f"fleet {name} was changed meanwhile: {again}")
                for step in steps:
                    keeper.check()
                    try:
                        self._do(step, now_live, lease)
                    except LostLeaseError:
                        raise
                    except GreenlightError as error:
                        log.error("fleet %s: %s failed: %s", name, step.line, error)
                        self._failed[step.host] = (self.tools.clock.monotonic(), str(error))
        finally:
            leases.release(lease)

    def _do(self, step: Step, now_live: Live, lease: Lease) -> None:
        colour, host = now_live.colour, step.host
        match step.action:
            case Action.START:
                self._start(self.tools.hosts[host], now_live)
            case Action.ADMIT:
                self._admit(host, colour, lease)
            case Action.DRAIN:
                self._set(host, colour, ServerMode.DRAIN, lease)
                self._draining[host] = self.tools.clock.monotonic()
            case Action.STOP:
                self._set(host, colour, ServerMode.MAINT, lease)
                self.tools.hosts[host].stop(colour)

    def _start(self, runner: HostRunner, now_live: Live) -> None:
        model = self.tools.models.folder(self.tools.fleet.model, now_live.version)
        if model.manifest.digest != now_live.digest:
            raise RefusedError(
                f"version {now_live.version} is {model.manifest.digest}, but {now_live.digest} is "
                "live: nothing is started"
            )
        if not runner.has_model(now_live.digest):
            runner.put_model(model)
        runner.start(now_live.colour, model=model)

    def _admit(self, host: str, colour: Colour, lease: Lease) -> None:
        """Let the router send requests, once it sees the engine: the next look goes on."""
        self._set(host, colour, ServerMode.READY, lease)
        server = _server(self.tools.router.state(), host, colour)
        if server.up and not server.weight:
            shares = {colour: 100, colour.other: 0}
            self.tools.router.shift(shares, fence=lease.fence, hosts=[host])

    def _set(self, host: str, colour: Colour, mode: ServerMode, lease: Lease) -> None:
        self.tools.router.set_modes({(host, colour): mode}, fence=lease.fence)


def least_hosts(
    scaling: FleetScaling, store: ScheduleStore, fleet: str, *, now: datetime
) -> int | None:
    """Return how many hosts must serve now; `None`: the loop doesn't take any away."""
    kept = store.applied(fleet)
    if not isinstance(scaling.target, LocalSlots) or kept is None:
        return None
    return max(scaling.floor, read_kept(kept).at(now).minimum)


def _slot(host: str, runner: HostRunner, state: RouterState, now_live: Live) -> Slot:
    server = _server(state, host, now_live.colour)
    try:
        engine = runner.status(now_live.colour)
    except GreenlightError as error:
        return Slot(host=host, state=SlotState.AWAY, reason=str(error))
    if engine.state is EngineState.STOPPED:
        return Slot(host=host, state=SlotState.RESTING)
    if engine.state is EngineState.STARTING:
        return Slot(host=host, state=SlotState.STARTING)
    if engine.state is EngineState.FAILED:
        return Slot(host=host, state=SlotState.AWAY, reason=engine.reason or "its engine failed")
    wanted = (now_live.digest, now_live.flags_digest)
    if (engine.served_digest, engine.flags_digest) != wanted:
        return Slot(host=host, state=SlotState.AWAY, reason="it serves something else")
    if server.mode is ServerMode.DRAIN:
        return Slot(host=host, state=SlotState.DRAINING, sessions=server.sessions)
    return Slot(
        host=host,
        state=SlotState.SERVING if server.serves else SlotState.WAITING,
        sessions=server.sessions,
    )


def _server(state: RouterState, host: str, colour: Colour) -> ServerState:
    return next(s for s in state.servers if (s.host, s.colour) == (host, colour))
