from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

import pytest

from greenlight.adapters.openai_client import Failure, OpenAIClient, Prompt, Reply
from greenlight.testing.engine_simulator import EngineSimulator
from greenlight.testing.simulation import Simulation

QUICK = {"first_token_s": 0.0, "token_s": 0.0, "answers": {"hello": "a small answer"}}


def ask(
    settings: dict[str, object], *prompts: Prompt, concurrency: int = 1, model: str = "simulated"
) -> tuple[list[Reply | Failure], EngineSimulator]:
    async def run(url: str) -> list[Reply | Failure]:
        async with OpenAIClient(url, model=model, timeout_s=5) as client:
            return await client.ask_all(prompts, concurrency=concurrency)

    with EngineSimulator(Simulation.model_validate(QUICK | settings)) as server:
        return asyncio.run(run(server.url)), server


def prompt(text: str = "hello", max_tokens: int = 16, **options: bool) -> Prompt:
    return Prompt(text=text, max_tokens=max_tokens, **options)


def the_reply(replies: Sequence[Reply | Failure]) -> Reply:
    (reply,) = replies
    assert isinstance(reply, Reply), reply
    return reply


def the_failure(replies: Sequence[Reply | Failure]) -> str:
    (failure,) = replies
    assert isinstance(failure, Failure), failure
    return failure.reason


def test_an_answer_carries_its_text_its_tokens_and_why_it_ended() -> None:
    replies, _ = ask({"answers": {"hello": "good morning to you"}}, prompt())
    reply = the_reply(replies)
    assert (reply.text, reply.finish, reply.prompt_tokens) == ("good morning to you", "stop", 5)
    assert reply.tokens == 5  # four words and the end token


def test_an_answer_that_hits_the_limit_says_so() -> None:
    replies, _ = ask({"answers": {"hello": "one two three four"}}, prompt(max_tokens=2))
    reply = the_reply(replies)
    assert (reply.text, reply.finish, reply.tokens) == ("one two", "length", 2)


def test_times_follow_the_servers_speed() -> None:
    slow = {"answers": {"hello": "a b c"}, "first_token_s": 0.2, "token_s": 0.1}
    replies, _ = ask(slow, prompt())
    reply = the_reply(replies)
    assert 0.2 <= reply.ttft_s < 0.35
    assert len(reply.gaps_s) == 2
    assert all(0.09 <= gap < 0.2 for gap in reply.gaps_s)
    assert reply.total_s >= reply.ttft_s + sum(reply.gaps_s)


def test_the_role_that_comes_first_is_not_the_first_token() -> None:
    replies, _ = ask({"first_token_s": 0.2}, prompt())
    assert the_reply(replies).ttft_s >= 0.2


def test_answers_are_greedy_and_may_run_through_the_end() -> None:
    replies, server = ask({"answers": {"hello": "x"}}, prompt(max_tokens=7, through_the_end=True))
    assert the_reply(replies).tokens == 7
    assert server.requests[0]["temperature"] == 0
    assert server.requests[0]["ignore_eos"] is True


def test_no_more_requests_are_in_flight_than_asked_and_answers_keep_their_order() -> None:
    prompts = [prompt(f"number {n}") for n in range(8)]
    settings = {"answers": {p.text: p.text for p in prompts}, "first_token_s": 0.05}
    replies, server = ask(settings, *prompts, concurrency=3)
    assert server.most_in_flight == 3
    texts = [reply.text for reply in replies if isinstance(reply, Reply)]
    assert texts == [p.text for p in prompts]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"error_rate": 1}, "HTTP 500: .*engine has failed"),
        ({"cut_stream": 1}, "cut after 2 pieces"),
        ({"stream_error": 1}, "Out of blocks"),
        ({"without_usage": True}, "no usage"),
    ],
)
def test_a_broken_answer_is_a_failure_with_its_reason(fault: dict[str, object], said: str) -> None:
    replies, _ = ask(fault, prompt())
    assert re.search(said, the_failure(replies))


def test_a_failure_does_not_end_the_requests_beside_it() -> None:
    replies, _ = ask({"cut_stream": 1}, prompt(), prompt(), concurrency=2)
    assert [type(reply) for reply in replies] == [Failure, Failure]


def test_an_unknown_model_is_a_failure() -> None:
    replies, _ = ask({}, prompt(), model="another")
    assert "404" in the_failure(replies)


def test_a_server_that_is_away_is_a_failure() -> None:
    async def run() -> Reply | Failure:
        async with OpenAIClient("http://127.0.0.1:9", model="fake", timeout_s=5) as client:
            return await client.ask(prompt())

    assert "ConnectError" in the_failure([asyncio.run(run())])
