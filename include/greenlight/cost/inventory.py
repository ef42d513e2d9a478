"""What should have been running in an hour: hosts, and the engines in their slots.

Metrics alone can't tell an engine that was stopped from one that nobody scraped.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotPlan:
    """An engine that was deployed. `reserved`: the share of the host's engine memory it was given.

    `reserved` is `None` where nobody configured it; the engine's own metric may still tell.
    `rests`: from when until when in the hour, in seconds since 1970, nothing was to run in the
    slot. Then nobody asks it either.
    """

    slot: str
    model: str
    version: str | None
    is_warm: bool
    reserved: float | None = None
    rests: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlan:
    """A host of the fleet, as it was in that hour.

    `node`: the host label of its node exporter, where that isn't its name; empty for this machine,
    whose exporter has no such label.
    """

    name: str
    gpus: int
    slots: tuple[SlotPlan, ...]
    node: str | None = None

    @property
    def exporter(self) -> str:
        """The label under which processors and memory are found."""
        return self.name if self.node is None else self.node
