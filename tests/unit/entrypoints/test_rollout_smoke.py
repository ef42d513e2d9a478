import pytest

from greenlight.adapters.load_plan import GoldenPrompt
from greenlight.adapters.openai_client import Reply
from greenlight.core.errors import GateError
from greenlight.deploy.colours import Colour
from greenlight.deploy.ports import Target
from greenlight.entrypoints.rollout_smoke import _answers, smoke_test
from greenlight.testing.engine_simulator import EngineSimulator
from greenlight.testing.simulation import Simulation

GOLDEN = tuple(
    GoldenPrompt(id=n, text=f"question {n}", max_tokens=8, expected=f"answer {n}") for n in range(4)
)
ANSWERS = {prompt.text: prompt.expected for prompt in GOLDEN}


def smoke(golden=GOLDEN, **settings):
    quick = {"first_token_s": 0.0, "token_s": 0.0, "answers": ANSWERS} | settings
    with EngineSimulator(Simulation.model_validate(quick), model="m") as engine:
        target = Target(colour=Colour.GREEN, url=engine.url, model="m")
        return smoke_test([("gpu-1", target)], golden, at_most=3)


def test_an_engine_that_answers_as_recorded_passes():
    assert smoke() == {"engines": 1, "golden": 3, "agreed": 3}


def test_one_answer_of_another_machine_may_differ():
    assert smoke(answers=ANSWERS | {"question 0": "nearly"})["agreed"] == 2


def test_another_model_is_caught_with_its_answer():
    with pytest.raises(GateError, match=r"gpu-1 answers 3 of 3 .* it says 'pardon'"):
        smoke(answers={prompt.text: "pardon" for prompt in GOLDEN})


def test_an_engine_that_fails_is_caught():
    with pytest.raises(GateError, match="does not answer: HTTP 500"):
        smoke(error_rate=1.0)


def test_an_empty_answer_is_none():
    reply = Reply(
        text=" ", finish="stop", prompt_tokens=3, tokens=1, ttft_s=0.1, gaps_s=(), total_s=0.1
    )
    target = Target(colour=Colour.GREEN, url="http://127.0.0.1:1", model="m")
    with pytest.raises(GateError, match="empty text"):
        _answers("gpu-1", target, [reply])


def test_without_recorded_answers_it_must_answer_at_all():
    assert smoke(golden=()) == {"engines": 1, "golden": 0, "agreed": 0}
