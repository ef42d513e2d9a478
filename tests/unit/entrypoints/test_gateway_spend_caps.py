import asyncio
from datetime import timedelta

import pytest

from greenlight.entrypoints.gateway.spend_caps import SpendCaps
from greenlight.gateway.limits import MICRO
from greenlight.testing.manual_clock import NOON, ManualClock
from greenlight.testing.memory_gateway import MemoryAudit, MemorySpendCaps
from greenlight.testing.spend_caps_contract import a_cap, keep


@pytest.fixture
def stores():
    audit = MemoryAudit()
    return MemorySpendCaps(audit), audit


def amounts(caps, tenant="acme"):
    return [limit.amount for limit in caps.lower((), tenant=tenant)]


def test_a_cap_holds_once_it_was_read_and_for_its_tenant_only(stores):
    caps = SpendCaps(stores[0], clock=ManualClock())
    keep(stores, a_cap(per_day="2"))
    assert amounts(caps) == []
    asyncio.run(caps.refresh())
    assert amounts(caps) == [2 * MICRO]
    assert amounts(caps, "other") == []


def test_while_the_database_is_away_what_was_known_stands_until_it_ends(stores):
    clock = ManualClock()
    caps = SpendCaps(stores[0], clock=clock)
    keep(stores, a_cap(per_day="2"))
    asyncio.run(caps.refresh())
    stores[0].away = True
    asyncio.run(caps.refresh())
    assert amounts(caps) == [2 * MICRO]
    clock.set(NOON + timedelta(days=10))
    asyncio.run(caps.refresh())
    assert amounts(caps) == []
