"""Whether a request may be asked: who, what, how much. The first refusal ends it."""

from __future__ import annotations

from greenlight.core.errors import UnavailableError
from greenlight.entrypoints.gateway.calls import Admitted, Call
from greenlight.entrypoints.gateway.exchange import Exchange
from greenlight.entrypoints.gateway.parts import Parts
from greenlight.gateway.credentials import bearer_of
from greenlight.gateway.gateway_file import ServedModel
from greenlight.gateway.limits import Exceeded, Limit, Reservation
from greenlight.gateway.principals import Principal
from greenlight.gateway.rate_headers import exceeded_refusal, rate_headers
from greenlight.gateway.refusals import Refusal, try_again
from greenlight.gateway.validation import (
    Checked,
    Room,
    check,
    refuse_media_type,
    refuse_size,
    room_for,
)

MOST_KNOWN = 10_000
"""Subjects whose limits are at hand."""
SPARE_S = 60.0
"""A call that took all the time it may is still settled by its end."""


class Admission:
    """Asks in the order of cost: nothing of a stranger's request is read."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._limits: dict[tuple[str, str], tuple[Limit, ...]] = {}

    async def admit(self, exchange: Exchange, call: Call) -> Admitted | Refusal:
        """Return what was agreed to, or the first refusal.

        Raises:
            ClientLeftError: the client hung up while it sent.
        """
        principal = await self.who(exchange)
        if isinstance(principal, Refusal):
            return principal
        call.principal = principal
        if refusal := principal.may_use(call.route):
            return refusal
        checked = await self._checked(exchange, call)
        if isinstance(checked, Refusal):
            return checked
        model = self._model(principal, checked)
        if isinstance(model, Refusal):
            return model
        room = await self._room(model, checked)
        if isinstance(room, Refusal):
            return room
        reservation = await self._reserve(exchange, principal, model, room)
        if isinstance(reservation, Refusal):
            return reservation
        return Admitted(
            principal=principal, model=model, checked=checked, room=room, reservation=reservation
        )

    async def who(self, exchange: Exchange) -> Principal | Refusal:
        """Return who asks."""
        found = await self._authenticate(exchange.header(b"authorization"))
        outcome = found.code if isinstance(found, Refusal) else str(found.kind)
        self._parts.metrics.authenticated(outcome)
        return found

    async def _authenticate(self, header: str | None) -> Principal | Refusal:
        credential = bearer_of(header)
        if isinstance(credential, Refusal):
            return credential
        try:
            return await self._parts.authenticator.authenticate(credential)
        except UnavailableError:
            return try_again("authentication_unavailable", "credentials can't be checked just now")

    async def _checked(self, exchange: Exchange, call: Call) -> Checked | Refusal:
        bounds = self._parts.file.requests
        if refusal := refuse_media_type(exchange.header(b"content-type")):
            return refusal
        length = exchange.header(b"content-length")
        if length is not None and (refusal := refuse_size(int(length), bounds)):
            return refusal
        body = await exchange.body(at_most=bounds.body_bytes)
        if isinstance(body, Refusal):
            return body
        return check(body, route=call.route, bounds=bounds)

    def _model(self, principal: Principal, checked: Checked) -> ServedModel | Refusal:
        """Return the model. To somebody who may not see it, it doesn't exist."""
        name = checked.asked.model
        model = self._parts.file.model(name)
        if model is not None and principal.sees(name):
            return model
        known = ", ".join(one.name for one in self._parts.file.models if principal.sees(one.name))
        return Refusal(
            status=404,
            code="model_not_found",
            message=f"there is no model {name!r} for you; there are: {known or 'none'}",
            param="model",
        )

    async def _room(self, model: ServedModel, checked: Checked) -> Room | Refusal:
        prompt = await self._parts.served.count(model.name, checked)
        if isinstance(prompt, Refusal):
            return prompt
        return room_for(checked.asked, prompt=prompt, model=model)

    async def _reserve(
        self, exchange: Exchange, principal: Principal, model: ServedModel, room: Room
    ) -> Reservation | Refusal | None:
        limits = self._limits_of(principal)
        most = model.charge(prompt=room.prompt, answer=room.answer * room.answers)
        try:
            decision = await self._parts.limits.reserve(
                limits,
                most,
                request_id=exchange.id,
                expires_s=self._parts.file.upstream.total_s + SPARE_S,
            )
        except UnavailableError:
            if self._parts.file.redis.when_away == "open":
                self._parts.metrics.limited("uncounted")
                return None
            self._parts.metrics.limited("unavailable")
            return try_again("limits_unavailable", "limits can't be counted just now")
        exchange.extra.update(rate_headers(decision.standings))
        if isinstance(decision, Exceeded):
            self._parts.metrics.limited("refused", str(decision.limit.kind))
            return exceeded_refusal(decision)
        self._parts.metrics.limited("admitted")
        return decision

    def _limits_of(self, principal: Principal) -> tuple[Limit, ...]:
        key = (principal.tenant, principal.subject)
        if (found := self._limits.get(key)) is None:
            if len(self._limits) >= MOST_KNOWN:
                self._limits.clear()
            found = self._limits[key] = self._parts.file.limits_of(principal)
        return self._parts.caps.lower(found, tenant=principal.tenant)
