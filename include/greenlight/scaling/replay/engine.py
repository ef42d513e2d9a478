"""One engine in a simulation: requests wait, are read, and get a token a step, all together.

Between two events (somebody finishes, memory is full, somebody new comes in) every step is alike,
so a whole stretch of steps is one jump in time. Prompts are read between steps, oldest first, as
many as there are places and memory for; meanwhile nobody gets a token. When the KV cache is full,
the newest request goes back to the queue and its tokens are read again, as vLLM does it.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass, field

from greenlight.core.errors import InputError
from greenlight.scaling.replay.latency import LatencyModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client asks for. `arrives`: seconds since the start."""

    number: int
    arrives: float
    prompt_tokens: int
    new_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    """Places in the batch, and tokens that the KV cache holds."""

    requests: int
    kv_tokens: int


@dataclass(slots=True, kw_only=True)
class Served:
    """How a request went. `None`: it hasn't come to that. `cut`: its host went before its end."""

    request: Request
    first_token: float | None = None
    ended: float | None = None
    preempted: int = 0
    cut: bool = False

    @property
    def gap_s(self) -> float:
        """Mean seconds between tokens; 0 where there is one token, infinite without an end."""
        if self.ended is None or self.first_token is None or self.cut:
            return math.inf
        return (self.ended - self.first_token) / max(1, self.request.new_tokens - 1)


@dataclass(order=True, slots=True)
class _Running:
    """A request in the batch. It ends when the engine's count of steps reaches `ends`."""

    ends: int
    admitted: int
    served: Served = field(compare=False)
    kv: int = field(compare=False)
    since: int = field(compare=False)


class Engine:
    """A host that serves. Its clock is moved by `advance` and never goes back."""

    def __init__(self, latency: LatencyModel, limits: EngineLimits, *, now: float) -> None:
        self.now = now
        self._latency, self._limits = latency, limits
        self._waiting: deque[tuple[Served, int, int]] = deque()
        self._running: list[_Running] = []
        self._steps = self._admitted = 0
        self._kv = 0

    @property
    def open_requests(self) -> int:
        """Requests that are waiting or running."""
        return len(self._waiting) + len(self._running)

    @property
    def kv_usage(self) -> float:
        """The share of the KV cache that is taken."""
        return self._kv / self._limits.kv_tokens

    def add(self, served: Served) -> None:
        """Put a request at the end of the queue.

        Raises:
            InputError: it could never be served, even alone.
        """
        request = served.request
        needed = request.prompt_tokens + request.new_tokens
        if needed > self._limits.kv_tokens:
            raise InputError(
                f"request {request.number} needs {needed} tokens of KV cache, "
                f"there are {self._limits.kv_tokens}"
            )
        self._waiting.append((served, request.prompt_tokens, request.new_tokens))

    def advance(self, until: float) -> list[Served]:
        """Work until a time, or until the step that goes over it; return who ended."""
        ended: list[Served] = []
        while self.now < until and self.open_requests:
            self._read()
            self._end(ended)
            if not self._running:
                continue
            step = self._latency.step(len(self._running))
            count = min(
                self._running[0].ends - self._steps,
                max(1, math.ceil((until - self.now) / step)),
                (self._limits.kv_tokens - self._kv) // len(self._running),
            )
            if count <= 0:
                self._preempt()
                continue
            self._steps += count
            self._kv += count * len(self._running)
            self.now += count * step
            self._end(ended)
        self.now = max(self.now, until)
        return ended

    def cut(self) -> list[Served]:
        """End everything at once; return who lost their answer."""
        lost = [served for served, _, _ in self._waiting] + [r.served for r in self._running]
        for served in lost:
            served.cut, served.ended = True, self.now
        self._waiting.clear()
        self._running.clear()
        self._kv = 0
        return lost

    def _read(self) -> None:
        """Let in who fits, reading their prompts; each gets its first token by that."""
        taken: list[tuple[Served, int, int]] = []
        tokens = 0
        while self._waiting and len(self._running) + len(taken) < self._limits.requests:
            prompt = self._waiting[0][1]
            if self._kv + tokens + prompt + 1 > self._limits.kv_tokens:
                break
            taken.append(self._waiting.popleft())
            tokens += prompt + 1
        if not taken:
            return
        self.now += self._latency.reading(tokens - len(taken))
        self._kv += tokens
        for served, prompt, left in taken:
            if served.first_token is None:
                served.first_token = self.now
            self._admitted += 1
            running = _Running(
                ends=self._steps + left - 1,
                admitted=self._admitted,
                served=served,
                kv=prompt + 1,
                since=self._steps,
            )
            heapq.heappush(self._running, running)

    def _end(self, ended: list[Served]) -> None:
        while self._running and self._running[0].ends <= self._steps:
            done = heapq.heappop(self._running)
            self._kv -= done.kv + self._steps - done.since
            done.served.ended = self.now
            ended.append(done.served)

    def _preempt(self) -> None:
        newest = max(self._running, key=lambda running: running.admitted)
        self._running.remove(newest)
        heapq.heapify(self._running)
        held = newest.kv + self._steps - newest.since
        self._kv -= held
        newest.served.preempted += 1
        self._waiting.appendleft((newest.served, held, newest.ends - self._steps + 1))
