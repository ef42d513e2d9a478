from __future__ import annotations

import json
from typing import Any

from greenlight.testing.simulated_answers import Mishap, Script, Wire, answer_to
from greenlight.testing.simulated_requests import Ask, read_ask
from greenlight.testing.simulation import Simulation


def ask(text: str = "hello", *, chat: bool = True, **options: object) -> Ask:
    said = {"messages": [{"role": "user", "content": text}]} if chat else {"prompt": text}
    return read_ask({"model": "m", "return_token_ids": True, **said, **options}, chat=chat)


def script(asked: Ask, mishap: Mishap = Mishap(), **settings: object) -> Script:  # noqa: B008
    answer = answer_to(asked, Simulation.model_validate({"tokens": 4} | settings))
    return Wire(asked, answer).script(mishap, usage=True)


def events(data: bytes) -> list[Any]:
    found = [part.removeprefix("data: ") for part in data.decode().split("\n\n") if part]
    return [event if event == "[DONE]" else json.loads(event) for event in found]


def test_the_same_prompt_gets_the_same_text_and_another_prompt_another() -> None:
    settings = Simulation()
    assert answer_to(ask("a"), settings) == answer_to(ask("a"), settings)
    assert answer_to(ask("a"), settings).text != answer_to(ask("b"), settings).text


def test_a_wrong_text_differs_even_from_a_fixed_answer() -> None:
    for right in (Simulation(), Simulation(answers={"hello": "good morning"})):
        wrong = right.changed({"wrong_text": True})
        assert answer_to(ask(), wrong).text != answer_to(ask(), right).text


def test_an_answer_ends_with_its_end_token_or_at_the_limit() -> None:
    settings = Simulation(tokens=4)
    whole = answer_to(ask(), settings)
    assert (len(whole.pieces), whole.finish) == (5, "stop")
    short = answer_to(ask(max_tokens=4), settings)
    assert (short.text, short.finish) == (whole.text, "length")


def test_an_answer_may_run_through_its_end() -> None:
    fixed = Simulation(answers={"hello": "one two"})
    found = answer_to(ask(max_tokens=5, ignore_eos=True), fixed)
    assert (found.text, found.finish) == ("one two one two one", "length")
    assert len(answer_to(ask(max_tokens=50, ignore_eos=True), Simulation(tokens=1)).pieces) == 50


def test_a_streams_events_spell_the_text_count_the_tokens_and_end() -> None:
    asked = ask()
    made = script(asked)
    (opening,) = events(made.opening)
    assert opening["choices"][0]["delta"]["role"] == "assistant"
    choices = [events(token)[0]["choices"][0] for token in made.tokens]
    text = answer_to(asked, Simulation(tokens=4)).text
    assert "".join(choice["delta"]["content"] for choice in choices) == text
    assert [choice["finish_reason"] for choice in choices] == [None] * 4 + ["stop"]
    assert sum(len(choice["token_ids"]) for choice in choices) == 5
    usage, done = events(made.closing)
    assert usage["usage"] == {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    assert (usage["choices"], done, made.finish) == ([], "[DONE]", "stop")


def test_a_text_completion_has_its_own_shape() -> None:
    made = script(ask(chat=False))
    assert made.opening == b""
    (first,) = events(made.tokens[0])
    assert first["object"] == "text_completion"
    assert first["choices"][0]["text"]


def test_one_object_says_the_same_as_the_stream() -> None:
    asked = ask()
    answer = answer_to(asked, Simulation(tokens=4))
    found = Wire(asked, answer).unary(usage=True)
    (choice,) = found["choices"]
    assert choice["message"] == {"role": "assistant", "content": answer.text}
    assert (choice["finish_reason"], len(choice["token_ids"])) == ("stop", 5)
    assert found["usage"]["completion_tokens"] == 5


def test_a_cut_stream_has_no_end() -> None:
    made = script(ask(), Mishap(cut=True))
    assert (len(made.tokens), made.closing, made.finish) == (2, b"", "abort")


def test_a_failed_stream_says_so_and_ends() -> None:
    made = script(ask(), Mishap(failed=True))
    error, done = events(made.closing)
    assert (error["error"]["code"], done, made.finish) == (500, "[DONE]", "error")


def test_a_lost_token_is_in_the_usage_only() -> None:
    made = script(ask(), Mishap(lost=True))
    assert [bool(token) for token in made.tokens] == [True, True, False, True, True]
    assert events(made.closing)[0]["usage"]["completion_tokens"] == 5
