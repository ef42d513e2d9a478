from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlight.gateway.raw_json import depth_of, parse_object
from greenlight.gateway.refusals import Refusal

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


def real_depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(real_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(real_depth, value), default=0)
    return 0


@given(JSON)
def test_depth_is_that_of_the_parsed_value_whatever_strings_hold(value: object) -> None:
    assert depth_of(json.dumps(value).encode(), enough=0) >= min(real_depth(value), 1)
    deep = depth_of(json.dumps([value] * 1).encode(), enough=10_000)
    few = json.dumps([value]).count("[") + json.dumps([value]).count("{") <= 10_000
    assert deep == 0 or not few or deep == real_depth([value])


def test_brackets_in_strings_are_not_depth() -> None:
    body = json.dumps({"a": '[[[{{{"[[[' * 10}).encode()
    assert depth_of(body, enough=5) == 1


def test_a_deep_body_is_refused_before_it_is_parsed() -> None:
    found = parse_object(b'{"a":' * 1000 + b"1" + b"}" * 1000, depth=12)
    assert isinstance(found, Refusal)
    assert found.code == "too_deep"
    assert "12 levels" in found.message


def test_a_body_at_the_limit_is_read() -> None:
    assert parse_object(b'{"a":' * 12 + b"1" + b"}" * 12, depth=12)


@pytest.mark.parametrize("size", [10_000, 1_000_000])
def test_a_string_that_never_ends_costs_one_pass(size: int) -> None:
    assert isinstance(parse_object(b'{"a":[[[[[[[[[[[[[["' + b"\\" * size, depth=12), Refusal)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not JSON"),
        (b"[1]", "an array"),
        (b'"x"', "a string"),
        (b"5", "a number"),
        (b'{"a": "\xff"}', "not JSON"),
        (b'{"a": "\\ud800"}', "not JSON"),
        (b'{"a": NaN}', "not JSON"),
        (b'{"a": 1} {', "not JSON"),
    ],
)
def test_what_is_no_json_object_is_refused_with_the_reason(body: bytes, says: str) -> None:
    found = parse_object(body, depth=12)
    assert isinstance(found, Refusal)
    assert says in found.message
