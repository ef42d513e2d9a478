from __future__ import annotations

import pytest

from greenlight.core.errors import InputError
from greenlight.testing.simulated_requests import NO_LIMIT, read_ask

HELLO = {"role": "user", "content": "hello you"}


def test_a_chat_is_read_with_its_options() -> None:
    ask = read_ask(
        {
            "model": "m",
            "messages": [{"role": "system", "content": "be kind"}, HELLO],
            "max_tokens": 5,
            "stream": True,
            "stream_options": {"include_usage": True},
            "return_token_ids": True,
        },
        chat=True,
    )
    assert (ask.said, ask.max_tokens, ask.prompt_tokens) == ("hello you", 5, 2 + 2 + 2 * 4)
    assert ask.stream
    assert ask.include_usage
    assert ask.token_ids
    assert not ask.ignore_eos


def test_a_message_may_come_in_parts() -> None:
    parts = [{"type": "text", "text": "hello"}, {"type": "text", "text": "you"}]
    body = {"model": "m", "messages": [{"role": "user", "content": parts}]}
    assert read_ask(body, chat=True).said == "hello you"


def test_the_limit_has_openais_defaults_and_its_newer_name_wins() -> None:
    assert read_ask({"model": "m", "messages": [HELLO]}, chat=True).max_tokens == NO_LIMIT
    assert read_ask({"model": "m", "prompt": "x"}, chat=False).max_tokens == 16
    both = {"model": "m", "prompt": "x", "max_tokens": 2, "max_completion_tokens": 3}
    assert read_ask(both, chat=False).max_tokens == 3


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([], "JSON object"),
        ({"messages": [HELLO]}, "`model`"),
        ({"model": "m"}, "`messages`"),
        ({"model": "m", "messages": []}, "at least one"),
        ({"model": "m", "messages": ["hello"]}, "messages.0."),
        ({"model": "m", "messages": [{"role": "user", "content": 3}]}, "content"),
        ({"model": "m", "messages": [HELLO], "max_tokens": 0}, "at least 1, got 0"),
        ({"model": "m", "messages": [HELLO], "max_tokens": "7"}, "got '7'"),
    ],
)
def test_what_a_real_engine_refuses_is_refused(body: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_ask(body, chat=True)
