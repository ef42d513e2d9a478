import copy
import json
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from greenlight.gateway.cache_keys import (
    DEFAULTS,
    PRESENTATION,
    SAMPLING,
    Scope,
    answer_key,
    is_deterministic,
    why_not_deterministic,
)
from greenlight.gateway.principals import Route

CHAT = Scope(
    tenant="acme", route=Route.CHAT, model_digest="d" * 64, flags_digest="f" * 64,
    defaults=SAMPLING | {"max_tokens": 256},
)  # fmt: skip
TEXT = replace(CHAT, route=Route.COMPLETIONS)
SCOPES = {Route.CHAT: CHAT, Route.COMPLETIONS: TEXT}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {}, "day": {}}},
        },
    }
]

texts = st.text(max_size=8)
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant"]), "content": texts}
    ),
    min_size=1,
    max_size=3,
)
sampling = {
    "temperature": st.sampled_from([0, 0.5, 1, 2]),
    "top_p": st.sampled_from([0.1, 1]),
    "top_k": st.integers(0, 50),
    "min_p": st.sampled_from([0, 0.1]),
    "repetition_penalty": st.sampled_from([1, 1.1]),
    "presence_penalty": st.sampled_from([-2, 0, 0.5]),
    "frequency_penalty": st.sampled_from([0, 0.25]),
    "n": st.integers(1, 3),
    "seed": st.integers(0, 5),
    "stop": st.lists(texts, max_size=2),
    "stop_token_ids": st.lists(st.integers(0, 9), max_size=2),
    "bad_words": st.lists(texts, max_size=2),
    "logit_bias": st.dictionaries(
        st.sampled_from("123"), st.integers(-5, 5), min_size=1, max_size=2
    ),
    "min_tokens": st.integers(0, 4),
    "max_tokens": st.integers(1, 300),
    "ignore_eos": st.booleans(),
    "echo": st.booleans(),
    "use_beam_search": st.booleans(),
    "length_penalty": st.sampled_from([1, 1.5]),
    "include_stop_str_in_output": st.booleans(),
    "skip_special_tokens": st.booleans(),
    "spaces_between_special_tokens": st.booleans(),
    "response_format": st.sampled_from([{"type": "text"}, {"type": "json_object"}]),
    "add_special_tokens": st.booleans(),
    "truncate_prompt_tokens": st.integers(1, 9),
    "prompt_logprobs": st.integers(0, 2),
    "something_new": st.integers(0, 3),
    "guided_regex": texts,
}
chat_only = {
    "logprobs": st.booleans(),
    "top_logprobs": st.integers(0, 3),
    "tools": st.sampled_from([TOOLS, TOOLS * 2]),
    "tool_choice": st.sampled_from(["auto", "none", "required"]),
    "parallel_tool_calls": st.booleans(),
    "add_generation_prompt": st.booleans(),
    "continue_final_message": st.booleans(),
    "chat_template": texts,
    "chat_template_kwargs": st.dictionaries(texts, st.booleans(), max_size=2),
}
text_only = {"logprobs": st.integers(0, 3), "suffix": texts, "best_of": st.integers(1, 3)}
presentation = {
    "stream": st.booleans(),
    "stream_options": st.just({"include_usage": True}),
    "stream_interval": st.integers(1, 4),
    "user": texts,
    "safety_identifier": texts,
    "metadata": st.dictionaries(texts, texts, max_size=2),
    "prompt_cache_key": texts,
    "request_id": texts,
    "priority": st.integers(0, 3),
}
FIELDS = {
    Route.CHAT: {"messages": messages, "model": texts, **sampling, **chat_only},
    Route.COMPLETIONS: {"prompt": texts, "model": texts, **sampling, **text_only},
}
NEEDED = {Route.CHAT: ("messages", "model"), Route.COMPLETIONS: ("prompt", "model")}


@st.composite
def requests(draw, route):
    fields = FIELDS[route]
    optional = {name: of for name, of in fields.items() if name not in NEEDED[route]}
    names = draw(st.lists(st.sampled_from(sorted(optional)), max_size=6, unique=True))
    made = {name: draw(fields[name]) for name in NEEDED[route]}
    return made | {name: draw(optional[name]) for name in names}


def effective(request, route, name):
    """What the engine makes of a field, said again: for the test to know a real change."""
    defaults = DEFAULTS[route] | dict(SCOPES[route].defaults)
    value = request.get(name)
    if value is None and name in defaults:
        value = defaults[name]
    return None if name == "logit_bias" and not value else value


