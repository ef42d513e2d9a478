"""Bounds on a body before it is parsed, and parsing that names what is wrong."""

from __future__ import annotations

import re

from pydantic_core import from_json

from greenlight.core.types import JsonDict
from greenlight.gateway.refusals import Refusal

_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
"""Possessive: a long body costs one pass, whatever is in it. An open string swallows the rest."""
_BRACKETS = re.compile(rb"[\[\]{}]")


def depth_of(body: bytes, *, enough: int) -> int:
    """Return how deep a JSON text is nested; may stop counting beyond `enough`.

    Brackets in strings don't count. A text that isn't JSON has some depth too; the parser says so.
    """
    if body.count(b"{") + body.count(b"[") <= enough:
        return 0
    depth = deepest = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", body)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
        if deepest > enough:
            break
    return deepest


def parse_object(body: bytes, *, depth: int) -> JsonDict | Refusal:
    """Return a JSON object, or why it is none: not UTF-8, not JSON, too deep, not an object."""
    if depth_of(body, enough=depth) > depth:
        return Refusal(
            status=400,
            code="too_deep",
            message=f"the body is nested more than {depth} levels deep, which is the limit",
        )
    try:
        found = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        return Refusal(status=400, code="invalid_json", message=f"the body is not JSON: {error}")
    if not isinstance(found, dict):
        kind = "an array" if isinstance(found, list) else "a string, a number or a word"
        return Refusal(
            status=400, code="invalid_json", message=f"the body must be a JSON object, it is {kind}"
        )
    return found
