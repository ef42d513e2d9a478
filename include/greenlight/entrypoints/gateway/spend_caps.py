"""What budgets leave tenants now; kept fresh."""

from __future__ import annotations

import asyncio
import logging

from greenlight.core.clock import Clock
from greenlight.core.errors import UnavailableError
from greenlight.gateway.limits import Limit
from greenlight.gateway.spend_caps import SpendCap, capped, in_force
from greenlight.gateway.stores import SpendCapStore

log = logging.getLogger(__name__)

EVERY_S = 5.0


class SpendCaps:
    """Asks the database again and again. While it can't be asked, what was known stands."""

    def __init__(self, store: SpendCapStore, *, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._caps: tuple[SpendCap, ...] = ()
        self._lowest = in_force((), now=clock.now())

    def lower(self, limits: tuple[Limit, ...], *, tenant: str) -> tuple[Limit, ...]:
        """Return a tenant's limits with what budgets leave it."""
        amount = self._lowest.get(tenant)
        return limits if amount is None else capped(limits, tenant=tenant, amount=amount)

    async def refresh(self) -> None:
        """Look once."""
        try:
            self._caps = await asyncio.to_thread(self._store.all_caps)
        except UnavailableError as error:
            log.warning("what budgets leave tenants is not known anew: %s", error)
        self._lowest = in_force(self._caps, now=self._clock.now())

    async def keep_fresh(self) -> None:
        """Look every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.refresh()