routes = st.sampled_from([Route.CHAT, Route.COMPLETIONS])


@given(st.data(), routes)
def test_a_change_of_anything_that_can_change_the_answer_changes_the_key(data, route):
    scope, request = SCOPES[route], data.draw(requests(route))
    name = data.draw(st.sampled_from(sorted(FIELDS[route])))
    other = copy.deepcopy(request) | {name: data.draw(FIELDS[route][name])}
    assume(effective(other, route, name) != effective(request, route, name))
    assert answer_key(other, scope) != answer_key(request, scope)


@given(st.data(), routes)
def test_leaving_a_field_out_changes_the_key_unless_it_said_what_is_the_default(data, route):
    scope, request = SCOPES[route], data.draw(requests(route))
    name = data.draw(st.sampled_from(sorted(request)))
    shorter = {key: value for key, value in request.items() if key != name}
    same = effective(shorter, route, name) == effective(request, route, name)
    assert (answer_key(shorter, scope) == answer_key(request, scope)) == same


@given(st.data(), routes)
def test_what_only_shows_the_answer_otherwise_keeps_the_key(data, route):
    scope, request = SCOPES[route], data.draw(requests(route))
    shown = data.draw(st.fixed_dictionaries({}, optional=presentation))
    assert answer_key(request | shown, scope) == answer_key(request, scope)


@given(st.data(), routes)
def test_every_default_may_be_said_left_out_or_null(data, route):
    scope, request = SCOPES[route], data.draw(requests(route))
    defaults = DEFAULTS[route] | dict(scope.defaults)
    silent = {name: value for name, value in request.items() if name not in defaults}
    names = data.draw(st.sets(st.sampled_from(sorted(defaults))))
    said = silent | {name: defaults[name] for name in names}
    null = silent | dict.fromkeys(names)
    assert answer_key(said, scope) == answer_key(silent, scope) == answer_key(null, scope)


@given(st.data(), routes)
def test_the_order_of_the_requests_own_fields_and_the_kind_of_number_do_not_matter(data, route):
    scope, request = SCOPES[route], data.draw(requests(route))
    order = data.draw(st.permutations(sorted(request)))
    floats = {
        name: float(request[name])
        if isinstance(request[name], int) and not isinstance(request[name], bool)
        and name in {*DEFAULTS[route], *SAMPLING} else request[name]
        for name in order
    }  # fmt: skip
    again = json.loads(json.dumps(floats))
    assert answer_key(again, scope) == answer_key(request, scope)


@given(st.data(), routes)
def test_no_two_versions_tenants_or_routes_share_an_answer(data, route):
    scope, request = SCOPES[route], data.draw(requests(route))
    others = [
        replace(scope, tenant="acme2"), replace(scope, model_digest="e" * 64),
        replace(scope, flags_digest="a" * 64),
        replace(scope, route=Route.CHAT if route is Route.COMPLETIONS else Route.COMPLETIONS),
        replace(scope, tenant="f" * 64, flags_digest="acme"),
    ]  # fmt: skip
    keys = {answer_key(request, one) for one in (scope, *others)}
    assert len(keys) == 1 + len(others)


def test_every_field_that_is_left_out_has_a_reason_and_the_tests_know_it():
    assert set(presentation) == set(PRESENTATION)
    assert all(PRESENTATION.values())
    assert not set(PRESENTATION) & {name for known in DEFAULTS.values() for name in known}


ASK = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"temperature": 0}, {"temperature": 0.0}),
        ({"temperature": 0}, {"temperature": -0.0}),
        ({"stop": "x"}, {"stop": ["x"]}),
        ({}, {"stop": []}),
        ({"seed": -1}, {}),
        ({"max_completion_tokens": 7}, {"max_tokens": 7}),
        ({"max_completion_tokens": 7, "max_tokens": 9}, {"max_tokens": 7}),
        ({"max_completion_tokens": None, "max_tokens": 9}, {"max_tokens": 9}),
        ({"max_tokens": 256}, {}),
        ({"logit_bias": {}}, {}),
    ],
)
def test_two_ways_to_say_the_same_share_an_answer(one, other):
    assert answer_key(ASK | one, CHAT) == answer_key(ASK | other, CHAT)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"seed": 1}, {"seed": True}),
        ({"logprobs": True}, {"logprobs": 1}),
        ({"something_new": 1}, {"something_new": 1.0}),
        ({"something_new": None}, {}),
        ({"tool_choice": None}, {}),
        ({"tools": TOOLS}, {"tools": TOOLS, "tool_choice": None}),
        ({"stop": ["a", "b"]}, {"stop": ["b", "a"]}),
        ({"temperature": 0}, {"temperature": 1e-6}),
        ({"seed": 2**53}, {"seed": 2**53 + 1}),
        ({"messages": [{"content": "1"}]}, {"messages": [{"content": 1}]}),
        ({"messages": [{"content": "é"}]}, {"messages": [{"content": "e\u0301"}]}),
    ],
)
def test_what_might_differ_shares_no_answer(one, other):
    assert answer_key(ASK | one, CHAT) != answer_key(ASK | other, CHAT)


