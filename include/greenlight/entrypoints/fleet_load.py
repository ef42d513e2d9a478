"""A fleet's load now, and what its group's target tracking is told of it.

What isn't known isn't told: CloudWatch then lacks data, and AWS leaves the size of the group alone.
A zero would take hosts away.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np

from greenlight.core.clock import Clock
from greenlight.core.errors import UnavailableError
from greenlight.deploy.ports import Router
from greenlight.scaling.demand_series import MINUTE
from greenlight.scaling.ports import DemandSource
from greenlight.scaling.reactive import Signal

log = logging.getLogger(__name__)

LATEST = timedelta(minutes=3)
"""How old the newest sample of demand may be."""
EVERY_S = 60.0
"""Target tracking looks at a value a minute."""


class LoadSink(Protocol):
    """Where a fleet's load for each host is told.

    Raises `UnavailableError` when it can't be reached, `ConfigError` when it refuses.
    """

    def publish(self, load: float, *, at: datetime) -> None:
        """Tell tokens a second, for each host that serves."""


def load_now(source: DemandSource, fleet: str, *, now: datetime) -> float | None:
    """Return a fleet's tokens a second now; `None`: nobody measured it."""
    try:
        found = source.demand(now - 2 * LATEST, now)
    except UnavailableError as error:
        log.warning("fleet %s: demand is not known: %s", fleet, error)
        return None
    if found is None or not found.values.size:
        return None
    newest = found.end - np.timedelta64(MINUTE)
    late = np.datetime64(now.replace(tzinfo=None), "us") - newest > np.timedelta64(LATEST)
    value = float(found.values[-1])
    return None if late or not math.isfinite(value) else value


@dataclass(slots=True, kw_only=True)
class PublishedLoad:
    """Tells the load once a minute. `told_at`: when it last could."""

    fleet: str
    source: DemandSource
    router: Router
    sink: LoadSink
    clock: Clock
    told_at: datetime | None = field(default=None, init=False)
    _next: float = field(default=-math.inf, init=False)

    def look(self, *, dry_run: bool = False) -> tuple[str, ...]:
        """Tell the load if a minute has passed; return what was, or would be, done.

        Raises:
            UnavailableError, ConfigError: the router or CloudWatch.
        """
        if self.clock.monotonic() < self._next:
            return ()
        now = self.clock.now()
        load, serving = load_now(self.source, self.fleet, now=now), self._serving()
        if load is None or not serving:
            self._next = self.clock.monotonic() + EVERY_S
            why = "nobody serves" if load is not None else "it isn't measured"
            return (f"{Signal.TOKENS} isn't published, so the group's size stays: {why}",)
        each = load / serving
        if not dry_run:
            self.sink.publish(each, at=now)
            self.told_at = now
        self._next = self.clock.monotonic() + EVERY_S
        return (f"{Signal.TOKENS} is {each:.1f} for each of {serving} hosts",)

    def _serving(self) -> int:
        """Count hosts; one that has both colours during a rollout is one."""
        return len({server.host for server in self.router.state().servers if server.serves})
