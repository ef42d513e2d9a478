"""What every store of leases and journals must do. Subclass it and give it a fixture `stores`."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from greenlight.core.errors import InputError, LostLeaseError, RefusedError
from greenlight.deploy.colours import Colour
from greenlight.deploy.journal import Event, Phase, Rollout, Step
from greenlight.deploy.ports import JournalStore, LeaseStore

Stores = tuple[LeaseStore, JournalStore]
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
TTL_S = 30.0


def a_rollout(
    rollout_id: str, *, fleet: str, minute: int = 0, colour: Colour = Colour.GREEN
) -> Rollout:
    """Return a rollout that started some minutes after noon."""
    return Rollout(
        id=rollout_id, fleet=fleet, model="m", version=2, digest="d" * 64, flags_digest="f" * 64,
        strategy="canary", colour=colour, started_at=NOON.replace(minute=minute),
        started_by="ana", previous_version=1, previous_digest="c" * 64, request={"steps": [10]},
    )  # fmt: skip


def an_event(rollout_id: str, *, fence: int | None = None, subject: str = "10") -> Event:
    """Return a finished shift."""
    return Event(
        rollout_id=rollout_id, at=NOON, step=Step.SHIFT, phase=Phase.DONE, subject=subject,
        fence=fence, detail={"read_back": 0.1},
    )  # fmt: skip


class LeaseContract:
    """One holder a fleet, and a fence that only grows."""

    def test_a_second_holder_is_refused_with_who_and_since_when(self, stores: Stores) -> None:
        """The message is what the second person reads."""
        leases, _ = stores
        lease = leases.acquire("two", holder="ana", ttl_s=TTL_S)
        since = lease.taken_at.isoformat(timespec="seconds")
        with pytest.raises(RefusedError, match=f"ana since {since.replace('+', '.')}"):
            leases.acquire("two", holder="ben", ttl_s=TTL_S)
        assert leases.current("two") == lease

    def test_the_holder_may_take_it_again_and_the_old_fence_is_stale(self, stores: Stores) -> None:
        """A retry after a crash need not wait; what still runs is shut out."""
        leases, _ = stores
        before = leases.acquire("again", holder="ana", ttl_s=TTL_S)
        after = leases.acquire("again", holder="ana", ttl_s=TTL_S)
        assert after.fence > before.fence
        with pytest.raises(LostLeaseError):
            leases.renew(before, ttl_s=TTL_S)
        assert leases.renew(after, ttl_s=TTL_S).fence == after.fence

    def test_it_can_be_taken_from_a_holder_that_is_named(self, stores: Stores) -> None:
        """Who goes back shuts out who goes forward; nobody else is."""
        leases, _ = stores
        forward = leases.acquire("seized", holder="ana", ttl_s=TTL_S)
        with pytest.raises(RefusedError, match="ana"):
            leases.acquire("seized", holder="ben", ttl_s=TTL_S, instead_of="eve")
        back = leases.acquire("seized", holder="ben", ttl_s=TTL_S, instead_of="ana")
        assert back.fence > forward.fence
        with pytest.raises(RefusedError, match="ben"):
            leases.acquire("seized", holder="ana", ttl_s=TTL_S)

    def test_an_expired_lease_passes_on_with_a_higher_fence(self, stores: Stores) -> None:
        """A lease does not outlive its owner."""
        leases, _ = stores
        old = leases.acquire("late", holder="ana", ttl_s=0.05)
        time.sleep(0.1)
        assert leases.current("late") is None
        new = leases.acquire("late", holder="ben", ttl_s=TTL_S)
        assert new.fence > old.fence
        with pytest.raises(LostLeaseError, match="ben"):
            leases.renew(old, ttl_s=TTL_S)

    def test_a_released_lease_is_free_and_its_fence_is_remembered(self, stores: Stores) -> None:
        """Giving back twice is fine; a stale release takes nothing away."""
        leases, _ = stores
        first = leases.acquire("free", holder="ana", ttl_s=TTL_S)
        leases.release(first)
        leases.release(first)
        second = leases.acquire("free", holder="ben", ttl_s=TTL_S)
        leases.release(first)
        assert leases.current("free") == second
        assert second.fence > first.fence

    def test_work_side_by_side_joins_the_lease(self, stores: Stores) -> None:
        """Joining keeps the fence; only the holder may."""
        leases, _ = stores
        lease = leases.acquire("joined", holder="ana", ttl_s=TTL_S)
        assert leases.join("joined", holder="ana", ttl_s=TTL_S).fence == lease.fence
        with pytest.raises(RefusedError):
            leases.join("joined", holder="ben", ttl_s=TTL_S)


class JournalContract:
    """Rollouts and their events, in order, never changed."""

    def test_a_rollout_is_opened_once(self, stores: Stores) -> None:
        """A retry gets what the first attempt wrote."""
        _, journal = stores
        first = journal.open_rollout(a_rollout("once", fleet="f-once"))
        again = journal.open_rollout(a_rollout("once", fleet="f-once", minute=5))
        assert again == first == journal.rollout("once")

    def test_rollouts_come_oldest_first_and_by_fleet(self, stores: Stores) -> None:
        """History is read in its order."""
        _, journal = stores
        late = journal.open_rollout(a_rollout("late", fleet="f-order", minute=9))
        early = journal.open_rollout(a_rollout("early", fleet="f-order", minute=1))
        journal.open_rollout(a_rollout("other", fleet="f-other"))
        assert journal.rollouts("f-order") == (early, late)

    def test_events_come_back_as_they_were_written(self, stores: Stores) -> None:
        """Everything but the number is the writer's."""
        _, journal = stores
        journal.open_rollout(a_rollout("told", fleet="f-told"))
        kept = [journal.append(an_event("told", subject=s)) for s in ("10", "50")]
        assert journal.events("told") == tuple(kept)
        assert kept[0].number is not None

    def test_an_event_with_a_stale_fence_is_refused(self, stores: Stores) -> None:
        """A controller that lost its lease writes no history."""
        leases, journal = stores
        journal.open_rollout(a_rollout("stale", fleet="f-stale"))
        old = leases.acquire("f-stale", holder="stale", ttl_s=TTL_S)
        new = leases.acquire("f-stale", holder="stale", ttl_s=TTL_S)
        with pytest.raises(LostLeaseError, match=f"{old.fence}.*{new.fence}"):
            journal.append(an_event("stale", fence=old.fence))
        assert journal.append(an_event("stale", fence=new.fence)).number
        assert len(journal.events("stale")) == 1

    def test_an_unknown_rollout_is_an_input_error(self, stores: Stores) -> None:
        """The message names it."""
        with pytest.raises(InputError, match="nobody"):
            stores[1].rollout("nobody")
