"""Which engines serve while a rollout compares: only these are asked, read and compared.

With `rolling`, a host has one engine or the other. The router gives every host the same part of the
traffic, so each engine carries as much as any other, whichever version it runs. The golden load
keeps it so: every engine is sent the same requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from greenlight.deploy.colours import Colour
from greenlight.deploy.journal import Rollout

Serving = Mapping[Colour, tuple[str, ...]]
"""Hosts by the colour that serves there. A colour that serves nowhere is not in it."""


def everywhere(rollout: Rollout, hosts: Sequence[str]) -> Serving:
    """Return who serves where hosts hold both colours; the old one only if there is any."""
    colours = [rollout.colour] if rollout.is_alone else [rollout.colour, rollout.colour.other]
    return {colour: tuple(hosts) for colour in colours}


def up_to_host(rollout: Rollout, moves: Sequence[str], *, last: str) -> Serving:
    """Return who serves once hosts are exchanged up to `last`, in the order of `moves`."""
    moved = moves.index(last) + 1
    found = {rollout.colour: tuple(moves[:moved]), rollout.colour.other: tuple(moves[moved:])}
    return {colour: hosts for colour, hosts in found.items() if hosts}


def rate_of_each(rate: float, serving: Serving) -> float:
    """Return the load of every engine, so that the colour with fewest engines gets `rate`."""
    return rate / min(len(hosts) for hosts in serving.values())