def test_the_order_inside_tools_and_schemas_is_part_of_the_question():
    """Templates print tools, and schemas guide answers, in the order in which they came."""
    turned = copy.deepcopy(TOOLS)
    parameters = turned[0]["function"]["parameters"]
    parameters["properties"] = dict(reversed(parameters["properties"].items()))
    assert turned == TOOLS
    assert answer_key(ASK | {"tools": turned}, CHAT) != answer_key(ASK | {"tools": TOOLS}, CHAT)


def test_a_field_cannot_be_smuggled_into_another():
    apart = {"model": "m", "prompt": "a", "x": 'b"],["y","c'}
    other = {"model": "m", "prompt": "a", "x": "b", "y": "c"}
    assert answer_key(apart, TEXT) != answer_key(other, TEXT)


def test_a_models_own_defaults_replace_the_neutral_ones():
    """`generation_config.json` says 0.6: to leave it out and to say 1 are different questions."""
    model = replace(CHAT, defaults=SAMPLING | {"temperature": 0.6})
    assert answer_key(ASK, model) != answer_key(ASK | {"temperature": 1}, model)
    assert answer_key(ASK, model) == answer_key(ASK | {"temperature": 0.6}, model)


def test_what_an_engine_does_by_itself_is_not_guessed():
    unknown = replace(CHAT, defaults={})
    said = {answer_key(ASK | {"temperature": t}, unknown) for t in (0, 0.6, 1)}
    silent = answer_key(ASK, unknown)
    assert silent not in said
    assert silent == answer_key(ASK | {"temperature": None}, unknown)
    assert "the model's own" in why_not_deterministic(ASK, unknown)
    assert is_deterministic(ASK | {"temperature": 0.0}, unknown)


def test_half_a_surrogate_has_a_key_too():
    assert len(answer_key({"model": "m", "prompt": json.loads('"\\ud800"')}, TEXT)) == 64


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"temperature": 0}, None),
        ({"temperature": 0.0, "seed": -1}, None),
        ({"seed": 7}, None),
        ({}, "temperature is 1 and there is no seed"),
        ({"temperature": 0.7}, "temperature is 0.7"),
        ({"temperature": 0.7, "seed": -1}, "there is no seed"),
        ({"temperature": 1e-7}, "there is no seed"),
        ({"temperature": 0, "n": 2}, "more than one answer"),
        ({"temperature": 0, "use_beam_search": True}, "beams"),
    ],
)
def test_only_a_greedy_or_seeded_request_has_one_answer(more, reason):
    found = why_not_deterministic(ASK | more, CHAT)
    assert (found is None) == (reason is None) == is_deterministic(ASK | more, CHAT)
    assert reason is None or reason in found


def test_a_model_that_is_greedy_by_itself_has_one_answer():
    assert is_deterministic(ASK, replace(CHAT, defaults=SAMPLING | {"temperature": 0}))


def test_several_prompts_or_candidates_are_several_answers():
    one = {"model": "m", "temperature": 0}
    assert is_deterministic(one | {"prompt": [1, 2, 3]}, TEXT)
    assert not is_deterministic(one | {"prompt": ["a", "b"]}, TEXT)
    assert not is_deterministic(one | {"prompt": [[1], [2]]}, TEXT)
    assert not is_deterministic(one | {"prompt": "a", "best_of": 2}, TEXT)


def test_what_is_behind_an_address_may_change():
    def asked(url):
        part = {"type": "image_url", "image_url": {"url": url}}
        return {"model": "m", "temperature": 0, "messages": [{"role": "user", "content": [part]}]}

    assert is_deterministic(asked("data:image/png;base64,AAAA"), CHAT)
    assert "may change" in why_not_deterministic(asked("https://example.org/x.png"), CHAT)
