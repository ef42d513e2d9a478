"""Limits as clients are told them: response headers, and the refusal of a call that is too much.

* `RateLimit-Policy` and `RateLimit`: draft-ietf-httpapi-ratelimit-headers-10, structured fields.
  The unit `tokens` is not in the draft's registry. Money isn't in them: a client can't pace it, and
  what a tenant may spend is nobody else's business.
* `x-ratelimit-*`: what OpenAI's clients read, of the limit with the least left.
* `x-should-retry: false`: OpenAI's clients, which wait a minute at most, else ask again in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from greenlight.gateway.limits import (
    MICRO,
    RATE_WINDOW_S,
    Exceeded,
    Holder,
    Limit,
    LimitKind,
    Standing,
    tightest,
)
from greenlight.gateway.refusals import Refusal

MOST = 999_999_999_999_999
"""The largest integer of a structured field (RFC 9651)."""
CLIENTS_WAIT_S = 60
MONEY = frozenset({LimitKind.SPEND_DAY, LimitKind.SPEND_MONTH})
POLICY = {
    LimitKind.REQUESTS: f";w={RATE_WINDOW_S}",
    LimitKind.TOKENS: f';qu="tokens";w={RATE_WINDOW_S}',
    LimitKind.STREAMS: ';qu="concurrent-requests"',
}
OPENAI = {
    kind: tuple(f"x-ratelimit-{what}-{name}" for what in ("limit", "remaining", "reset"))
    for kind, name in ((LimitKind.REQUESTS, "requests"), (LimitKind.TOKENS, "tokens"))
}
MANY = 10_000
"""Limits whose texts are at hand: they are the same in every answer."""


def rate_headers(standings: Sequence[Standing]) -> dict[str, str]:
    """Return what a response says about the caller's limits; nothing about one without."""
    told = [standing for standing in standings if standing.limit.kind in POLICY]
    headers: dict[str, str] = {}
    if told:
        headers["RateLimit-Policy"] = ", ".join([_policy(one.limit) for one in told])
        headers["RateLimit"] = ", ".join([_left(one, seconds=one.next_s) for one in told])
    for kind, (limit, remaining, reset) in OPENAI.items():
        standing = tightest(standings, kind)
        if standing is not None:
            headers[limit] = str(standing.limit.amount)
            headers[remaining] = str(standing.remaining)
            headers[reset] = duration(standing.reset_s)
    return headers


def exceeded_refusal(exceeded: Exceeded) -> Refusal:
    """Return the answer to a call that was not admitted.

    A call that alone is more than a limit of tokens gets 400: clients send a 429 again, and this
    one can never pass; it must be made smaller. Money is always 429 `insufficient_quota`, as
    OpenAI's.
    """
    limit, wait_s = exceeded.limit, exceeded.retry_after_s
    too_large = wait_s is None and limit.kind not in MONEY
    headers = rate_headers(exceeded.standings)
    if limit.kind in POLICY:
        # Retry-After is not to be before the end of a `t` beside it: only the one that counts
        standing = next(one for one in exceeded.standings if one.limit == limit)
        headers["RateLimit"] = _left(standing, seconds=wait_s)
    if wait_s is not None:
        headers["Retry-After"] = str(_whole(wait_s))
    if wait_s is None or wait_s > CLIENTS_WAIT_S:
        headers["x-should-retry"] = "false"
    return Refusal(
        status=400 if too_large else 429,
        code="insufficient_quota" if limit.kind in MONEY else "rate_limit_exceeded",
        message=_message(exceeded),
        param="max_tokens" if too_large else None,
        headers=headers,
    )


def duration(seconds: float) -> str:
    """Return seconds as OpenAI writes them: `120ms`, `1.5s`, `6m0s`, `1h2m3s`."""
    millis = math.ceil(seconds * 1000)
    if 0 < millis < 1000:
        return f"{millis}ms"
    minutes, rest = divmod(millis, 60_000)
    hours, minutes = divmod(minutes, 60)
    large = (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "")
    return f"{large}{rest / 1000:g}s"


@lru_cache(MANY)
def _policy(limit: Limit) -> str:
    return f"{_name(limit)};q={min(limit.amount, MOST)}{POLICY[limit.kind]}"


def _left(standing: Standing, *, seconds: float | None) -> str:
    item = f"{_name(standing.limit)};r={min(standing.remaining, MOST)}"
    return item if seconds is None else f"{item};t={_whole(seconds)}"


@lru_cache(MANY)
def _name(limit: Limit) -> str:
    return f'"{limit.holder}-{limit.kind}"'


def _whole(seconds: float) -> int:
    """Return whole seconds, rounded up: a client that waits so long is not refused again."""
    return math.ceil(round(seconds, 6))


def _message(exceeded: Exceeded) -> str:
    limit = exceeded.limit
    who = {Holder.KEY: "this key", Holder.TENANT: f"tenant {limit.subject!r}"}[limit.holder]
    amount, asked, remaining = (
        _amount(limit.kind, number) for number in (limit.amount, exceeded.asked, exceeded.remaining)
    )
    said = f"The limit {limit.kind} of {who} is {amount}; this request asks {asked}"
    if exceeded.retry_after_s is None:
        return f"{said}, which is more than the whole limit: {_SMALLER[limit.kind]}."
    if limit.kind is LimitKind.STREAMS:
        return f"{said}, and {remaining} remain. A place is free when another request ends."
    return f"{said}, and {remaining} remain. Enough is free in {duration(exceeded.retry_after_s)}."


_SMALLER = {
    LimitKind.REQUESTS: "nothing can be asked",
    LimitKind.TOKENS: "shorten the prompt or lower max_tokens",
    LimitKind.STREAMS: "nothing can be asked",
    LimitKind.SPEND_DAY: "shorten the prompt or lower max_tokens",
    LimitKind.SPEND_MONTH: "shorten the prompt or lower max_tokens",
}


def _amount(kind: LimitKind, number: int) -> str:
    if kind in MONEY:
        return f"{number / MICRO:.6f}".rstrip("0").rstrip(".")
    return str(number)
