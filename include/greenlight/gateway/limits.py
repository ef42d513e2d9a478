"""How much somebody may ask: requests and tokens a minute, open streams, money a day or month.

Tokens and money are *reserved* before a call, at the most it can cost (counted prompt and
`max_tokens`), and *settled* to what it did cost when it ends: calls in flight together can't spend
the same allowance. A limit that is counted after the fact lets everything through that is asked at
once (LiteLLM issue 18730: 663 tokens through a limit of 100).

Rates are counted in a sliding window of `RATE_WINDOW_S` seconds in steps of one second, the oldest
step whole: in no window of that length more than the limit is admitted. Money is counted by UTC day
and UTC month, in millionths of the currency.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

RATE_WINDOW_S = 60
MICRO = 1_000_000


class LimitKind(StrEnum):
    """What is counted."""

    REQUESTS = "requests_per_minute"
    TOKENS = "tokens_per_minute"
    STREAMS = "streams"
    """Requests in flight, streamed or not."""
    SPEND_DAY = "spend_per_day"
    SPEND_MONTH = "spend_per_month"


class Holder(StrEnum):
    """Whose allowance it is."""

    KEY = "key"
    """One key or one token's subject."""
    TENANT = "tenant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One allowance. Money in millionths."""

    kind: LimitKind
    holder: Holder
    subject: str
    """The key's or the tenant's name."""
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What a call costs, at most or really: tokens (prompt and answer), and money in millionths."""

    tokens: int
    spend: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A limit after a decision."""

    limit: Limit
    remaining: int
    reset_s: float
    """Seconds until all of it is free again; of streams, when the last lease would end."""
    next_s: float | None
    """Seconds until some more of it is free. None: a stream ends when it ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """An admitted call, to be settled once."""

    id: str
    limits: tuple[Limit, ...]
    charge: Charge
    at_s: float
    """The store's own time, seconds since 1970: settling finds the window's step again by it."""
    standings: tuple[Standing, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exceeded:
    """A refused call; nothing was reserved anywhere."""

    limit: Limit
    asked: int
    remaining: int
    retry_after_s: float | None
    """None: waiting can't help, since the call alone is more than the limit."""
    standings: tuple[Standing, ...]


Decision = Reservation | Exceeded


def tightest(standings: Sequence[Standing], *kinds: LimitKind) -> Standing | None:
    """Return the standing of these kinds that has the least left; clients are told one."""
    found = [standing for standing in standings if standing.limit.kind in kinds]
    return min(found, key=lambda standing: standing.remaining, default=None)
