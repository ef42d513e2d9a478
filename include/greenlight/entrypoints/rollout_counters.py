"""Count what clients' traffic did to both colours since a step began, by router and engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from greenlight.deploy.colours import Colour
from greenlight.deploy.counters import FirstTokens, LiveCounts, Tally, Unread, together

if TYPE_CHECKING:
    from greenlight.deploy.ports import RouterState
    from greenlight.deploy.serving_hosts import Serving
    from greenlight.entrypoints.rollout_tools import Tools

FIRST_READS = 3
"""How often an engine is asked when a step begins. One that never answers isn't counted in it."""


class Counters:
    """Looks at counters again and again; a restart of the router or of an engine ends no step.

    Counting begins when this is made. `engines`: whether those that serve are read as well.
    """

    def __init__(self, tools: Tools, serving: Serving, *, engines: bool) -> None:
        self._tools = tools
        self._urls = {
            colour: [tools.target(colour, host).url for host in hosts]
            for colour, hosts in (serving if engines else {}).items()
        }
        self._engines = self._begin()
        self._away: dict[str, Unread] = {}
        state = tools.router.state()
        self._router = {colour: Tally.begun(_total(state, colour)) for colour in Colour}

    def look(self) -> None:
        """Read all of them.

        Raises:
            UnavailableError: the router does not answer. An engine may be away.
        """
        self._away = {}
        for url, now in self._read(list(self._engines)).items():
            tally = self._engines[url]
            if isinstance(now, Unread):
                self._away[url] = now
            elif isinstance(tally, Tally):
                self._engines[url] = tally.after(now)
        state = self._tools.router.state()
        self._router = {c: tally.after(_total(state, c)) for c, tally in self._router.items()}

    @property
    def live(self) -> dict[Colour, LiveCounts]:
        """What the router has counted of each colour."""
        return {colour: tally.counted for colour, tally in self._router.items()}

    @property
    def first_tokens(self) -> dict[Colour, FirstTokens | Unread]:
        """What the engines of each colour have counted; unread while one of them is away."""
        return {
            colour: together([self._counted(url) for url in urls])
            for colour, urls in self._urls.items()
        }

    def _begin(self) -> dict[str, Tally[FirstTokens] | Unread]:
        waiting = [url for urls in self._urls.values() for url in urls]
        begun: dict[str, Tally[FirstTokens] | Unread] = {}
        for _ in range(FIRST_READS):
            for url, now in self._read(waiting).items():
                if isinstance(now, Unread):
                    begun[url] = Unread(reason=f"when the step began, {now.reason}")
                else:
                    begun[url] = Tally.begun(now)
            waiting = [url for url in waiting if isinstance(begun[url], Unread)]
        return begun

    def _read(self, urls: Sequence[str]) -> Mapping[str, FirstTokens | Unread]:
        return self._tools.engine_metrics.first_tokens(urls) if urls else {}

    def _counted(self, url: str) -> FirstTokens | Unread:
        tally = self._engines[url]
        return tally if isinstance(tally, Unread) else self._away.get(url, tally.counted)


def _total(state: RouterState, colour: Colour) -> LiveCounts:
    servers = state.of(colour)
    return LiveCounts(
        requests=sum(s.requests for s in servers), errors=sum(s.errors for s in servers)
    )
