import threading
from datetime import UTC, datetime

import pytest

from greenlight.core.errors import LostLeaseError, UnavailableError
from greenlight.entrypoints.lease_keeper import LeaseKeeper
from greenlight.testing.memory_rollouts import MemoryLeases
from greenlight.testing.waiting import wait_for

TTL_S = 0.4


@pytest.fixture
def leases():
    return MemoryLeases(lambda: datetime.now(UTC))


def keeper(leases):
    return LeaseKeeper(leases, leases.acquire("f", holder="ana", ttl_s=TTL_S), ttl_s=TTL_S)


def lost(held):
    try:
        held.check()
    except LostLeaseError:
        return True
    return False


def test_a_lease_that_is_kept_outlives_its_time(leases):
    with keeper(leases) as held:
        threading.Event().wait(3 * TTL_S)
        held.check()
        assert leases.current("f").holder == "ana"


def test_the_lease_stays_after_the_block_until_it_runs_out(leases):
    with keeper(leases):
        pass
    assert leases.current("f") is not None
    wait_for(lambda: leases.current("f") is None)


def test_a_lease_taken_by_somebody_else_is_noticed(leases):
    with keeper(leases) as held:
        leases.acquire("f", holder="ben", ttl_s=30, instead_of="ana")
        wait_for(lambda: lost(held))
        with pytest.raises(LostLeaseError, match="ben"):
            held.check()


def test_a_database_that_is_away_for_a_beat_costs_nothing_and_longer_the_lease(leases):
    with keeper(leases) as held:
        renew, away = leases.renew, threading.Event()

        def flaky(lease, *, ttl_s):
            if away.is_set():
                raise UnavailableError("no database")
            return renew(lease, ttl_s=ttl_s)

        leases.renew = flaky
        away.set()
        threading.Event().wait(TTL_S / 3)
        held.check()
        wait_for(lambda: lost(held))
