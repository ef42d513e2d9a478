"""Which prompts are sent at which instants: drawn before, so that no answer can change it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass

from greenlight.core.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenPrompt:
    """A user's message, answered greedily. `expected`: the text that was recorded for it."""

    id: int
    text: str
    max_tokens: int
    expected: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """A seeded load. The same plan is the same load, request by request.

    `rate`: requests a second to each target, on average; they arrive independently of each other
    (Poisson). The prompts take turns. `stream_share`: the part that is asked for as a stream.
    `timeout_s` counts from the planned arrival. `max_in_flight`: of one target; a request above it
    fails at once.
    """

    rate: float
    prompts: tuple[GoldenPrompt, ...]
    seed: int = 0
    stream_share: float = 0.5
    timeout_s: float = 60.0
    max_in_flight: int = 512

    def __post_init__(self) -> None:
        if not self.prompts:
            raise ConfigError("a load needs at least one prompt")
        for name in ("rate", "timeout_s", "max_in_flight"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} of a load must be above 0, got {getattr(self, name)}")
        if not 0 <= self.stream_share <= 1:
            raise ConfigError(f"stream_share of a load is 0 to 1, got {self.stream_share}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One planned request, `at_s` seconds after the load began."""

    number: int
    at_s: float
    prompt: GoldenPrompt
    stream: bool


def arrivals(plan: LoadPlan) -> Iterator[Arrival]:
    """Yield the plan's requests in their order, without end."""
    draw = random.Random(plan.seed)  # noqa: S311 - a load, not a secret
    at_s, number = 0.0, 0
    while True:
        at_s += draw.expovariate(plan.rate)
        yield Arrival(
            number=number,
            at_s=at_s,
            prompt=plan.prompts[number % len(plan.prompts)],
            stream=draw.random() < plan.stream_share,
        )
        number += 1


async def in_time(planned: Iterable[Arrival]) -> AsyncIterator[tuple[Arrival, float]]:
    """Yield each request when it is due, with that instant by `time.monotonic`.

    A loop that is late yields what is overdue at once and leaves the instants as they were planned.
    """
    began = time.monotonic()
    for arrival in planned:
        due = began + arrival.at_s
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        yield arrival, due
