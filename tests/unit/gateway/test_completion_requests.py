from __future__ import annotations

from typing import Any

import pytest

from greenlight.gateway.requests import (
    ChatRequest,
    CompletionRequest,
    control_character,
    unknown_field,
)

HI: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, None),
        ({"top": 1}, "top"),
        ({"messages": [{"role": "user", "content": "hi", "side": 1}]}, "messages.0.side"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "deep": 1}]}]},
            "messages.0.content.0.deep",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"x": 1}}}]},
            None,
        ),
    ],
)
def test_an_unknown_field_is_found_wherever_it_is(
    changes: dict[str, Any], found: str | None
) -> None:
    assert unknown_field(ChatRequest.model_validate(HI | changes)) == found


@pytest.mark.parametrize("text", ["a\x00b", "a\x1bb", "a\x7fb"])
def test_a_control_character_is_found_in_every_text(text: str) -> None:
    assert control_character(CompletionRequest(model="m", prompt=text)) is not None
    said = [{"role": "user", "content": "fine"}, {"role": "user", "content": text}]
    found = control_character(ChatRequest.model_validate(HI | {"messages": said}))
    assert found is not None
    assert found[0] == "messages.1.content"


def test_tabs_and_line_ends_are_text() -> None:
    assert control_character(CompletionRequest(model="m", prompt="a\tb\r\nc\u0085é")) is None


def test_the_newer_name_of_the_limit_wins() -> None:
    assert ChatRequest.model_validate(HI | {"max_completion_tokens": 5}).answer_limit == 5
    assert ChatRequest.model_validate(HI | {"max_tokens": 6}).answer_limit == 6
    assert ChatRequest.model_validate(HI).answer_limit is None
