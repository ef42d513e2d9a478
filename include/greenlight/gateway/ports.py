"""What the gateway needs from outside. Nothing here blocks the event loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from greenlight.core.types import JsonDict
from greenlight.gateway.limits import Charge, Decision, Limit, Reservation
from greenlight.gateway.principals import Principal
from greenlight.gateway.refusals import Refusal


class Authenticator(Protocol):
    """Turns a credential into somebody."""

    async def authenticate(self, bearer: str) -> Principal | Refusal:
        """Return who it is, or why nobody.

        Raises:
            UnavailableError: it could not be checked (no key set, no database); nobody is let in.
        """
        ...


class LimitStore(Protocol):
    """Counts, for all workers and replicas together. Every call is atomic."""

    async def reserve(
        self, limits: Sequence[Limit], charge: Charge, *, request_id: str, expires_s: float
    ) -> Decision:
        """Admit a call under all of the limits, or refuse it and change nothing.

        `expires_s`: after so long a reservation that nobody settled is forgotten (its worker died):
        its stream is over, its money is taken as spent.

        Raises:
            UnavailableError: the store does not answer.
        """
        ...

    async def settle(self, reservation: Reservation, actual: Charge) -> None:
        """Replace what was reserved by what was used, and end the stream. Twice is once.

        Raises:
            UnavailableError: the store does not answer.
        """
        ...

    async def standing(self, limits: Sequence[Limit]) -> Sequence[int]:
        """Return what is used of each.

        Raises:
            UnavailableError: the store does not answer.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """An answer as it is given again: the whole body of an answer that was not streamed."""

    body: bytes
    colour: str
    """Which colour gave it."""
    at_s: float
    """When, seconds since 1970."""


class AnswerStore(Protocol):
    """The second level of the cache, shared by all workers."""

    async def get(self, key: str) -> KeptAnswer | None:
        """Return an answer.

        Raises:
            UnavailableError: the store does not answer.
        """
        ...

    async def put(self, key: str, answer: KeptAnswer, *, ttl_s: float) -> None:
        """Keep one.

        Raises:
            UnavailableError: the store does not answer.
        """
        ...

    async def lead(self, key: str, *, owner: str, ttl_s: float) -> bool:
        """Return whether this owner may answer the request; others wait for the answer.

        Raises:
            UnavailableError: the store does not answer.
        """
        ...

    async def step_down(self, key: str, *, owner: str) -> None:
        """Let another lead: the answer was kept, or there is none."""
        ...


class AuditTrail(Protocol):
    """Takes records of decisions; they survive the process."""

    def record(self, event: str, detail: JsonDict) -> None:
        """Keep one. Returns when it is on disk, before it is in the chain."""
        ...
