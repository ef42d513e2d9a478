from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence

import pytest

from greenlight.adapters.load import OpenLoopLoad
from greenlight.adapters.load_plan import GoldenPrompt, LoadPlan
from greenlight.deploy.analysis import Sample
from greenlight.deploy.colours import Colour
from greenlight.deploy.ports import Prober, Target
from greenlight.testing.engine_simulator import EngineSimulator
from greenlight.testing.simulation import Simulation

PROMPTS = tuple(GoldenPrompt(id=n, text=f"prompt {n}", max_tokens=50) for n in (7, 8, 9))


def simulator(**settings: object) -> EngineSimulator:
    quick = {"first_token_s": 0.0, "token_s": 0.0, "tokens": 4}
    return EngineSimulator(Simulation.model_validate(quick | settings))


def target(
    engine: EngineSimulator, colour: Colour = Colour.BLUE, *, recorded: bool = False
) -> Target:
    return Target(colour=colour, url=engine.url, model=engine.model, recorded=recorded)


def both(blue: EngineSimulator, green: EngineSimulator) -> list[Target]:
    return [target(blue, Colour.BLUE), target(green, Colour.GREEN)]


def load(targets: Sequence[Target], *, seconds: float = 1.0, **changes: object) -> list[Sample]:
    plan = {"rate": 40.0, "prompts": PROMPTS, "timeout_s": 10.0} | changes
    samples: list[Sample] = []
    prober: Prober = OpenLoopLoad(LoadPlan(**plan))  # type: ignore[arg-type]
    prober.run(targets, seconds=seconds, on_sample=samples.append)
    return samples


def of(samples: Sequence[Sample], colour: Colour) -> list[Sample]:
    return sorted((s for s in samples if s.colour is colour), key=lambda s: s.at_s)


def test_both_targets_get_the_same_requests_at_the_same_instants() -> None:
    with simulator() as one, simulator() as other:
        samples = load(both(one, other))
        sent = [list(engine.requests) for engine in (one, other)]
    blue, green = of(samples, Colour.BLUE), of(samples, Colour.GREEN)
    assert len(blue) > 20
    assert [(s.prompt, s.at_s) for s in blue] == [(s.prompt, s.at_s) for s in green]
    assert all(sample.ok for sample in samples)
    assert [r["messages"] for r in sent[0]] == [r["messages"] for r in sent[1]]
    assert {bool(request.get("stream")) for request in sent[0]} == {True, False}


def test_a_sample_says_what_came() -> None:
    with simulator() as engine:
        streamed, *_ = load([target(engine)], stream_share=1.0, seconds=0.2)
        whole, *_ = load([target(engine)], stream_share=0.0, seconds=0.2)
    for sample in (streamed, whole):
        assert (sample.ok, sample.tokens, sample.finish) == (True, 5, "stop")
        assert sample.reason is None
        assert sample.total_s is not None
    assert streamed.ttft_s is not None
    assert whole.ttft_s is None


def test_a_hanging_engine_does_not_slow_the_sending_to_the_other() -> None:
    with simulator() as well, simulator(hang_after_s=0) as ill:
        alone = load([target(well)], timeout_s=2.0)
        samples = load(both(well, ill), timeout_s=2.0)
    blue, green = of(samples, Colour.BLUE), of(samples, Colour.GREEN)
    assert [s.at_s for s in blue] == [s.at_s for s in of(alone, Colour.BLUE)]
    assert all(s.ok and s.total_s is not None and s.total_s < 1 for s in blue)
    assert len(green) == len(blue)
    assert {s.reason for s in green} == {"no end within 2 s"}


def test_a_slow_engine_does_not_slow_its_own_sending() -> None:
    """One that answers two at a time, each in a second, and is sent forty a second."""
    with simulator(max_num_seqs=2, first_token_s=1) as engine:
        began = time.monotonic()
        samples = load([target(engine)], timeout_s=3.0)
        took = time.monotonic() - began
        assert engine.most_in_flight > 20
    assert 3 < took < 8
    times = sorted(sample.total_s for sample in samples if sample.total_s is not None)
    assert times[0] < 1.5
    assert times[-1] > 2.0, "those that waited for their turn say so"
    assert Counter(sample.ok for sample in samples)[False] > 10


