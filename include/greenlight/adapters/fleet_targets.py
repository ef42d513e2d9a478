"""What Prometheus should ask of the fleets, by the journal.

Engines are those of the colour that is live, and of one that a rollout is bringing up, and routers
those of fleets that something was deployed to. Where nothing should run is no target, so a target
that is down is one to look at.
"""

from __future__ import annotations

from collections.abc import Iterable

from greenlight.core.types import JsonDict
from greenlight.deploy.colours import Colour
from greenlight.deploy.fleet import Fleet
from greenlight.deploy.journal import History, live, unfinished

PATH = "/targets"
"""Where the exporter says them, and Prometheus asks."""


def targets_of(fleets: Iterable[tuple[Fleet, History]]) -> list[JsonDict]:
    """Return groups of targets in the format of Prometheus' HTTP service discovery."""
    found: list[JsonDict] = []
    for fleet, history in fleets:
        of_fleet = {"fleet": fleet.name, "model": fleet.model}
        running = _running(history)
        for host in fleet.hosts:
            for colour in running:
                labels = of_fleet | {"host": host.name, "colour": colour, "region": host.region}
                address = f"{host.address}:{host.slots.of(colour).port}"
                found.append({"targets": [address], "labels": labels | {"kind": "engine"}})
        if history and fleet.router.metrics_port is not None:
            address = f"{fleet.router.metrics_address}:{fleet.router.metrics_port}"
            found.append({"targets": [address], "labels": of_fleet | {"kind": "router"}})
    return found


def _running(history: History) -> list[Colour]:
    changed = (live(history), unfinished(history))
    used = {one.colour for one in changed if one is not None}
    return [colour for colour in Colour if colour in used]
