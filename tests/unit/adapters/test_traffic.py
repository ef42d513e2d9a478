from __future__ import annotations

import time

import pytest

from greenlight.adapters.load_plan import GoldenPrompt, LoadPlan
from greenlight.adapters.traffic import Traffic
from greenlight.core.errors import RefusedError
from greenlight.testing.engine_simulator import EngineSimulator
from greenlight.testing.simulation import Simulation
from greenlight.testing.waiting import wait_for

PROMPTS = tuple(GoldenPrompt(id=n, text=f"prompt {n}", max_tokens=50) for n in range(5))


def simulator(**settings: object) -> EngineSimulator:
    return EngineSimulator(Simulation.model_validate({"tokens": 8} | settings))


def traffic(engine: EngineSimulator, **changes: object) -> Traffic:
    plan = {"rate": 100.0, "prompts": PROMPTS, "timeout_s": 10.0} | changes
    return Traffic(engine.url, model=engine.model, plan=LoadPlan(**plan))  # type: ignore[arg-type]


def test_healthy_traffic_fails_nowhere_and_every_request_is_counted() -> None:
    with simulator() as engine, traffic(engine) as running:
        wait_for(lambda: running.counts.requests >= 100, seconds=20)
        counts = running.stop()
        assert len(engine.requests) == counts.requests
    assert 0 < counts.streams < counts.requests
    assert (counts.failed, counts.in_flight, counts.reasons) == (0, 0, {})


def test_stopping_waits_for_answers_and_sends_no_more() -> None:
    with simulator(first_token_s=1) as engine:
        running = traffic(engine)
        running.start()
        wait_for(lambda: running.counts.in_flight >= 20, seconds=20)
        counts = running.stop()
        assert counts.requests >= 20
        assert counts.failed == 0
        time.sleep(0.2)
        assert len(engine.requests) == counts.requests
    assert running.stop() == counts


@pytest.mark.parametrize(
    ("fault", "share", "counted"),
    [
        ({"error_rate": 0.5}, 0.5, "non_2xx"),
        ({"cut_stream": 0.5}, 1.0, "truncated"),
        ({"lost_token": 0.5}, 1.0, "miscounted"),
        ({"stream_error": 0.5}, 1.0, "failed"),
    ],
)
def test_what_fails_is_counted_by_what_was_wrong(
    fault: dict[str, float], share: float, counted: str
) -> None:
    with simulator(**fault) as engine, traffic(engine, stream_share=share) as running:
        wait_for(lambda: running.counts.requests >= 60, seconds=20)
        counts = running.stop()
    assert 0 < counts.failed < counts.requests
    assert getattr(counts, counted) == counts.failed
    assert sum(counts.reasons.values()) == counts.failed


def test_an_engine_that_crashes_is_seen() -> None:
    with simulator(crash_after_s=0.5) as engine, traffic(engine) as running:
        wait_for(lambda: running.counts.failed >= 10, seconds=20)
        counts = running.stop()
    assert counts.requests > counts.failed


def test_a_hanging_engine_does_not_slow_the_sending() -> None:
    with (
        simulator(hang_after_s=0) as engine,
        traffic(engine, timeout_s=1.0, max_in_flight=30) as running,
    ):
        wait_for(lambda: running.counts.in_flight == 30, seconds=20)
        wait_for(lambda: running.counts.requests >= 20, seconds=20)  # refused at once, and timeouts
        counts = running.stop()
    assert counts.failed == counts.requests
    assert counts.reasons.keys() == {
        "not sent: too many requests were in flight",
        "no end within 1 s",
    }


def test_traffic_is_started_once_and_only_then_stopped() -> None:
    with simulator() as engine:
        running = traffic(engine)
        with pytest.raises(RefusedError, match="never started"):
            running.stop()
        running.start()
        with pytest.raises(RefusedError, match="started already"):
            running.start()
        running.stop()


def test_a_thousand_are_sent_at_450_a_second_and_none_fails() -> None:
    """How many one core can send is measured by `make bench-deploy`."""
    with simulator() as engine, traffic(engine, rate=450.0) as running:
        wait_for(lambda: running.counts.requests >= 1000, seconds=20)
        assert running.stop().failed == 0