def test_a_request_over_the_limit_is_a_failure_and_not_dropped() -> None:
    with simulator(first_token_s=2) as engine:
        samples = load([target(engine)], max_in_flight=5)
        assert len(engine.requests) == 5
    refused = [sample for sample in samples if not sample.ok]
    assert len(refused) == len(samples) - 5
    assert all("not sent: 5 requests" in (sample.reason or "") for sample in refused)


@pytest.mark.parametrize("fault", [{"error_rate": 0.5}, {"cut_stream": 0.5}, {"lost_token": 0.5}])
def test_broken_answers_are_failures_with_their_reason(fault: dict[str, float]) -> None:
    with simulator(**fault) as engine:
        samples = load([target(engine)], stream_share=1.0)
    assert {sample.ok for sample in samples} == {True, False}
    assert all(sample.ok == (sample.reason is None) for sample in samples)


def test_a_golden_text_agrees_or_does_not_or_is_not_known() -> None:
    prompts = (
        GoldenPrompt(id=1, text="one", max_tokens=9, expected="the one"),
        GoldenPrompt(id=2, text="two", max_tokens=9, expected="the two"),
        GoldenPrompt(id=3, text="three", max_tokens=9),
    )
    with simulator(answers={"one": "the one", "two": "another"}) as engine:
        blue, green = target(engine), target(engine, Colour.GREEN, recorded=True)
        samples = load([blue, green], prompts=prompts)
        engine.change(error_rate=1)
        failed = load([green], prompts=prompts)
    found = {(s.prompt, s.agrees) for s in of(samples, Colour.GREEN)}
    assert found == {(1, True), (2, False), (3, None)}
    assert {s.agrees for s in failed} == {None}
    others = {s.agrees for s in of(samples, Colour.BLUE)}
    assert others == {None}, "it serves another version than the one that was recorded"


def test_a_fault_shows_in_the_times() -> None:
    settings = {"first_token_s": 0.05, "token_s": 0.01}
    slow = simulator(**settings, slow_first_token=4, slow_tokens=5)
    with simulator(**settings) as well, slow as ill:
        samples = load(both(well, ill), stream_share=1.0)
    for sample in samples:
        assert sample.ttft_s is not None
        assert sample.gap_s is not None
        ill_one = sample.colour is Colour.GREEN
        assert sample.ttft_s > (0.19 if ill_one else 0.049)
        assert sample.gap_s > (0.03 if ill_one else 0.0)


def test_it_runs_in_any_thread() -> None:
    samples: list[Sample] = []
    with simulator() as engine:
        where = [target(engine)]
        thread = threading.Thread(target=lambda: samples.extend(load(where, seconds=0.3)))
        thread.start()
        thread.join(20)
    assert samples


def test_what_the_listener_raises_ends_the_run() -> None:
    class Enough(Exception):
        pass

    def listen(_: Sample) -> None:
        raise Enough

    plan = LoadPlan(rate=50.0, prompts=PROMPTS)
    began = time.monotonic()
    with simulator() as engine, pytest.raises(Enough):
        OpenLoopLoad(plan).run([target(engine)], seconds=60, on_sample=listen)
    assert time.monotonic() - began < 10


def test_no_time_means_no_requests() -> None:
    with simulator() as engine:
        assert load([target(engine)], seconds=0) == []


def test_a_stopped_load_sends_no_more_and_waits_for_nobody():
    stop = threading.Event()
    with EngineSimulator(Simulation(hang_after_s=0)) as engine:
        began = time.monotonic()
        threading.Timer(0.3, stop.set).start()
        load = OpenLoopLoad(LoadPlan(rate=20, prompts=PROMPTS))
        load.run([target(engine)], seconds=60, on_sample=lambda _: None, stop=stop)
    assert time.monotonic() - began < 10
