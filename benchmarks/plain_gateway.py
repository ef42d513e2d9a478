"""The baseline of `gateway.py`: what a good engineer writes in an afternoon, FastAPI and aiohttp.

The same checks as ours: an RS256 token verified for every request with a key that was read at the
start, a bucket of requests and one of tokens in Redis, the answer passed on. Its configuration is
in the environment, as such things are.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import redis.asyncio
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import Response, StreamingResponse
from joserfc import jwt
from joserfc.jwk import RSAKey
from pydantic import BaseModel, ConfigDict

UPSTREAM, REDIS = os.environ["UPSTREAM"], os.environ["REDIS"]
ISSUER, AUDIENCE = os.environ["ISSUER"], os.environ["AUDIENCE"]
KEY = RSAKey.import_key(Path(os.environ["PUBLIC_KEY"]).read_text())
LIMIT = 10**9
CLAIMS = jwt.JWTClaimsRegistry(
    iss={"essential": True, "value": ISSUER}, aud={"essential": True, "value": AUDIENCE}
)
BUCKETS = """
for i, key in ipairs(KEYS) do
  local used = redis.call('INCRBY', key, ARGV[i])
  if used == tonumber(ARGV[i]) then redis.call('EXPIRE', key, 60) end
  if used > tonumber(ARGV[#ARGV]) then return 0 end
end
return 1
"""


class Message(BaseModel):
    """One message."""

    role: str
    content: str


class Chat(BaseModel):
    """A request."""

    model_config = ConfigDict(extra="allow")

    model: str
    messages: list[Message]
    max_tokens: int = 256
    stream: bool = False


@asynccontextmanager
async def opened(app: FastAPI) -> AsyncIterator[None]:
    """Open the connections."""
    app.state.redis = redis.asyncio.from_url(REDIS)
    app.state.buckets = app.state.redis.register_script(BUCKETS)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=512)) as session:
        app.state.session = session
        yield


app = FastAPI(lifespan=opened)


@app.post("/v1/chat/completions")
async def chat(request: Request, asked: Chat) -> Response:
    """Answer one."""
    try:
        token = jwt.decode(request.headers["authorization"][7:], KEY, algorithms=["RS256"])
        CLAIMS.validate(token.claims)
    except Exception as error:
        raise HTTPException(401) from error
    subject, minute = token.claims["sub"], int(time.time() // 60)
    words = sum(len(message.content) for message in asked.messages) // 4 + asked.max_tokens
    admitted = await app.state.buckets(
        keys=[f"r:{subject}:{minute}", f"t:{subject}:{minute}"], args=[1, words, LIMIT]
    )
    if not admitted:
        raise HTTPException(429)
    return await _forward(asked.model_dump(exclude_none=True), stream=asked.stream)


async def _forward(body: dict[str, Any], *, stream: bool) -> Response:
    response = await app.state.session.post(f"{UPSTREAM}/v1/chat/completions", json=body)
    if not stream:
        async with response:
            return Response(await response.read(), response.status, media_type="application/json")

    async def pieces() -> AsyncIterator[bytes]:
        async with response:
            async for piece in response.content.iter_any():
                yield piece

    return StreamingResponse(pieces(), media_type="text/event-stream")
