"""Leases and journal in memory, for tests that need no database. The clock is passed in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from greenlight.core.errors import InputError, LostLeaseError, RefusedError
from greenlight.deploy.journal import Event, Rollout
from greenlight.deploy.ports import Lease


class MemoryLeases:
    """`deploy.ports.LeaseStore` in a dictionary."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._leases: dict[str, Lease] = {}
        self._fences: dict[str, int] = {}

    def acquire(
        self, fleet: str, *, holder: str, ttl_s: float, instead_of: str | None = None
    ) -> Lease:
        """Take the lease with a new, higher fence."""
        held = self.current(fleet)
        if held and held.holder not in (holder, instead_of):
            raise RefusedError(str(held))
        self._fences[fleet] = self.fence(fleet) + 1
        taken_at = held.taken_at if held and held.holder == holder else self._now()
        lease = Lease(
            fleet=fleet, holder=holder, fence=self.fence(fleet), taken_at=taken_at,
            expires_at=self._until(ttl_s),
        )  # fmt: skip
        self._leases[fleet] = lease
        return lease

    def join(self, fleet: str, *, holder: str, ttl_s: float) -> Lease:
        """Return the holder's lease with its fence as it is, extended."""
        held = self._leases.get(fleet)
        if held is None or held.holder != holder:
            raise RefusedError(str(held) if held else f"nobody holds {fleet}")
        return self._extend(held, ttl_s)

    def renew(self, lease: Lease, *, ttl_s: float) -> Lease:
        """Extend it."""
        held = self._leases.get(lease.fleet)
        if held is None or (held.holder, held.fence) != (lease.holder, lease.fence):
            raise LostLeaseError(str(held) if held else f"nobody holds {lease.fleet}")
        return self._extend(held, ttl_s)

    def release(self, lease: Lease) -> None:
        """Give it back."""
        held = self._leases.get(lease.fleet)
        if held and (held.holder, held.fence) == (lease.holder, lease.fence):
            del self._leases[lease.fleet]

    def current(self, fleet: str) -> Lease | None:
        """Return the lease that is held and not expired."""
        held = self._leases.get(fleet)
        return held if held and held.expires_at > self._now() else None

    def fence(self, fleet: str) -> int:
        """Return the highest fence given so far."""
        return self._fences.get(fleet, 0)

    def _until(self, ttl_s: float) -> datetime:
        return self._now() + timedelta(seconds=ttl_s)

    def _extend(self, held: Lease, ttl_s: float) -> Lease:
        self._leases[held.fleet] = replace(held, expires_at=self._until(ttl_s))
        return self._leases[held.fleet]


class MemoryJournal:
    """`deploy.ports.JournalStore` in lists."""

    def __init__(self, leases: MemoryLeases) -> None:
        self._leases = leases
        self._rollouts: dict[str, Rollout] = {}
        self._events: list[Event] = []

    def open_rollout(self, rollout: Rollout) -> Rollout:
        """Keep a new rollout, or return the one with its id."""
        return self._rollouts.setdefault(rollout.id, rollout)

    def append(self, event: Event) -> Event:
        """Add an event and return it with its number."""
        fence = self._leases.fence(self.rollout(event.rollout_id).fleet)
        if event.fence is not None and event.fence < fence:
            raise LostLeaseError(f"fence {event.fence} is lower than the lease's {fence}")
        kept = replace(event, number=len(self._events) + 1)
        self._events.append(kept)
        return kept

    def rollout(self, rollout_id: str) -> Rollout:
        """Return one."""
        if rollout_id not in self._rollouts:
            raise InputError(f"there is no rollout {rollout_id!r}")
        return self._rollouts[rollout_id]

    def rollouts(self, fleet: str) -> tuple[Rollout, ...]:
        """Return a fleet's rollouts, oldest first."""
        found = (r for r in self._rollouts.values() if r.fleet == fleet)
        return tuple(sorted(found, key=lambda r: (r.started_at, r.id)))

    def events(self, rollout_id: str) -> tuple[Event, ...]:
        """Return a rollout's events, oldest first."""
        return tuple(e for e in self._events if e.rollout_id == rollout_id)
