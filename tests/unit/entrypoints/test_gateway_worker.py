"""What a worker does beside its requests."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator

import pytest

from greenlight.entrypoints.gateway.worker import _beside


@pytest.fixture
def ended() -> Iterator[list[int]]:
    """Every SIGTERM this process got: uvicorn ends a worker by it."""
    got: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: got.append(number))
    yield got
    signal.signal(signal.SIGTERM, before)


async def breaks() -> None:
    raise RuntimeError("a bug")


async def lasts() -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize(("work", "times"), [(breaks, 1), (lasts, 0)])
def test_a_worker_does_not_outlive_what_it_must_do_beside(
    ended: list[int], work: Callable[[], Coroutine[None, None, None]], times: int
) -> None:
    async def main() -> None:
        async with _beside(work()):
            await asyncio.sleep(0.05)

    asyncio.run(main())
    assert len(ended) == times
