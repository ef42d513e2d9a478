"""The ASGI application: which path does what."""

from __future__ import annotations

import asyncio
import json
import logging

from greenlight.core.errors import UnavailableError
from greenlight.entrypoints.gateway.exchange import CLIENT_LEFT, Exchange, Message, Receive, Send
from greenlight.entrypoints.gateway.flow import PATHS, Completions
from greenlight.entrypoints.gateway.openapi import document
from greenlight.entrypoints.gateway.parts import Parts
from greenlight.gateway.principals import Route
from greenlight.gateway.refusals import Refusal

log = logging.getLogger(__name__)

COMPLETIONS = {path: route for route, path in PATHS.items()}
MODELS = "/v1/models"
ONE_MODEL = f"{MODELS}/{{model}}"
HEALTHZ, READYZ, OPENAPI = "/healthz", "/readyz", "/openapi.json"
NO_ENDPOINT = "none"
"""The label of a path that isn't served: what strangers make up adds no series."""
READY_S = 2.0
READY_FOR_S = 1.0
"""Readiness is asked for often; an engine is asked once in so long."""
FAILED = 500


class Application:
    """One worker."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._completions = Completions(parts)
        self._ready: tuple[float, str | None] = (float("-inf"), None)
        self._openapi = json.dumps(document(parts.file)).encode()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; websockets are closed."""
        if scope["type"] != "http":
            raise NotImplementedError(f"{scope['type']} is not served")  # uvicorn answers 403
        exchange = Exchange(scope, receive, send)
        endpoint = _endpoint(exchange.path)
        monotonic, metrics = self._parts.clock.monotonic, self._parts.metrics
        began = monotonic()
        metrics.began()
        status = CLIENT_LEFT
        try:
            await self._route(exchange, endpoint)
            status = exchange.status or CLIENT_LEFT
        except BaseException:
            status = exchange.status or FAILED
            raise
        finally:
            metrics.ended(
                method=exchange.method if exchange.method in ("GET", "POST") else "other",
                endpoint=endpoint,
                status=status,
                seconds=monotonic() - began,
            )

    async def drain(self) -> None:
        """Return when everything that was answered is settled."""
        await self._completions.drain()

    async def _route(self, exchange: Exchange, endpoint: str) -> None:
        wanted = "POST" if endpoint in COMPLETIONS else "GET"
        if endpoint == NO_ENDPOINT:
            await exchange.refuse(_unknown(exchange))
        elif exchange.method not in (wanted, "HEAD" if wanted == "GET" else wanted):
            await exchange.refuse(_wrong_method(exchange, wanted))
        elif endpoint in COMPLETIONS:
            await self._completions.complete(exchange, COMPLETIONS[endpoint])
        elif endpoint == HEALTHZ:
            await exchange.answer(200, b'{"status":"alive"}')
        elif endpoint == READYZ:
            await self._readyz(exchange)
        elif endpoint == OPENAPI:
            await exchange.answer(200, self._openapi)
        else:
            await self._models(exchange)

    async def _models(self, exchange: Exchange) -> None:
        principal = await self._completions.admission.who(exchange)
        if isinstance(principal, Refusal):
            await exchange.refuse(principal)
            return
        if refusal := principal.may_use(Route.MODELS):
            await exchange.refuse(refusal)
            return
        found = [
            {"id": model.name, "object": "model", "created": 0, "owned_by": "greenlight",
             "max_model_len": model.context}
            for model in self._parts.file.models
            if principal.sees(model.name)
        ]  # fmt: skip
        if exchange.path == MODELS:
            body = {"object": "list", "data": found}
            await exchange.answer(200, json.dumps(body).encode())
            return
        name = exchange.path.removeprefix(f"{MODELS}/")
        one = next((model for model in found if model["id"] == name), None)
        if one is None:
            await exchange.refuse(
                Refusal(
                    status=404,
                    code="model_not_found",
                    message=f"there is no model {name[:128]!r} for you",
                    param="model",
                )
            )
        else:
            await exchange.answer(200, json.dumps(one).encode())

    async def _readyz(self, exchange: Exchange) -> None:
        reason = await self._why_not_ready()
        if reason is None:
            await exchange.answer(200, b'{"status":"ready"}')
        else:
            body = json.dumps({"status": "not ready", "reason": reason}).encode()
            await exchange.answer(503, body)

    async def _why_not_ready(self) -> str | None:
        """Ask a real engine of every fleet, and the store of the limits where it decides."""
        now = self._parts.clock.monotonic()
        at, reason = self._ready
        if now - at < READY_FOR_S:
            return reason
        names = list(self._parts.upstreams)
        answers = await asyncio.gather(
            *(self._parts.upstreams[name].is_ready(within_s=READY_S) for name in names)
        )
        silent = [name for name, ready in zip(names, answers, strict=True) if not ready]
        reason = f"no engine answers for {', '.join(silent)}" if silent else None
        if reason is None and self._parts.file.redis.when_away == "closed":
            try:
                await self._parts.limits.standing(())
            except UnavailableError:
                reason = "limits can't be counted: Redis does not answer"
        self._ready = (now, reason)
        return reason


def _endpoint(path: str) -> str:
    if path in COMPLETIONS or path in (MODELS, HEALTHZ, READYZ, OPENAPI):
        return path
    name = path.removeprefix(f"{MODELS}/")
    return ONE_MODEL if name != path and name and "/" not in name else NO_ENDPOINT


def _unknown(exchange: Exchange) -> Refusal:
    served = ", ".join((*COMPLETIONS, MODELS))
    return Refusal(
        status=404,
        code="unknown_path",
        message=f"{exchange.path[:128]!r} is not served here; there are {served}",
    )


def _wrong_method(exchange: Exchange, wanted: str) -> Refusal:
    return Refusal(
        status=405,
        code="method_not_allowed",
        message=f"{exchange.path} takes {wanted}, not {exchange.method[:16]}",
        headers={"Allow": wanted},
    )
