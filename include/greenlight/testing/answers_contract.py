"""What every store of kept answers must do. Subclass it and give it fixtures `store` and `run`.

Times pass for real, in tenths of a second.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator

import pytest

from greenlight.gateway.ports import AnswerStore, KeptAnswer

Run = Callable[[Awaitable[object]], object]
SHORT_S = 0.4


def an_answer(body: bytes = b'{"id": 1}') -> KeptAnswer:
    """Return an answer of the blue colour."""
    return KeptAnswer(body=body, colour="blue", at_s=1_764_000_000.25)


class AnswersContract:
    """Given back as it was kept, for as long as was said; one leads, and nobody for ever."""

    @pytest.fixture
    def run(self) -> Iterator[Run]:
        """Runs a coroutine, all of a test's on one event loop."""
        with asyncio.Runner() as runner:

            async def awaited(awaitable: Awaitable[object]) -> object:
                return await awaitable

            yield lambda awaitable: runner.run(awaited(awaitable))

    @pytest.fixture
    def key(self) -> str:
        """A key that no other test has."""
        return uuid.uuid4().hex

    @pytest.mark.parametrize("body", [b'{"id": 1}', b"", bytes(range(256)) * 4096])
    def test_an_answer_is_given_back_as_it_was_kept(
        self, store: AnswerStore, run: Run, key: str, body: bytes
    ) -> None:
        """Byte for byte, with who gave it and when."""
        assert run(store.get(key)) is None
        run(store.put(key, an_answer(body), ttl_s=60))
        assert run(store.get(key)) == an_answer(body)
        assert run(store.get(f"{key}0")) is None

    def test_the_last_one_that_was_kept_counts(
        self, store: AnswerStore, run: Run, key: str
    ) -> None:
        """With its own time."""
        run(store.put(key, an_answer(b"old"), ttl_s=60))
        run(store.put(key, an_answer(b"new"), ttl_s=SHORT_S))
        assert run(store.get(key)) == an_answer(b"new")
        run(asyncio.sleep(2 * SHORT_S))
        assert run(store.get(key)) is None

    def test_one_leads_until_it_steps_down(self, store: AnswerStore, run: Run, key: str) -> None:
        """And only it can."""
        assert run(store.lead(key, owner="a", ttl_s=60)) is True
        assert run(store.lead(key, owner="b", ttl_s=60)) is False
        run(store.step_down(key, owner="b"))
        assert run(store.lead(key, owner="b", ttl_s=60)) is False
        run(store.step_down(key, owner="a"))
        assert run(store.lead(key, owner="b", ttl_s=60)) is True

    def test_who_leads_no_more_lets_another(self, store: AnswerStore, run: Run, key: str) -> None:
        """A dead process steps down by itself; a living one prolongs its lead."""
        assert run(store.lead(key, owner="a", ttl_s=SHORT_S)) is True
        assert run(store.lead(key, owner="a", ttl_s=3 * SHORT_S)) is True
        run(asyncio.sleep(1.5 * SHORT_S))
        assert run(store.lead(key, owner="b", ttl_s=60)) is False
        run(asyncio.sleep(2 * SHORT_S))
        assert run(store.lead(key, owner="b", ttl_s=60)) is True

    def test_of_many_at_once_one_leads(self, store: AnswerStore, run: Run, key: str) -> None:
        """However close together they ask."""

        async def ask() -> list[bool]:
            asked = (store.lead(key, owner=str(n), ttl_s=60) for n in range(50))
            return await asyncio.gather(*asked)

        found = run(ask())
        assert isinstance(found, list)
        assert sum(found) == 1
