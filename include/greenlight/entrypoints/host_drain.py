"""Take a host out of traffic whose end somebody else has decided.

It doesn't wait for a rollout that holds the fleet's lease: the host will be gone long before. It
carries the holder's own fence, so that it takes the lease from nobody, and does nothing but keep
new requests from a host that can't finish them. Should the rollout let them in again, whoever
drains has to look again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from greenlight.core.errors import UnavailableError
from greenlight.core.types import JsonDict
from greenlight.deploy.journal import Event, Phase, Step, live, since_live, unfinished
from greenlight.deploy.ports import ServerMode

if TYPE_CHECKING:
    from greenlight.entrypoints.rollout_tools import Tools

log = logging.getLogger(__name__)

LEASE_S = 30.0


def drain_host(tools: Tools, host: str, *, why: str, told: Mapping[str, str]) -> None:
    """Keep new requests from every engine of a host; open streams go on.

    Written to the journal before and after. `told`: what else belongs there.

    Raises:
        UnavailableError: the router doesn't answer.
        RefusedError: somebody took the fleet's lease just now; try again.
    """
    servers = tools.router.state().on(host)
    modes = {(s.host, s.colour): ServerMode.DRAIN for s in servers if s.mode is ServerMode.READY}
    detail: JsonDict = {"why": why, **told}
    with _fence(tools) as fence:
        _write(tools, host, Phase.BEGAN, fence, detail)
        tools.router.set_modes(modes, fence=fence)
        _write(tools, host, Phase.DONE, fence, detail)
    log.warning("host %s gets no more requests: %s", host, why)


@contextmanager
def _fence(tools: Tools) -> Iterator[int]:
    """Yield the number of whoever holds the fleet's lease; nobody: of our own.

    The database may be away; the router knows the newest number too.
    """
    leases, fleet, lease = tools.leases, tools.fleet.name, None
    try:
        holder = leases.current(fleet)
        if holder is None:
            holder = lease = leases.acquire(fleet, holder=f"a drain of {fleet}", ttl_s=LEASE_S)
        fence = holder.fence
    except UnavailableError as error:
        log.error("fleet %s: the lease can't be asked for: %s", fleet, error)
        fence = tools.router.state().fence
    try:
        yield fence
    finally:
        if lease is not None:
            leases.release(lease)


def _write(tools: Tools, host: str, phase: Phase, fence: int, detail: JsonDict) -> None:
    """Write to the rollout that is live; before the first one is, to that.

    What can't be written now is in the log alone: the drain doesn't wait for it.
    """
    try:
        history = since_live(tools.journal, tools.fleet.name)
        now_live, left = live(history), unfinished(history)
        rollout_id = now_live.rollout_id if now_live else left.id if left else None
        if rollout_id is None:
            return
        tools.journal.append(
            Event(
                rollout_id=rollout_id,
                at=tools.clock.now(),
                step=Step.DRAIN,
                phase=phase,
                subject=host,
                fence=fence,
                detail=detail,
            )
        )
    except UnavailableError as error:
        log.error("host %s: its drain is not in the journal: %s", host, error)
