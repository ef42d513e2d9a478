"""A scaler in memory: it keeps rules, and what others made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from greenlight.core.errors import RefusedError
from greenlight.scaling.targets import (
    Change,
    DropRule,
    Found,
    PutBounds,
    PutDrain,
    PutLoop,
    PutRule,
)


class MemoryScheduleTarget:
    """One fleet. `managed`: whether Greenlight may schedule it."""

    def __init__(self, *, managed: bool = True, foreign: Sequence[str] = ()) -> None:
        self.managed = managed
        self.calls = 0
        self._found = Found(
            rules=(), bounds=(1, 1), loop=None, drain_s=None, foreign=tuple(foreign)
        )

    def read(self) -> Found:
        """Return what there is."""
        self._require_managed()
        return self._found

    def apply(self, changes: Sequence[Change]) -> None:
        """Make the changes."""
        self._require_managed()
        for change in changes:
            self.calls += 1
            self._found = _after(self._found, change)

    def _require_managed(self) -> None:
        if not self.managed:
            raise RefusedError("the fleet isn't marked as one that Greenlight may schedule")


def _after(found: Found, change: Change) -> Found:
    match change:
        case PutRule(rule=rule):
            others = [one for one in found.rules if one.name != rule.name]
            return replace(found, rules=(*others, rule))
        case DropRule(rule=rule):
            return replace(found, rules=tuple(r for r in found.rules if r.name != rule.name))
        case PutBounds(bounds=bounds):
            return replace(found, bounds=bounds)
        case PutLoop(loop=loop):
            return replace(found, loop=loop)
        case PutDrain(drain_s=drain_s):
            return replace(found, drain_s=drain_s)
