"""A registry, decisions and a clock, without a server."""

from dataclasses import replace
from datetime import UTC, datetime

from greenlight.core.clock import SystemClock
from greenlight.testing.candidates import register_candidate, register_parent
from greenlight.testing.memory_registry import MemoryRegistry

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


class Clock(SystemClock):
    def now(self):
        return NOW


class MemoryApprovals:
    """Decisions in a list."""

    def __init__(self):
        self.kept = []

    def append(self, approval):
        self.kept.append(replace(approval, id=len(self.kept) + 1))
        return self.kept[-1]

    def approvals(self, *, model=None, version=None):
        return tuple(
            a for a in self.kept if model in (None, a.model) and version in (None, a.version)
        )


def world(tmp_path, **changes):
    """Return a registry, the parent's version and the candidate's."""
    registry = MemoryRegistry()
    parent = register_parent(registry, tmp_path)
    return registry, parent, register_candidate(registry, parent, tmp_path, **changes)
