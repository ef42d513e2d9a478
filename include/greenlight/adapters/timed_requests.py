"""Ask an OpenAI-compatible engine one thing, time it, and check the answer to its last event.

For load: thousands of requests a second in one loop. A request that fails is a value with its
reason; only a stream that ended properly, with as many tokens as its usage says, is an answer.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType

import aiohttp

from greenlight.adapters.load_plan import GoldenPrompt
from greenlight.core.traces import trace_headers
from greenlight.core.types import JsonDict

KEEP_ALIVE_S = 2.0
"""Below the 5 s after which vLLM closes an idle connection: never send into one being closed."""
SHOWN = 200
"""Characters of an error that a reason shows."""
DATA, DONE = b"data:", b"[DONE]"
HTTP_OK = 200


class FailureKind(StrEnum):
    """What was wrong with an answer."""

    STATUS = "status"
    """Another status than 200."""
    TRUNCATED = "truncated"
    """It began, and its end never came."""
    MISCOUNTED = "miscounted"
    """It came to its end with another number of tokens than its usage says."""
    REPORTED = "reported"
    """The engine reported an error in the stream."""
    CONNECTION = "connection"
    """No connection, or one that broke before the answer began."""
    TIMEOUT = "timeout"
    MALFORMED = "malformed"
    OVERLOAD = "overload"
    """It was not sent: too many were in flight already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why there is no answer."""

    kind: FailureKind
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and what came of it. Seconds count from `began`; `None`: never came.

    `ttft_s`, `gap_s`: of streams only. `text` is all that came.
    """

    failure: Failure | None
    ttft_s: float | None = None
    gap_s: float | None = None
    total_s: float | None = None
    tokens: int | None = None
    finish: str | None = None
    text: str = ""


class TimedRequests:
    """A client for any number of engines; use it as an asynchronous context manager."""

    def __init__(self, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s

    async def __aenter__(self) -> TimedRequests:
        """Open the connection pool. Proxies of the environment are not for engines."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
            timeout=aiohttp.ClientTimeout(total=None),
            trust_env=False,
            raise_for_status=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        await self._session.close()

    async def send(
        self, url: str, *, model: str, prompt: GoldenPrompt, stream: bool, began: float
    ) -> Exchange:
        """Ask the engine at `url` (its root) and read the answer to its end.

        `began`, by `time.monotonic`, is when the request should have been sent: time and timeout
        count from it, so that a late client cannot make an engine look fast.
        """
        reading = _Reading(began=began)
        body = _body(model, prompt, stream=stream)
        try:
            async with (
                asyncio.timeout(began + self._timeout_s - time.monotonic()),
                self._session.post(
                    f"{url}/v1/chat/completions", json=body, headers=trace_headers()
                ) as response,
            ):
                if response.status != HTTP_OK:
                    text = (await response.read()).decode(errors="replace")
                    reading.fail(FailureKind.STATUS, f"HTTP {response.status}: {text[:SHOWN]}")
                    return reading.result()
                reading.begun = True
                if stream:
                    async for data in response.content.iter_any():
                        reading.take(data)
                else:
                    reading.take_whole(await response.read())
        except TimeoutError:
            reading.fail(FailureKind.TIMEOUT, f"no end within {self._timeout_s:g} s")
        except (aiohttp.ClientError, OSError) as error:
            kind = FailureKind.TRUNCATED if reading.begun else FailureKind.CONNECTION
            reading.fail(kind, f"{type(error).__name__}: {error}"[:SHOWN])
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            reading.fail(FailureKind.MALFORMED, f"{type(error).__name__}: {error}"[:SHOWN])
        return reading.result()


def _body(model: str, prompt: GoldenPrompt, *, stream: bool) -> JsonDict:
    body: JsonDict = {
        "model": model,
        "messages": [{"role": "user", "content": prompt.text}],
        "max_tokens": prompt.max_tokens,
        "temperature": 0,
        "return_token_ids": True,
    }
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


@dataclass(slots=True)
class _Reading:
    """What has come of one answer so far.

    Tokens are counted by the `token_ids` of the events, which vLLM sends on request: under load it
    puts several tokens into one event. Without them, every piece of text is taken for one token,
    and a `stop` for the end token.
    """

    began: float
    begun: bool = False
    pieces: list[str] = field(default_factory=list)
    tokens: int = 0
    first_at: float | None = None
    first_tokens: int = 0
    last_at: float | None = None
    finish: str | None = None
    used: int | None = None
    done: bool = False
    ended_at: float | None = None
    failure: Failure | None = None
    rest: bytes = b""

    def fail(self, kind: FailureKind, reason: str) -> None:
        """Note why there is no answer; the first reason stays."""
        self.failure = self.failure or Failure(kind=kind, reason=reason)

    def take(self, data: bytes) -> None:
        """Read some bytes of server-sent events."""
        now = time.monotonic()
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            if line.startswith(DATA):
                self._event(line[len(DATA) :].strip(), now)

    def _event(self, data: bytes, now: float) -> None:
        if data == DONE:
            self.done, self.ended_at = True, now
            return
        event = json.loads(data)
        if error := event.get("error"):
            self.fail(FailureKind.REPORTED, f"the engine reported: {error}"[:SHOWN])
            return
        if usage := event.get("usage"):
            self.used = int(usage["completion_tokens"])
        for choice in event["choices"]:
            self.finish = choice.get("finish_reason") or self.finish
            self._count(choice["delta"].get("content") or "", choice, now)

    def _count(self, piece: str, choice: JsonDict, now: float) -> None:
        ids = choice.get("token_ids")
        ended = choice.get("finish_reason") == "stop"
        came = len(ids) if ids is not None else bool(piece) + ended
        if piece:
            self.pieces.append(piece)
        if came and self.first_at is None:
            self.first_at, self.first_tokens = now, came
        if came:
            self.last_at = now
            self.tokens += came

    def take_whole(self, data: bytes) -> None:
        """Read an answer that isn't a stream."""
        body = json.loads(data)
        choice = body["choices"][0]
        self.pieces = [choice["message"]["content"] or ""]
        self.finish = choice["finish_reason"]
        self.used = int(body["usage"]["completion_tokens"]) if body.get("usage") else None
        ids = choice.get("token_ids")
        self.tokens = len(ids) if ids is not None else self.used or 0
        self.done, self.ended_at = True, time.monotonic()

    def result(self) -> Exchange:
        """Return the answer, or what came of it and what is missing."""
        if self.failure is None:
            self._check()
        return Exchange(
            failure=self.failure,
            ttft_s=None if self.first_at is None else self.first_at - self.began,
            gap_s=self._gap_s(),
            total_s=None if self.ended_at is None else self.ended_at - self.began,
            tokens=self.tokens if self.begun else None,
            finish=self.finish,
            text="".join(self.pieces),
        )

    def _check(self) -> None:
        came = f"{self.tokens} tokens came"
        if not self.done or self.finish is None:
            missing = "[DONE]" if not self.done else "finish_reason"
            self.fail(FailureKind.TRUNCATED, f"the answer was cut: {came}, but no {missing}")
        elif self.used is None:
            self.fail(FailureKind.MISCOUNTED, f"{came}, but no usage to check them with")
        elif self.used != self.tokens:
            self.fail(FailureKind.MISCOUNTED, f"{came}, but the usage says {self.used}")

    def _gap_s(self) -> float | None:
        """Return the mean time between tokens: those after the first event, over its time."""
        later = self.tokens - self.first_tokens
        if self.first_at is None or self.last_at is None or later < 1:
            return None
        return (self.last_at - self.first_at) / later
