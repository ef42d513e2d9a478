"""Ask a server that speaks OpenAI's chat protocol, streaming, and time every piece it sends.

A request that fails is a value (`Failure`), not an exception: a benchmark decides what failures
mean, and one failed request must not cancel those beside it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from greenlight.core.traces import trace_headers
from greenlight.core.types import JsonDict

TIMEOUT_S = 120.0
DATA, DONE = "data:", "[DONE]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One user message, answered greedily.

    `through_the_end`: generate `max_tokens` whatever comes (vLLM's `ignore_eos`).
    """

    text: str
    max_tokens: int
    through_the_end: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A complete answer. Seconds count from sending; `tokens` as the server's `usage` has them.

    `ttft_s` is the time to the first piece of text, `gaps_s` the times between pieces. `finish` is
    the server's reason: `stop` or `length`.
    """

    text: str
    finish: str
    prompt_tokens: int
    tokens: int
    ttft_s: float
    gaps_s: tuple[float, ...]
    total_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why there is no answer: the status, the server's error or the connection's."""

    reason: str


class OpenAIClient:
    """A client of one model on one server; use it as an asynchronous context manager."""

    def __init__(self, url: str, *, model: str, timeout_s: float = TIMEOUT_S) -> None:
        """`url` is the server's root, without `/v1`."""
        self._model = model
        self._http = httpx.AsyncClient(
            base_url=url,
            timeout=timeout_s,
            limits=httpx.Limits(max_connections=None),
            trust_env=False,
        )

    async def __aenter__(self) -> OpenAIClient:
        """Return the client; leaving the block closes its connections."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def ask(self, prompt: Prompt) -> Reply | Failure:
        """Send one prompt and read its answer to the end."""
        reading = _Reading(began=time.perf_counter())
        try:
            async with self._http.stream(
                "POST", "/v1/chat/completions", json=self._body(prompt), headers=trace_headers()
            ) as response:
                if response.status_code != httpx.codes.OK:
                    text = (await response.aread()).decode(errors="replace")
                    return Failure(reason=f"HTTP {response.status_code}: {text[:200]}")
                async for line in response.aiter_lines():
                    reading.take(line)
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            return Failure(reason=f"{type(error).__name__}: {error}")
        return reading.result()

    async def ask_all(
        self, prompts: Sequence[Prompt], *, concurrency: int
    ) -> list[Reply | Failure]:
        """Keep `concurrency` requests in flight until all are answered, in the prompts' order."""
        waiting = iter(enumerate(prompts))
        replies: dict[int, Reply | Failure] = {}

        async def user() -> None:
            for number, prompt in waiting:
                replies[number] = await self.ask(prompt)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, len(prompts))):
                group.create_task(user())
        return [replies[number] for number in range(len(prompts))]

    def _body(self, prompt: Prompt) -> JsonDict:
        body: JsonDict = {
            "model": self._model,
            "messages": [{"role": "user", "content": prompt.text}],
            "max_tokens": prompt.max_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        return body | {"ignore_eos": True} if prompt.through_the_end else body


@dataclass(slots=True)
class _Reading:
    """What has come of one stream so far."""

    began: float
    pieces: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    finish: str | None = None
    usage: JsonDict | None = None
    error: str | None = None
    done: bool = False

    def take(self, line: str) -> None:
        """Read one line of server-sent events; comments and blank lines carry nothing."""
        if not line.startswith(DATA):
            return
        data = line.removeprefix(DATA).strip()
        if data == DONE:
            self.done = True
            return
        event = json.loads(data)
        if event.get("error"):
            self.error = str(event["error"])
            return
        self.usage = event.get("usage") or self.usage
        for choice in event["choices"]:
            self.finish = choice.get("finish_reason") or self.finish
            if piece := choice["delta"].get("content"):
                self.times.append(time.perf_counter())
                self.pieces.append(piece)

    def result(self) -> Reply | Failure:
        """Return the answer, or what is missing of it: half an answer is none."""
        ended = time.perf_counter()
        if self.error:
            return Failure(reason=f"the server reported: {self.error[:200]}")
        if not self.done or self.finish is None:
            return Failure(reason=f"the stream was cut after {len(self.pieces)} pieces of text")
        if self.usage is None:
            return Failure(reason="the server sent no usage, so there are no token counts")
        first = self.times[0] if self.times else ended
        return Reply(
            text="".join(self.pieces),
            finish=self.finish,
            prompt_tokens=int(self.usage["prompt_tokens"]),
            tokens=int(self.usage["completion_tokens"]),
            ttft_s=first - self.began,
            gaps_s=tuple(b - a for a, b in zip(self.times, self.times[1:], strict=False)),
            total_s=ended - self.began,
        )
