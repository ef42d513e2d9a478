"""Keep a lease alive while a step runs, and know when it is lost."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

from greenlight.core.errors import LostLeaseError, RefusedError, UnavailableError

if TYPE_CHECKING:
    from greenlight.deploy.ports import Lease, LeaseStore

log = logging.getLogger(__name__)

BEATS = 4
"""Renewals within the life of a lease: three may get lost."""


class LeaseKeeper:
    """A lease with a heartbeat. Leaving the block ends the heartbeat and keeps the lease."""

    def __init__(self, leases: LeaseStore, lease: Lease, *, ttl_s: float) -> None:
        self._leases, self._ttl_s = leases, ttl_s
        self.lease = lease
        self._renewed = time.monotonic()
        self._lost: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)

    @property
    def fence(self) -> int:
        """The fencing number that every change carries."""
        return self.lease.fence

    def check(self) -> None:
        """Return while the lease is held.

        Raises:
            LostLeaseError: it was taken by somebody else, or could not be renewed in time.
        """
        if self._lost:
            raise LostLeaseError(f"the lease of fleet {self.lease.fleet} is lost: {self._lost}")
        late = time.monotonic() - self._renewed
        if late > self._ttl_s:
            raise LostLeaseError(
                f"the lease of fleet {self.lease.fleet} could not be renewed for {late:.0f} s, "
                f"longer than it lives ({self._ttl_s:g} s)"
            )

    def __enter__(self) -> LeaseKeeper:
        """Start the heartbeat."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the heartbeat."""
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._stop.wait(self._ttl_s / BEATS):
            try:
                self._leases.renew(self.lease, ttl_s=self._ttl_s)
                self._renewed = time.monotonic()
            except RefusedError as error:
                self._lost = str(error)
                return
            except UnavailableError as error:
                log.warning("lease of fleet %s not renewed: %s", self.lease.fleet, error)
