"""One request and its answer, over ASGI's three calls.

Raw ASGI, without a framework: a framework's request, response and middleware objects took more time
than everything the gateway itself does, and an answer in pieces must leave piece by piece.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from greenlight.gateway.refusals import Refusal

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODY_S = 60.0
"""How long a request's body may take to arrive."""
WATCH_AFTER_S = 0.02
"""From then on it is noticed that a client left; most answers are sooner, and watching costs."""
CLIENT_LEFT = 499
"""nginx's status for a client that hung up."""
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
JSON = b"application/json"


class ClientLeftError(Exception):
    """The client hung up: nobody is there to answer."""


class Exchange:
    """A request, what is known about it, and its answer."""

    def __init__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self._headers = _by_name(scope["headers"])
        self._receive, self._send = receive, send
        given = self.header(b"x-request-id") or ""
        self.id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
        self.status = 0
        """Of the answer; 0 until it began."""
        self.finished = False
        """Whether its last piece was sent."""
        self.extra: dict[str, str] = {}
        """Headers for the answer, whatever it will be."""

    def header(self, name: bytes) -> str | None:
        """Return a header's value by its name in lower case; none if it is there twice."""
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    async def body(self, *, at_most: int) -> bytes | Refusal:
        """Return the body, or why it isn't read to its end.

        Raises:
            ClientLeftError: the client hung up meanwhile.
        """
        pieces: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(BODY_S):
                while more:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise ClientLeftError
                    pieces.append(message.get("body", b""))
                    size += len(pieces[-1])
                    if size > at_most:
                        return Refusal(
                            status=413,
                            code="body_too_large",
                            message=f"the body has more than {at_most} bytes, which is the limit",
                            headers={"Connection": "close"},
                        )
                    more = message.get("more_body", False)
        except TimeoutError:
            return Refusal(
                status=408,
                code="body_too_slow",
                message=f"the body did not arrive within {BODY_S:g} s",
                headers={"Connection": "close"},
            )
        return b"".join(pieces)

    async def left(self) -> None:
        """Return when the client has hung up; only after the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def begin(
        self, status: int, *, content_type: bytes = JSON, length: int | None = None
    ) -> None:
        """Send status and headers."""
        self.status = status
        headers = [
            (b"content-type", content_type),
            (b"x-request-id", self.id.encode()),
            *((name.lower().encode(), value.encode()) for name, value in self.extra.items()),
        ]
        if length is not None:
            headers.append((b"content-length", b"%d" % length))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def piece(self, body: bytes, *, more: bool = True) -> None:
        """Send a piece of the answer's body."""
        self.finished = self.finished or not more
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def answer(
        self,
        status: int,
        body: bytes,
        *,
        content_type: bytes = JSON,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send an answer in one piece."""
        self.extra.update(headers or {})
        await self.begin(status, content_type=content_type, length=len(body))
        await self.piece(body, more=False)

    async def refuse(self, refusal: Refusal) -> None:
        """Send an error object; nothing, if an answer has begun already."""
        if self.status == 0:
            await self.answer(refusal.status, refusal.body(), headers=refusal.headers)


def _by_name(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes | None]:
    """Return headers by name. One that is there twice has no value: nobody knows which counts."""
    found: dict[bytes, bytes | None] = {}
    for name, value in headers:
        found[name] = None if name in found else value
    return found


async def while_connected(exchange: Exchange, work: Awaitable[None]) -> None:
    """Do the work in this task, and cancel it when the client leaves.

    Raises:
        ClientLeftError: it left before the answer's end.
    """
    task = asyncio.current_task()
    assert task is not None
    leaving: asyncio.Future[None] | None = None
    has_left = False

    def watch() -> None:
        nonlocal leaving
        leaving = asyncio.ensure_future(exchange.left())
        leaving.add_done_callback(hung_up)

    def hung_up(_: asyncio.Future[None]) -> None:
        nonlocal has_left
        if not exchange.finished:  # a finished answer ends the connection's request as well
            has_left = True
            task.cancel()

    timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, watch)
    try:
        await work
    except asyncio.CancelledError:
        if not has_left:
            raise
        task.uncancel()
        raise ClientLeftError from None
    finally:
        timer.cancel()
        if leaving is not None:
            leaving.remove_done_callback(hung_up)
            leaving.cancel()
