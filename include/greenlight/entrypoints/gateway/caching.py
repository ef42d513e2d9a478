"""Whether a completion may come from the cache, and whether its answer may be kept there."""

from __future__ import annotations

from dataclasses import dataclass

from greenlight.entrypoints.gateway.answers import Alone, Found, Hit, Lead
from greenlight.entrypoints.gateway.calls import Admitted, Call
from greenlight.entrypoints.gateway.exchange import Exchange
from greenlight.entrypoints.gateway.parts import Parts
from greenlight.gateway.cache_keys import Scope, answer_key, is_deterministic
from greenlight.gateway.ports import KeptAnswer
from greenlight.gateway.replay import Unconvertible, body_of, stream_of
from greenlight.gateway.served import ServedVersion

WISH = b"x-greenlight-cache"
"""`bypass`: a fresh answer, for who has that scope. `always`: also where answers may differ."""
OUTCOME = "x-cache"
MISS, BYPASS = "miss", "bypass"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an answer is, or would be, kept; and the version that it has to come from."""

    key: str
    version: ServedVersion
    fresh: bool
    """Only kept, not looked up."""


class Caching:
    """Stands between a completion and `Answers`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def place(self, exchange: Exchange, call: Call, admitted: Admitted) -> Place | None:
        """Return where the answer is kept; none: it isn't.

        While two versions share a fleet's traffic nobody knows which of them would answer.
        """
        version = self._parts.served.of(admitted.model.name).current
        if self._parts.answers is None or version is None:
            return None
        scope = Scope(
            tenant=admitted.principal.tenant,
            route=call.route,
            model_digest=version.digest,
            flags_digest=version.flags_digest,
            defaults={"max_tokens": admitted.room.answer},
        )
        body, wish = admitted.checked.body, exchange.header(WISH)
        if wish != "always" and not is_deterministic(body, scope):
            return None
        fresh = wish == BYPASS and admitted.principal.may_bypass_cache
        return Place(key=answer_key(body, scope), version=version, fresh=fresh)

    async def find(self, place: Place) -> Found:
        """Return the answer, or who gives it. Waits for one that is being given."""
        assert self._parts.answers is not None
        return Alone() if place.fresh else await self._parts.answers.get_or_lead(place.key)

    def shown(self, hit: Hit, admitted: Admitted) -> bytes | None:
        """Return what a client is sent of a kept answer; none: it has no such form."""
        if not admitted.checked.streams:
            return hit.answer.body
        usage = admitted.checked.asked.wants_usage
        stream = stream_of(hit.answer.body, include_usage=usage)
        return None if isinstance(stream, Unconvertible) else stream

    async def leave(
        self,
        place: Place,
        found: Found,
        call: Call,
        admitted: Admitted,
        *,
        answer: bytes | None,
        client_left: bool,
    ) -> None:
        """Keep an answer that came to its end, or let those who wait for it go on.

        When only the client left, one of them asks for all; when the engine failed, each by itself.
        """
        answers = self._parts.answers
        assert answers is not None
        body = self._to_keep(place, call, admitted, answer)
        if body is not None:
            at_s = self._parts.clock.now().timestamp()
            await answers.keep(place.key, KeptAnswer(body=body, colour=call.colour, at_s=at_s))
        elif isinstance(found, Lead):
            await answers.give_up(place.key, to_another=client_left)

    def _to_keep(
        self, place: Place, call: Call, admitted: Admitted, answer: bytes | None
    ) -> bytes | None:
        """Return the answer in one piece, if it is whole and the version's that was expected."""
        served = self._parts.served.of(admitted.model.name)
        theirs = served.by_colour.get(call.colour)
        if answer is None or call.used is None or not place.version == theirs == served.current:
            return None
        if not admitted.checked.streams:
            return answer
        body = body_of(answer)
        return None if isinstance(body, Unconvertible) else body
