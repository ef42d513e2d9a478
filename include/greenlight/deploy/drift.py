"""What a fleet serves, held against what the journal and the registry say it should."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from greenlight.core.digest import short
from greenlight.deploy.colours import Colour
from greenlight.deploy.journal import Live
from greenlight.deploy.ports import EngineState, EngineStatus, RouterState, ServerMode

Slot = tuple[str, Colour]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found. `engines`: by host and colour, a reason in place of a status: not reached.

    `champion`: version and digest that the alias points at. `unfinished`: the id of a rollout whose
    controller is gone. `refusal`: why what is live would not be deployed again today. `resting`:
    hosts of which a schedule has no need now.
    """

    engines: Mapping[Slot, EngineStatus | str]
    router: RouterState | str
    champion: tuple[int, str] | None
    unfinished: str | None = None
    refusal: str | None = None
    resting: frozenset[str] = frozenset()


def resting_hosts(
    colour: Colour,
    engines: Mapping[Slot, EngineStatus | str],
    router: RouterState,
    *,
    least: int,
) -> frozenset[str]:
    """Return the hosts that were taken out, start or drain, while at least so many serve.

    A failed engine isn't one of them, and neither is a host that can't be asked. Where fewer serve
    than a schedule wants at least, nobody rests.
    """
    serving, out = 0, set()
    for server in router.of(colour):
        status = engines.get((server.host, colour))
        if status is None or isinstance(status, str) or status.state is EngineState.FAILED:
            continue
        if status.state is EngineState.READY and server.mode is ServerMode.READY and server.up:
            serving += 1
        elif status.state is not EngineState.READY or server.mode is not ServerMode.READY:
            out.add(server.host)
    return frozenset(out) if serving >= max(1, least) else frozenset()


def drift(live: Live | None, found: Found) -> tuple[str, ...]:
    """Return everything that is not as it should be; nothing is in order.

    What could not be looked at is drift too: nobody knows what it serves.
    """
    problems = []
    if found.unfinished:
        problems.append(
            f"rollout {found.unfinished} is unfinished and nobody carries it on: "
            "`greenlight deploy rollback`, or deploy again"
        )
    if live is None:
        return tuple(problems)
    problems += _alias(live, found.champion)
    if found.refusal:
        problems.append(f"version {live.version} is live, but {found.refusal}")
    if found.unfinished is None:
        problems += _engines(live, found)
        problems += _traffic(live, found)
    return tuple(problems)


def _alias(live: Live, champion: tuple[int, str] | None) -> list[str]:
    if champion is None:
        return [f"version {live.version} is live, but the alias champion points nowhere"]
    version, digest = champion
    if digest == live.digest:
        return []
    return [
        f"the alias champion was moved to version {version} ({short(digest)}) without a deploy; "
        f"version {live.version} ({short(live.digest)}) is live"
    ]


def _engines(live: Live, found: Found) -> list[str]:
    problems = []
    for (host, colour), status in found.engines.items():
        if isinstance(status, str):
            problems.append(f"host {host} could not be asked: {status}")
        elif colour is live.colour and host in found.resting:
            continue
        elif colour is live.colour:
            problems += _serving(host, status, live)
        elif status.state is not EngineState.STOPPED:
            problems.append(f"host {host} has a {colour} engine ({status.state}), which is idle")
    return list(dict.fromkeys(problems))


def _serving(host: str, status: EngineStatus, live: Live) -> list[str]:
    if status.state is not EngineState.READY:
        return [f"the {live.colour} engine of host {host} is {status.state}: {status.reason}"]
    if status.served_digest != live.digest:
        return [
            f"host {host} serves {short(status.served_digest or 'nothing')}, "
            f"not {short(live.digest)}"
        ]
    if status.flags_digest != live.flags_digest:
        return [f"host {host} serves with flags {short(status.flags_digest or 'unknown')}, "
                f"not {short(live.flags_digest)}"]  # fmt: skip
    return []


def _traffic(live: Live, found: Found) -> list[str]:
    router = found.router
    if isinstance(router, str):
        return [f"the router could not be asked: {router}"]
    problems = []
    idle = live.colour.other
    if router.share(idle) > 0:
        problems.append(f"the router sends {router.share(idle):.0%} to {idle}, which is idle")
    for server in router.of(live.colour):
        if server.host in found.resting:
            continue
        if not server.up or server.mode is not ServerMode.READY or server.weight == 0:
            problems.append(
                f"the router sends nothing to {server.host} {live.colour}: {server.mode}, "
                f"{'up' if server.up else 'down'}, weight {server.weight}"
            )
    return problems
