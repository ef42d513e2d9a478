from __future__ import annotations

import asyncio
import statistics
import time
from itertools import islice, pairwise

import pytest

from greenlight.adapters.load_plan import Arrival, GoldenPrompt, LoadPlan, arrivals, in_time
from greenlight.core.errors import ConfigError

PROMPTS = tuple(GoldenPrompt(id=n, text=f"prompt {n}", max_tokens=8) for n in range(3))


def plan(**changes: object) -> LoadPlan:
    return LoadPlan(**({"rate": 100.0, "prompts": PROMPTS} | changes))  # type: ignore[arg-type]


def test_the_same_plan_is_the_same_load() -> None:
    first, again = (list(islice(arrivals(plan(seed=3)), 50)) for _ in range(2))
    assert first == again
    assert first != list(islice(arrivals(plan(seed=4)), 50))


def test_arrivals_are_a_poisson_process_of_the_rate() -> None:
    """Its gaps are exponential: as long on average as they deviate."""
    times = [arrival.at_s for arrival in islice(arrivals(plan()), 5000)]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert statistics.mean(gaps) == pytest.approx(0.01, rel=0.05)
    assert statistics.stdev(gaps) == pytest.approx(0.01, rel=0.05)


def test_the_prompts_take_turns_and_streams_have_their_share() -> None:
    found = list(islice(arrivals(plan(stream_share=0.3)), 3000))
    assert [arrival.prompt.id for arrival in found[:5]] == [0, 1, 2, 0, 1]
    assert sum(arrival.stream for arrival in found) / 3000 == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize(("share", "stream"), [(0, False), (1, True)])
def test_all_or_none_may_be_streams(share: float, stream: bool) -> None:
    found = islice(arrivals(plan(stream_share=share)), 100)
    assert {arrival.stream for arrival in found} == {stream}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompts": ()}, "at least one prompt"),
        ({"rate": 0}, "rate .* above 0, got 0"),
        ({"timeout_s": -1}, "timeout_s .* got -1"),
        ({"max_in_flight": 0}, "max_in_flight"),
        ({"stream_share": 1.5}, "0 to 1, got 1.5"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        plan(**change)


def test_a_late_reader_gets_what_is_overdue_with_its_planned_instants() -> None:
    planned = [Arrival(number=n, at_s=n / 100, prompt=PROMPTS[0], stream=False) for n in range(5)]

    async def read() -> list[float]:
        found = []
        async for arrival, due in in_time(planned):
            found.append(due - arrival.at_s)
            if arrival.number == 0:
                time.sleep(0.2)  # nobody can be served meanwhile
        return found

    began = time.monotonic()
    found = asyncio.run(read())
    assert max(found) - min(found) < 1e-6
    assert time.monotonic() - began < 1
