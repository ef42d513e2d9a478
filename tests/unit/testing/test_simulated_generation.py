from __future__ import annotations

import asyncio
import random
import statistics
import time
from itertools import pairwise

from greenlight.testing.simulated_generation import Generation, hits
from greenlight.testing.simulated_metrics import EngineMetrics
from greenlight.testing.simulated_requests import read_ask
from greenlight.testing.simulation import Simulation


async def go_on() -> None:
    """Nothing hangs."""


def instants(seed: int = 0, **settings: object) -> list[float]:
    """When each token is due, in seconds after the request came."""
    ask = read_ask({"model": "m", "prompt": "x", "max_tokens": 5000}, chat=False)
    arrived = time.monotonic()
    generation = Generation(
        ask,
        Simulation.model_validate(settings),
        metrics=EngineMetrics("m"),
        draw=random.Random(seed),
        arrived=arrived,
        may_go_on=go_on,
    )
    return [instant - arrived for instant in generation._due]


def gaps(due: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(due)]


def test_tokens_are_due_at_the_set_speed() -> None:
    due = instants(tokens=10, first_token_s=2, token_s=0.5)
    assert len(due) == 11
    assert 2 <= due[0] < 2.1
    assert all(abs(gap - 0.5) < 1e-6 for gap in gaps(due))


def test_faults_multiply_the_times() -> None:
    due = instants(tokens=3, first_token_s=2, token_s=0.5, slow_first_token=3, slow_tokens=4)
    assert 6 <= due[0] < 6.1
    assert all(abs(gap - 2) < 1e-6 for gap in gaps(due))


def test_jitter_keeps_the_mean_and_has_the_set_deviation() -> None:
    found = gaps(instants(tokens=4000, token_s=1, jitter=0.3))
    assert abs(statistics.mean(found) - 1) < 0.03
    assert abs(statistics.stdev(found) - 0.3) < 0.03
    assert min(found) > 0


def test_jitter_is_seeded() -> None:
    first, again, other = (
        gaps(instants(seed, tokens=20, token_s=1, jitter=0.3)) for seed in (1, 1, 2)
    )
    assert all(abs(a - b) < 1e-6 for a, b in zip(first, again, strict=True))
    assert any(abs(a - b) > 0.01 for a, b in zip(first, other, strict=True))


def test_a_share_of_nothing_draws_nothing() -> None:
    draw = random.Random(0)
    before = draw.getstate()
    assert not hits(0, draw)
    assert draw.getstate() == before
    assert hits(1, draw)


def test_many_streams_do_not_drift() -> None:
    """A hundred streams of fifty tokens end when they should, however late single tokens were."""

    class Silent(Generation):
        async def run(self) -> float:
            for instant in self._due:
                await self._until(instant)
            return time.monotonic() - self._due[-1]

    async def run() -> list[float]:
        ask = read_ask({"model": "m", "prompt": "x", "max_tokens": 500}, chat=False)
        settings = Simulation(tokens=50, token_s=0.01)
        metrics, draw = EngineMetrics("m"), random.Random(0)
        streams = [
            Silent(
                ask,
                settings,
                metrics=metrics,
                draw=draw,
                arrived=time.monotonic(),
                may_go_on=go_on,
            )
            for _ in range(100)
        ]
        return await asyncio.gather(*(stream.run() for stream in streams))

    assert statistics.median(asyncio.run(run())) < 0.1
