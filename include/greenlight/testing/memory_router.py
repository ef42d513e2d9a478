"""A router in memory, for tests that need no HAProxy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from greenlight.core.errors import UnavailableError
from greenlight.deploy.colours import Colour
from greenlight.deploy.fleet import Fleet
from greenlight.deploy.ports import RouterState, ServerMode, ServerState
from greenlight.deploy.shares import ServerKey, plan_shift, refuse_stale, require_known


class MemoryRouter:
    """`deploy.ports.Router`. What happens to engines and traffic is set from outside.

    `dead`: engines that do not answer. `sessions`, `requests`, `errors`: what `state` reports of a
    server; none: 0. `history`: all shifts that were made. `away`: nothing answers.
    """

    def __init__(self, hosts: Sequence[str]) -> None:
        self.dead: set[ServerKey] = set()
        self.sessions: dict[ServerKey, int] = {}
        self.requests: dict[ServerKey, int] = {}
        self.errors: dict[ServerKey, int] = {}
        self.history: list[dict[Colour, int]] = []
        self.away = False
        self._fence = 0
        self._servers = {
            (host, colour): ServerState(
                host=host, colour=colour, weight=0, mode=ServerMode.MAINT, up=False, sessions=0
            )
            for host in hosts
            for colour in Colour
        }

    def set_modes(self, modes: Mapping[tuple[str, Colour], ServerMode], *, fence: int) -> None:
        """Set what servers do."""
        self._take(fence)
        require_known(self.state(), [host for host, _ in modes])
        for key, mode in modes.items():
            self._servers[key] = replace(self._servers[key], mode=mode)

    def shift(self, shares: Mapping[Colour, int], *, fence: int,
              hosts: Sequence[str] | None = None) -> None:  # fmt: skip
        """Give each colour its share."""
        self._take(fence)
        for key, weight in plan_shift(self.state(), shares, hosts=hosts).weights.items():
            self._servers[key] = replace(self._servers[key], weight=weight)
        self.history.append(dict(shares))

    def sync(self, fleet: Fleet, *, fence: int) -> None:
        """Bring in new hosts, and take out those that the fleet lacks."""
        self._take(fence)
        names = [host.name for host in fleet.hosts]
        fresh = MemoryRouter(names)._servers
        self._servers = {key: self._servers.get(key, server) for key, server in fresh.items()}

    def state(self) -> RouterState:
        """Return what the router does now."""
        if self.away:
            raise UnavailableError("the router does not answer")
        servers = (
            replace(
                server,
                up=server.mode is not ServerMode.MAINT and key not in self.dead,
                sessions=self.sessions.get(key, 0),
                requests=self.requests.get(key, 0),
                errors=self.errors.get(key, 0),
            )
            for key, server in self._servers.items()
        )
        return RouterState(fence=self._fence, servers=tuple(servers))

    def _take(self, fence: int) -> None:
        refuse_stale(fence, seen=self.state().fence)
        self._fence = fence
