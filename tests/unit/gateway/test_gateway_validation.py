from __future__ import annotations

import json
from typing import Any

import pytest

from greenlight.gateway.gateway_file import RequestBounds, ServedModel
from greenlight.gateway.principals import Route
from greenlight.gateway.refusals import Refusal
from greenlight.gateway.validation import (
    Checked,
    Room,
    check,
    refuse_media_type,
    refuse_size,
    room_for,
    upstream_body,
)

HI = [{"role": "user", "content": "hi"}]
MODEL = ServedModel(
    name="m", upstream="http://127.0.0.1:1", fleet="f", context=100, default_max_tokens=90
)


def asked(route: Route = Route.CHAT, *, bounds: RequestBounds | None = None, **fields: Any) -> Any:
    base = {"messages": HI} if route is Route.CHAT else {"prompt": "hi"}
    body = json.dumps({"model": "m", **base, **fields}).encode()
    return check(body, route=route, bounds=bounds or RequestBounds())


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"temperature": 0, "top_p": 1, "n": 1, "seed": 7, "stop": ["a"], "user": "u"},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]},
        {"temperature": None, "stop": None},
        {"max_completion_tokens": 5},
        {"logprobs": True, "top_logprobs": 5},
        {
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
            "tool_choice": "auto",
        },
        {
            "messages": [
                *HI,
                {
                    "role": "assistant",
                    "tool_calls": [
                        {
                            "id": "1",
                            "type": "function",
                            "function": {"name": "f", "arguments": "{}"},
                        }
                    ],
                },
                {"role": "tool", "tool_call_id": "1", "content": "4"},
            ]
        },
    ],
)
def test_what_openai_clients_send_is_accepted(fields: dict[str, Any]) -> None:
    assert isinstance(asked(**fields), Checked)


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"temperature": 2.5}, "temperature", "less than or equal to 2"),
        ({"top_p": 0}, "top_p", "greater than 0"),
        ({"n": 9}, "n", "less than or equal to 8"),
        ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
        ({"max_tokens": "5"}, "max_tokens", "integer"),
        ({"messages": []}, "messages", "at least 1"),
        ({"messages": [{"role": "root", "content": "a"}]}, "messages.0.role", "'root'"),
        ({"messages": [{"role": "user"}]}, "messages.0", "neither content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content", "5"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages.0.content.0.type",
            "'text'",
        ),
        ({"messages": [{"role": "user", "content": "a\x00"}]}, "messages.0.content", "U+0000"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages.0", "tool_call_id"),
        ({"stop": ["a"] * 5}, "stop", "at most 4"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1", "100"),
        ({"max_tokens": 1, "max_completion_tokens": 2}, None, "different things"),
        ({"stream_options": {"include_usage": True}}, None, "stream: true"),
        ({"min_tokens": 9, "max_tokens": 5}, None, "above the limit"),
        ({"secret_switch": 1}, "secret_switch", "not a parameter"),
        ({"stream": True, "stream_options": {"x": 1}}, "stream_options.x", "not a parameter"),
    ],
)
def test_a_refusal_names_field_and_limit(
    fields: dict[str, Any], param: str | None, says: str
) -> None:
    found = asked(**fields)
    assert isinstance(found, Refusal)
    assert (found.status, found.param) == (400, param)
    assert says in found.message


def test_a_missing_field_is_named() -> None:
    found = check(b'{"messages": []}', route=Route.CHAT, bounds=RequestBounds())
    assert isinstance(found, Refusal)
    assert found.code == "missing_required_parameter"
    assert found.param == "model"


def test_unknown_parameters_pass_where_the_operator_says_so() -> None:
    found = asked(bounds=RequestBounds(unknown_parameters="pass"), secret_switch=1)
    assert isinstance(found, Checked)
    room = Room(prompt=1, answer=2, answers=1)
    assert upstream_body(found, room)["secret_switch"] == 1


def test_too_many_messages_are_refused() -> None:
    found = asked(bounds=RequestBounds(messages=2), messages=HI * 3)
    assert isinstance(found, Refusal)
    assert "has 3 messages, the limit is 2" in found.message


def test_text_completions_take_one_text() -> None:
    assert isinstance(asked(Route.COMPLETIONS), Checked)
    assert isinstance(asked(Route.COMPLETIONS, prompt=["a", "b"]), Refusal)
    assert isinstance(asked(Route.COMPLETIONS, echo=True), Refusal)


@pytest.mark.parametrize(
    ("kind", "passes"),
    [
        ("application/json", True),
        ("application/json; charset=utf-8", True),
        ("Application/JSON;charset=UTF-8", True),
        ("application/json; charset=latin-1", False),
        ("text/plain", False),
        (None, False),
    ],
)
def test_only_json_in_utf8_is_read(kind: str | None, passes: bool) -> None:
    assert (refuse_media_type(kind) is None) is passes


def test_a_large_body_is_refused_with_both_numbers() -> None:
    bounds = RequestBounds(body_bytes=10)
    assert refuse_size(10, bounds) is None
    found = refuse_size(11, bounds)
    assert found is not None
    assert "11 bytes" in found.message
    assert "10" in found.message


@pytest.mark.parametrize(
    ("limit", "prompt", "answer"), [(50, 50, 50), (None, 10, 90), (None, 99, 1), (7, 1, 7)]
)
def test_prompt_and_answer_fit_the_context(limit: int | None, prompt: int, answer: int) -> None:
    found = room_for(asked(max_tokens=limit).asked, prompt=prompt, model=MODEL)
    assert found == Room(prompt=prompt, answer=answer, answers=1)


@pytest.mark.parametrize(("limit", "prompt"), [(51, 50), (None, 100), (1, 101)])
def test_what_does_not_fit_the_context_is_refused_with_its_numbers(
    limit: int | None, prompt: int
) -> None:
    found = room_for(asked(max_tokens=limit).asked, prompt=prompt, model=MODEL)
    assert isinstance(found, Refusal)
    assert found.code == "context_length_exceeded"
    assert "100 tokens" in found.message
    assert str(prompt) in found.message


def test_the_engine_is_asked_with_the_reserved_limit_and_for_usage() -> None:
    found = asked(stream=True, max_completion_tokens=5, temperature=None)
    body = upstream_body(found, Room(prompt=1, answer=5, answers=1))
    assert body["max_tokens"] == 5
    assert body["stream_options"] == {"include_usage": True}
    assert not {"max_completion_tokens", "temperature"} & set(body)
