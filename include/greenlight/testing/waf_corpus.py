"""A corpus of benign and hostile texts, and the requests that carry them.

One JSON object a line: `kind` (benign or attack), `where` the text goes, `text`, and if wanted
`category`; other keys are ignored. `docs/reference/waf.md` lists every `where`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from pydantic import Field, StringConstraints, ValidationError

from greenlight.core.errors import InputError
from greenlight.core.types import JsonDict, Value

CHAT, COMPLETIONS, MODELS = "/v1/chat/completions", "/v1/completions", "/v1/models"
TEXT = "Say hello."
HEADERS = {
    "Host": "api.example.com",
    "User-Agent": "OpenAI/Python 1.54.4",
    "Accept": "application/json",
    "Authorization": "Bearer sk-0123456789abcdef",
}
JSON = "application/json"

_LEGAL_IN_PATH = "/:@!$&'()*+,;=~-._[]|^`{}\\<>\""
"""What clients can send as it is; nginx takes it."""
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4})")


class Kind(StrEnum):
    """What a text is."""

    BENIGN = "benign"
    ATTACK = "attack"


PROMPTS = frozenset(
    {
        "messages", "system", "assistant", "parts", "prompt", "prompts", "suffix",
        "tool_arguments", "tool_result", "tool_description", "tool_parameters", "schema",
    }
)  # fmt: skip
"""Where text is meant for the model."""
OTHERS = frozenset(
    {
        "model", "user", "role", "name", "tool_name", "tool_call_id", "tool_choice", "stop",
        "metadata", "image_url", "key", "body", "query", "path", "method", "cookie", "raw",
    }
)  # fmt: skip
NAMED = frozenset({"header", "field", "body"})
"""What is followed by a colon and a name: `header:NAME`, `field:NAME`, `body:CONTENT-TYPE`."""

KEYS = ("kind", "where", "text", "category")


class Case(Value):
    """One line of a corpus."""

    kind: Kind
    where: str
    text: str
    category: Annotated[str, StringConstraints(min_length=1)] = "none"
    line: Annotated[int, Field(ge=1)]

    @property
    def is_prompt(self) -> bool:
        """Whether the text is for the model, and so no attack on the gateway."""
        return self.where in PROMPTS


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """A request before it is put together."""

    method: str = "POST"
    target: str = CHAT
    headers: Mapping[str, str]
    body: str | None = None


def read_corpus(path: Path) -> tuple[Case, ...]:
    """Read a corpus.

    Raises:
        InputError: a line is no such object, or its `where` isn't one we know.
    """
    cases = []
    with path.open(encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                cases.append(_case(line, number, path))
    if not cases:
        raise InputError(f"{path} holds no line")
    return tuple(cases)


def request_of(case: Case) -> bytes:
    """Return the request that carries the text, as a client would send it."""
    if case.where == "raw":
        return _encoded(case.text)
    parts = _parts(case)
    body = None if parts.body is None else _encoded(parts.body)
    length = {} if body is None else {"Content-Length": str(len(body))}
    headers = HEADERS | {"Connection": "close"} | length | dict(parts.headers)
    head = [f"{parts.method} {parts.target} HTTP/1.1", *(f"{n}: {v}" for n, v in headers.items())]
    return _encoded("\r\n".join(head) + "\r\n\r\n") + (body or b"")


def _case(line: str, number: int, path: Path) -> Case:
    try:
        found: JsonDict = dict(json.loads(line))
        wanted = {key: found[key] for key in KEYS if key in found}
        case = Case.model_validate(wanted | {"line": number})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path}, line {number}: {name}: {first['msg']}") from error
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}, line {number}: not a JSON object: {error}") from error
    family, _, name = case.where.partition(":")
    if case.where not in PROMPTS | OTHERS and not (family in NAMED and name):
        known = ", ".join([*sorted(PROMPTS | OTHERS), *(f"{one}:NAME" for one in sorted(NAMED))])
        raise InputError(
            f"{path}, line {number}: where {case.where!r} is unknown; there are {known}"
        )
    return case


def _parts(case: Case) -> _Parts:
    family, _, name = case.where.partition(":")
    text = case.text
    match family:
        case "header":
            return _post(_chat(), headers={name: text})
        case "cookie":
            return _post(_chat(), headers={"Cookie": text})
        case "body":
            return _Parts(headers={"Content-Type": name or JSON}, body=text)
        case "query":
            return _get(f"{MODELS}?{_query(text)}")
        case "path":
            return _get(_legal(text if text.startswith("/") else f"{MODELS}/{text}"))
        case "method":
            return _Parts(method=text, target=MODELS, headers={})
        case "prompt" | "prompts" | "suffix":
            return _post(_completion(family, text), target=COMPLETIONS)
        case _:
            return _post(_chat() | _chat_fields(family, name, text))


def _get(target: str) -> _Parts:
    return _Parts(method="GET", target=target, headers={})


def _post(
    body: JsonDict, *, target: str = CHAT, headers: Mapping[str, str] | None = None
) -> _Parts:
    return _Parts(
        target=target,
        headers={"Content-Type": JSON} | dict(headers or {}),
        body=json.dumps(body, ensure_ascii=False),
    )


def _chat() -> JsonDict:
    return {"model": "greenlight-smollm2", "messages": [_message(TEXT)], "max_tokens": 64}


def _message(content: object, role: str = "user") -> JsonDict:
    return {"role": role, "content": content}


def _completion(where: str, text: str) -> JsonDict:
    prompt = {"prompt": text, "prompts": [TEXT, text], "suffix": TEXT}[where]
    found = {"model": "greenlight-smollm2", "prompt": prompt, "max_tokens": 64}
    return found | ({"suffix": text} if where == "suffix" else {})


def _chat_fields(where: str, name: str, text: str) -> JsonDict:
    if where in {"messages", "system", "assistant", "parts", "role", "name", "image_url"}:
        return {"messages": _messages(where, text)}
    if where.startswith("tool_") and where not in {"tool_choice", "tool_description"}:
        return _tool_fields(where, text)
    fields: JsonDict = {
        "model": {"model": text},
        "user": {"user": text},
        "stop": {"stop": ["END", text]},
        "metadata": {"metadata": {"run": text}},
        "key": {text: 1},
        "field": {name: text},
        "tool_choice": {"tool_choice": {"type": "function", "function": {"name": text}}},
        "tool_description": {"tools": [_tool(description=text)]},
        "schema": {"response_format": _format(text)},
    }
    found: JsonDict = fields[where]
    return found


def _messages(where: str, text: str) -> list[JsonDict]:
    hello = _message(TEXT)
    part = {"type": "text", "text": text}
    image = {"type": "image_url", "image_url": {"url": text}}
    return {
        "messages": [_message("You are a helpful assistant.", "system"), _message(text)],
        "system": [_message(text, "system"), hello],
        "assistant": [hello, _message(text, "assistant"), hello],
        "parts": [_message([{"type": "text", "text": TEXT}, part])],
        "role": [_message(TEXT, text)],
        "name": [hello | {"name": text}],
        "image_url": [_message([{"type": "text", "text": TEXT}, image])],
    }[where]


def _tool_fields(where: str, text: str) -> JsonDict:
    if where == "tool_parameters":
        return {"tools": [_tool(parameter=text)]}
    name = text if where == "tool_name" else "look_up"
    number = text if where == "tool_call_id" else "call_1"
    arguments = text if where == "tool_arguments" else "{}"
    call = {"id": number, "type": "function", "function": {"name": name, "arguments": arguments}}
    result = _message(text if where == "tool_result" else "42", "tool") | {"tool_call_id": number}
    asks = {"role": "assistant", "content": None, "tool_calls": [call]}
    return {"tools": [_tool(name=name)], "messages": [_message(TEXT), asks, result]}


def _tool(name: str = "look_up", description: str = "", parameter: str = "") -> JsonDict:
    properties = {"query": {"type": "string", "description": parameter}}
    parameters = {"type": "object", "properties": properties, "required": ["query"]}
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


def _format(description: str) -> JsonDict:
    schema = {"type": "object", "properties": {"a": {"type": "string", "description": description}}}
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def _query(text: str) -> str:
    """Return a query. What begins with `?` is one; else it is a value, which clients encode."""
    if text.startswith("?"):
        return _legal(text[1:])
    return "q=" + quote(_STRAY_PERCENT.sub("%25", text), safe="%", errors="surrogateescape")


def _legal(text: str) -> str:
    text = _STRAY_PERCENT.sub("%25", text)
    return quote(text, safe=_LEGAL_IN_PATH + "%?", errors="surrogateescape")


def _encoded(text: str) -> bytes:
    """Return bytes; a lone surrogate U+DC80 to U+DCFF stands for a byte that isn't UTF-8."""
    return text.encode("utf-8", "surrogateescape")
