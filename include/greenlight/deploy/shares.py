"""What a shift of traffic does to every server's weight, and when it is refused.

A host's two weights are the shares in percent, so they add up to 100 on every host and the share
over any set of hosts is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from greenlight.core.errors import ConfigError, LostLeaseError, RefusedError, UnavailableError
from greenlight.deploy.colours import Colour
from greenlight.deploy.ports import RouterState, ServerMode, ServerState

ServerKey = tuple[str, Colour]
"""Host and colour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """New weights. `gaining` is applied before `losing`: at no moment does nobody serve."""

    gaining: Mapping[ServerKey, int]
    losing: Mapping[ServerKey, int]
    weights: Mapping[ServerKey, int]
    """Of every server concerned, changed or not."""


def plan_shift(
    state: RouterState, shares: Mapping[Colour, int], *, hosts: Sequence[str] | None = None
) -> Shift:
    """Decide the weights that give each colour its share; a colour that isn't named gets 0.

    Raises:
        RefusedError: the shares do not add up to 100, or no server of a colour that would get
            requests is ready and up.
        ConfigError: the router has no such host.
    """
    percent = {colour: shares.get(colour, 0) for colour in Colour}
    told = ", ".join(f"{colour} {share} %" for colour, share in percent.items())
    if sum(percent.values()) != 100 or min(percent.values()) < 0:
        raise RefusedError(f"shares {told} are not parts of 100")
    require_known(state, hosts or ())
    concerned = [s for s in state.servers if hosts is None or s.host in hosts]
    for colour, share in percent.items():
        serving = [s for s in concerned if s.colour is colour and _is_open(s)]
        if share and not serving:
            raise RefusedError(
                f"{colour} cannot get {share} %: none of its servers on "
                f"{', '.join(sorted({s.host for s in concerned}))} is ready and up, so nobody "
                "would serve these requests; start its engines and set them ready first"
            )
    before = {(s.host, s.colour): s.weight for s in concerned}
    weights = {key: percent[key[1]] for key in before}
    return Shift(
        gaining={key: weight for key, weight in weights.items() if weight > before[key]},
        losing={key: weight for key, weight in weights.items() if weight < before[key]},
        weights=weights,
    )


def refuse_stale(fence: int, *, seen: int) -> None:
    """Refuse a change by somebody who lost the lease.

    Raises:
        LostLeaseError: `fence` is lower than the highest that was `seen`.
    """
    if fence < seen:
        raise LostLeaseError(
            f"fencing number {fence} is stale: the router has seen {seen}, so somebody else holds "
            "the fleet's lease now; nothing was changed"
        )


def require_others(state: RouterState, host: str) -> None:
    """Refuse to take a host out when it is the only one that serves.

    Raises:
        UnavailableError: no engine of another host is ready, up and sent requests to.
    """
    serving = {server.host for server in state.servers if server.weight and _is_open(server)}
    if serving == {host}:
        raise UnavailableError(
            f"host {host} is the only one that serves, so its engine is not stopped; start the "
            "engines of the others, then try again"
        )


def require_known(state: RouterState, hosts: Iterable[str]) -> None:
    """Refuse hosts that the router does not have.

    Raises:
        ConfigError: naming them and those that there are.
    """
    known = {server.host for server in state.servers}
    if unknown := sorted(set(hosts) - known):
        raise ConfigError(
            f"the router has no host {', '.join(unknown)}; it has {', '.join(sorted(known))}; "
            "bring the fleet's hosts to it first"
        )


def _is_open(server: ServerState) -> bool:
    return server.up and server.mode is ServerMode.READY
