import pytest

from greenlight.deploy.colours import Colour
from greenlight.deploy.performance import Level, PerformanceSettings
from greenlight.deploy.ports import Target
from greenlight.entrypoints.performance_load import send_load
from greenlight.testing.engine_simulator import EngineSimulator
from greenlight.testing.simulation import Simulation

pytestmark = pytest.mark.timeout(60)
SETTINGS = PerformanceSettings(
    levels=(Level(concurrency=3, requests=30), Level(concurrency=9, requests=30)),
    new_tokens=6, warm_up=2, rate=50, seconds=0.5, timeout_s=10,
)  # fmt: skip


def target(engine):
    return Target(colour=Colour.GREEN, url=engine.url, model=engine.model)


def test_every_level_is_sent_in_full_and_answers_have_one_length():
    with EngineSimulator(Simulation(first_token_s=0.01, token_s=0.001, tokens=3)) as engine:
        sent = send_load(target(engine), SETTINGS, key="a")
        assert {c: len(samples) for c, samples in sent.levels.items()} == {3: 30, 9: 30}
        assert {s.tokens for samples in sent.levels.values() for s in samples} == {6}
        assert all(s.ok and s.ttft_s and s.gap_s and s.total_s for s in sent.levels[3])
        assert sent.requests == 62 + len(sent.at_rate)
        assert 5 < len(sent.at_rate) < 60


def test_no_more_than_the_level_are_in_flight():
    settings = SETTINGS.model_copy(update={"levels": SETTINGS.levels[:1], "rate": 0.001})
    with EngineSimulator(Simulation(first_token_s=0.01, token_s=0.001)) as engine:
        send_load(target(engine), settings, key="a")
        assert engine.most_in_flight == 3


def test_two_runs_ask_the_same_but_for_a_mark_in_front():
    settings = SETTINGS.model_copy(update={"levels": SETTINGS.levels[:1], "rate": 0.001})
    asked = []
    for key in ("a", "b"):
        with EngineSimulator(Simulation(first_token_s=0.0, token_s=0.0)) as engine:
            send_load(target(engine), settings, key=key)
            asked.append({r["messages"][0]["content"] for r in engine.requests})
    assert len(asked[0]) == len(asked[1]) == 32
    assert not asked[0] & asked[1]
    without = [{text.partition("\n\n")[2] for text in texts} for texts in asked]
    assert without[0] == without[1]


def test_a_request_that_fails_is_a_sample_with_its_reason():
    settings = SETTINGS.model_copy(update={"rate": 0.001})
    with EngineSimulator(Simulation(cut_stream=1.0, first_token_s=0.0, token_s=0.0)) as engine:
        sent = send_load(target(engine), settings, key="a")
    assert not any(s.ok for s in sent.samples)
    assert "cut" in sent.levels[3][0].reason
