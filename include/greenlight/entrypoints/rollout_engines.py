"""What a rollout does to engines and to the router's servers; every call can be repeated."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from greenlight.core.errors import GateError, RefusedError, UnavailableError
from greenlight.core.types import JsonDict
from greenlight.deploy.colours import Colour
from greenlight.deploy.ports import EngineState, ModelFolder, ServerMode
from greenlight.deploy.shares import require_others
from greenlight.entrypoints.rollout_hold import Hold

log = logging.getLogger(__name__)

POLL_S = 0.2
SEEN_UP_S = 30.0
"""How long the router may take to see an engine that is ready."""


def start(hold: Hold, host: str, colour: Colour, model: ModelFolder) -> JsonDict:
    """Start a colour on a host and wait until it serves; what the slot held before is stopped.

    Raises:
        GateError: the engine ended while it started.
        RefusedError: it serves another digest than it was given.
        UnavailableError: it is not ready within the profile's `ready_s`.
    """
    tools, runner = hold.tools, hold.tools.hosts[host]
    digest, began = model.manifest.digest, tools.clock.monotonic()
    found = runner.status(colour)
    same = (found.digest, found.flags_digest) == (digest, tools.fleet.engine.digest)
    if found.state is EngineState.FAILED or (found.state is not EngineState.STOPPED and not same):
        runner.stop(colour)
    runner.start(colour, model=model)
    while (status := runner.status(colour)).state is not EngineState.READY:
        hold.keeper.check()
        waited = tools.clock.monotonic() - began
        if status.state is not EngineState.STARTING:
            raise GateError(
                f"the {colour} engine of host {host} did not start ({status.reason}); its log "
                f"ends with\n{runner.logs(colour)}"
            )
        if waited > tools.fleet.engine.ready_s:
            raise UnavailableError(
                f"the {colour} engine of host {host} is not ready after {waited:.0f} s (ready_s); "
                f"its log ends with\n{runner.logs(colour)}"
            )
        tools.sleep(POLL_S)
    if status.served_digest != digest:
        raise RefusedError(f"host {host} serves digest {status.served_digest}, not {digest}")
    return {"ready_s": round(tools.clock.monotonic() - began, 1), "digest": digest}


def open_to_router(hold: Hold, colour: Colour, hosts: Sequence[str]) -> None:
    """Let the router send requests to a colour, and wait until it sees the engines up.

    Raises:
        UnavailableError: it does not see one of them up in time.
    """
    modes = {(host, colour): ServerMode.READY for host in hosts}
    hold.tools.router.set_modes(modes, fence=hold.fence)
    until = hold.tools.clock.monotonic() + SEEN_UP_S
    while True:
        servers = hold.tools.router.state().of(colour)
        down = [s.host for s in servers if s.host in hosts and not s.up]
        if not down:
            return
        if hold.tools.clock.monotonic() > until:
            raise UnavailableError(f"the router does not see {colour} up on {', '.join(down)}")
        hold.tools.sleep(POLL_S)


def drain(hold: Hold, colour: Colour, hosts: Sequence[str]) -> int:
    """Send nothing new to a colour and wait for its streams; return how many were cut.

    They may last as long as the profile's `drain_s`.
    """
    tools = hold.tools
    tools.router.set_modes({(h, colour): ServerMode.DRAIN for h in hosts}, fence=hold.fence)
    until = tools.clock.monotonic() + tools.fleet.engine.drain_s
    while streams := _sessions(hold, colour, hosts):
        if tools.clock.monotonic() > until:
            log.warning("%d streams of %s outlived drain_s and are cut", streams, colour)
            break
        hold.keeper.check()
        tools.sleep(POLL_S)
    tools.router.set_modes({(h, colour): ServerMode.MAINT for h in hosts}, fence=hold.fence)
    return streams


def retire(hold: Hold, colour: Colour) -> JsonDict:
    """Drain a colour on every host, stop its engines, and delete models nobody needs."""
    hosts = list(hold.tools.hosts)
    streams_cut = drain(hold, colour, hosts)
    keep = [d for d in (hold.rollout.digest, hold.rollout.previous_digest) if d]
    for runner in hold.tools.hosts.values():
        runner.stop(colour)
        runner.prune(keep=keep)
    return {"streams_cut": streams_cut}


def exchange(hold: Hold, host: str, colour: Colour, model: ModelFolder) -> JsonDict:
    """Put a colour in the place of the other on one host; the other hosts serve meanwhile.

    Nobody is sent to it yet: see `admit`.

    Raises:
        LostLeaseError: the lease may be lost, so nothing was stopped.
        UnavailableError: nobody else serves, so nothing was stopped; or as `start`.
        GateError, RefusedError: as `start`.
    """
    runner = hold.tools.hosts[host]
    hold.keeper.check()
    require_others(hold.tools.router.state(), host)
    streams_cut = drain(hold, colour.other, [host])
    runner.stop(colour.other)
    runner.put_model(model)
    return start(hold, host, colour, model) | {"streams_cut": streams_cut}


def admit(hold: Hold, host: str, colour: Colour) -> None:
    """Send a host's part of the traffic to one colour of it."""
    open_to_router(hold, colour, [host])
    shares = {colour: 100, colour.other: 0}
    hold.tools.router.shift(shares, fence=hold.fence, hosts=[host])


def exchange_back(hold: Hold, model: ModelFolder) -> None:
    """Bring the old engine back to every host, the last exchanged first, one after the other.

    One host at a time is out, as on the way forward. A host whose old engine does not come back
    keeps none of the others from getting theirs.

    Raises:
        GateError, UnavailableError: that of the first such host.
    """
    failed = []
    for host in reversed(hold.moves):
        try:
            if hold.tools.hosts[host].status(hold.old).state is not EngineState.READY:
                exchange(hold, host, hold.old, model)
            elif _is_admitted(hold, host, hold.old):
                continue
            admit(hold, host, hold.old)
        except (GateError, UnavailableError) as error:
            log.error("rollout %s: host %s is not back: %s", hold.rollout.id, host, error)
            failed.append(error)
    if failed:
        raise failed[0]


def _is_admitted(hold: Hold, host: str, colour: Colour) -> bool:
    servers = hold.tools.router.state().of(colour)
    return any(s.host == host and s.mode is ServerMode.READY and s.weight == 100 for s in servers)


def _sessions(hold: Hold, colour: Colour, hosts: Sequence[str]) -> int:
    servers = hold.tools.router.state().of(colour)
    return sum(server.sessions for server in servers if server.host in hosts)
