"""What a scaler has and what it should have: a diff as data, to be shown before it is applied.

Only what Greenlight made is compared. What a scaler has besides is told, and left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from greenlight.scaling.rules import Rule, WeeklyRule, rules_of
from greenlight.scaling.schedule import Schedule, Size, week_time


@dataclass(frozen=True, slots=True, kw_only=True)
class FastLoop:
    """The scaler's own loop between the bounds: a metric, its target a host, and the warm-up."""

    metric: str
    target: float
    warm_up_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """All that a scaler should have. `bounds`: minimum and maximum that hold now."""

    rules: tuple[Rule, ...]
    bounds: tuple[int, int]
    loop: FastLoop | None
    drain_s: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What it has. `foreign`: names of rules and loops that somebody else made."""

    rules: tuple[Rule, ...]
    bounds: tuple[int, int]
    loop: FastLoop | None
    drain_s: int | None
    foreign: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PutRule:
    """Make a rule, or make it other than it was."""

    rule: Rule
    before: Rule | None

    @property
    def line(self) -> str:
        """The change, for people."""
        what = _rule(self.rule)
        return f"+ {what}" if self.before is None else f"~ {what}, was {_size(self.before.size)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DropRule:
    """Take a rule away."""

    rule: Rule

    @property
    def line(self) -> str:
        """The change, for people."""
        return f"- {_rule(self.rule)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PutBounds:
    """Set minimum and maximum now; hosts that are there stay where they lie between."""

    bounds: tuple[int, int]
    before: tuple[int, int]

    @property
    def line(self) -> str:
        """The change, for people."""
        (low, high), (old_low, old_high) = self.bounds, self.before
        return f"~ now: {low} to {high} hosts, was {old_low} to {old_high}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PutLoop:
    """Set the fast loop; `None` takes ours away."""

    loop: FastLoop | None

    @property
    def line(self) -> str:
        """The change, for people."""
        if self.loop is None:
            return "- fast loop"
        return f"~ fast loop: {self.loop.metric} at {self.loop.target:g} a host"


@dataclass(frozen=True, slots=True, kw_only=True)
class PutDrain:
    """Let hosts finish for so long before they end; `None` takes ours away."""

    drain_s: int | None

    @property
    def line(self) -> str:
        """The change, for people."""
        return "- draining" if self.drain_s is None else f"~ draining: {self.drain_s} s at most"


Change = PutRule | DropRule | PutBounds | PutLoop | PutDrain


def wanted_of(
    schedule: Schedule, *, now: datetime, loop: FastLoop | None, drain_s: int | None
) -> Wanted:
    """Return what a scaler should have for a schedule."""
    size = schedule.at(now)
    return Wanted(
        rules=rules_of(schedule, now),
        bounds=(size.minimum, size.maximum),
        loop=loop,
        drain_s=drain_s,
    )


def plan_changes(found: Found, wanted: Wanted) -> tuple[Change, ...]:
    """Return what makes one the other. Given its outcome, there is nothing left to do.

    Rules are put before others are dropped: in between there are too many, never none.
    """
    there = {rule.name: rule for rule in found.rules}
    asked = {rule.name for rule in wanted.rules}
    changes: list[Change] = [
        PutRule(rule=rule, before=there.get(rule.name))
        for rule in wanted.rules
        if there.get(rule.name) != rule
    ]
    changes += [DropRule(rule=rule) for rule in found.rules if rule.name not in asked]
    if found.bounds != wanted.bounds:
        changes.append(PutBounds(bounds=wanted.bounds, before=found.bounds))
    if found.loop != wanted.loop:
        changes.append(PutLoop(loop=wanted.loop))
    if found.drain_s != wanted.drain_s:
        changes.append(PutDrain(drain_s=wanted.drain_s))
    return tuple(changes)


def lines_of(changes: Sequence[Change], found: Found) -> tuple[str, ...]:
    """Return a dry run, for people."""
    lines = [change.line for change in changes] or ["nothing to change"]
    if found.foreign:
        lines.append(f"left alone: {', '.join(sorted(found.foreign))}")
    return tuple(lines)


def _rule(rule: Rule) -> str:
    if isinstance(rule, WeeklyRule):
        begins = f" from {rule.begins:%Y-%m-%d %H:%M} UTC on" if rule.begins else ""
        return f"{week_time(rule.minute)} {rule.zone}{begins}: {_size(rule.size)}"
    return f"{rule.at:%Y-%m-%d %H:%M} UTC: {_size(rule.size)}"


def _size(size: Size) -> str:
    return f"{size.desired} ({size.minimum} to {size.maximum})"
