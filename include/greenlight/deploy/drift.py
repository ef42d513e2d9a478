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
    controller is gone. `refusal`: why what is live would not be deployed again today.
    """

    engines: Mapping[Slot, EngineStatus | str]
    router: RouterState | str
    champion: tuple[int, str] | None
    unfinished: str | None = None
    refusal: str | None = None


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
        problems += _traffic(live, found.router)
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


def _traffic(live: Live, router: RouterState | str) -> list[str]:
    if isinstance(router, str):
        return [f"the router could not be asked: {router}"]
    problems = []
    idle = live.colour.other
    if router.share(idle) > 0:
        problems.append(f"the router sends {router.share(idle):.0%} to {idle}, which is idle")
    for server in router.of(live.colour):
        if not server.up or server.mode is not ServerMode.READY or server.weight == 0:
            problems.append(
                f"the router sends nothing to {server.host} {live.colour}: {server.mode}, "
                f"{'up' if server.up else 'down'}, weight {server.weight}"
            )
    return problems
