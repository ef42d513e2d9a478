"""One answer in both shapes: a whole body, and the events of a stream as vLLM sends them.

So a stream and a body share one kept answer. What has no counterpart in the other shape (token ids,
prompt log probabilities, fields we don't know) makes an answer `Unconvertible`, and it isn't kept.
The same answer is always the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from greenlight.core.errors import InputError
from greenlight.core.types import JsonDict

DONE = b"data: [DONE]\n\n"
CHAT, CHAT_CHUNK, TEXT = "chat.completion", "chat.completion.chunk", "text_completion"
FRAME = ("id", "object", "created", "model")
CARRIED = frozenset({*FRAME, "choices", "usage", "system_fingerprint"})
CHOICE = frozenset({"index", "logprobs", "finish_reason", "stop_reason"})
MESSAGE_TEXTS = ("content", "reasoning", "reasoning_content", "refusal")
MESSAGE = frozenset({"role", "tool_calls", *MESSAGE_TEXTS})
TOOL_CALL = frozenset({"id", "type", "index", "function"})
FUNCTION = frozenset({"name", "arguments"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Unconvertible:
    """Why an answer has no other shape."""

    reason: str


class _No(InputError):
    """The reason, on its way to `Unconvertible`."""


def stream_of(body: bytes, *, include_usage: bool) -> bytes | Unconvertible:
    """Return the events of a stream that brings this answer, the last one included."""
    try:
        return b"".join(_events(_parsed(body), include_usage=include_usage)) + DONE
    except _No as reason:
        return Unconvertible(reason=str(reason))


def body_of(stream: bytes) -> bytes | Unconvertible:
    """Return the answer that a stream brought: whole, with its usage."""
    try:
        return _written(_gathered(stream))
    except _No as reason:
        return Unconvertible(reason=str(reason))


def _events(body: JsonDict, *, include_usage: bool) -> Iterator[bytes]:
    kind = body.get("object")
    if kind not in (CHAT, TEXT):
        raise _No(f"object is {kind!r}, not a completion")
    _only(body, CARRIED, "the answer")
    frame = {name: body.get(name) for name in FRAME}
    frame["object"] = CHAT_CHUNK if kind == CHAT else TEXT
    choices = [_checked(choice, chat=kind == CHAT) for choice in _list(body, "choices")]
    if not choices or not isinstance(body.get("usage"), dict):
        raise _No("the answer has no choices or no usage")
    fingerprint = body.get("system_fingerprint")
    for choice in choices:
        for event in _chat_events(choice) if kind == CHAT else _text_events(choice):
            last = event.get("finish_reason") is not None and not include_usage
            more = {"system_fingerprint": fingerprint} if last and fingerprint else {}
            yield _event(frame | {"choices": [event]} | more)
    if include_usage:
        more = {"system_fingerprint": fingerprint} if fingerprint else {}
        yield _event(frame | {"choices": [], "usage": body["usage"]} | more)


def _chat_events(choice: JsonDict) -> Iterator[JsonDict]:
    index, message = choice["index"], choice["message"]
    content = message.get("content")
    opening = {"role": message.get("role"), "content": None if content is None else ""}
    yield {"index": index, "delta": opening, "logprobs": None, "finish_reason": None}
    for name in ("reasoning", "reasoning_content", "content", "refusal"):
        if message.get(name):
            # the log probabilities are of all tokens; a client adds them up wherever they are
            logprobs = choice.get("logprobs") if name == "content" else None
            delta = {name: message[name]}
            yield {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": None}
    calls = [
        {"index": number, **{name: call.get(name) for name in ("id", "type", "function")}}
        for number, call in enumerate(message.get("tool_calls") or ())
    ]
    if calls:
        delta = {"tool_calls": calls}
        yield {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
    yield {
        "index": index, "delta": {},
        "logprobs": None if content else choice.get("logprobs"),
        "finish_reason": choice["finish_reason"], "stop_reason": choice.get("stop_reason"),
    }  # fmt: skip


def _text_events(choice: JsonDict) -> Iterator[JsonDict]:
    index = choice["index"]
    yield {
        "index": index, "text": choice["text"], "logprobs": choice.get("logprobs"),
        "finish_reason": None, "stop_reason": None,
    }  # fmt: skip
    yield {
        "index": index, "text": "", "logprobs": None,
        "finish_reason": choice["finish_reason"], "stop_reason": choice.get("stop_reason"),
    }  # fmt: skip


def _checked(choice: JsonDict, *, chat: bool) -> JsonDict:
    """Return a choice of a body all of which a stream can bring."""
    _only(choice, CHOICE | {"message" if chat else "text"}, "a choice")
    _index(choice)
    if choice.get("finish_reason") is None:
        raise _No("a choice did not come to its end")
    if not chat:
        if _text(choice, "text") is None:
            raise _No("a choice has no text")
        return choice
    message = choice.get("message")
    if not isinstance(message, dict):
        raise _No("a choice has no message")
    _only(message, MESSAGE, "a message")
    for name in MESSAGE_TEXTS:
        _text(message, name)
    for call in _list(message, "tool_calls", or_none=True):
        _only(call, TOOL_CALL, "a tool call")
        _function(call)
    return choice


def _gathered(stream: bytes) -> JsonDict:
    """Return the body that the events add up to."""
    chunks = list(_chunks(stream))
    if not chunks:
        raise _No("the stream is empty")
    chat = chunks[0].get("object") == CHAT_CHUNK
    frame = {name: chunks[0].get(name) for name in FRAME} | {"object": CHAT if chat else TEXT}
    choices: dict[int, JsonDict] = {}
    usage = fingerprint = None
    for chunk in chunks:
        _only(chunk, CARRIED, "an event")
        usage = chunk["usage"] if isinstance(chunk.get("usage"), dict) else usage
        fingerprint = chunk.get("system_fingerprint") or fingerprint
        for piece in _list(chunk, "choices"):
            _add(choices, piece, chat=chat)
    if unfinished := [n for n, one in choices.items() if one["finish_reason"] is None]:
        raise _No(f"choice {unfinished[0]} did not come to its end")
    if not choices or usage is None:
        raise _No("the stream brought no choices or no usage")
    body = frame | {"choices": [_whole(choices[n]) for n in sorted(choices)], "usage": usage}
    return body | ({"system_fingerprint": fingerprint} if fingerprint else {})


def _add(choices: dict[int, JsonDict], piece: JsonDict, *, chat: bool) -> None:
    _only(piece, CHOICE | {"delta" if chat else "text"}, "a choice")
    index = _index(piece)
    content: JsonDict = {"message": {"role": None, "content": None}} if chat else {"text": ""}
    empty = {"index": index, **content, "logprobs": None, "finish_reason": None}
    choice = choices.setdefault(index, empty | {"stop_reason": None})
    for name in ("finish_reason", "stop_reason"):
        choice[name] = piece[name] if piece.get(name) is not None else choice[name]
    if (more := piece.get("logprobs")) is not None:
        choice["logprobs"] = _added(choice["logprobs"], more)
    if chat:
        _add_delta(choice["message"], piece.get("delta") or {})
    else:
        choice["text"] += _text(piece, "text") or ""


def _add_delta(message: JsonDict, delta: JsonDict) -> None:
    _only(delta, MESSAGE, "a delta")
    message["role"] = delta.get("role") or message["role"]
    for name in MESSAGE_TEXTS:
        if (text := _text(delta, name)) is not None:
            message[name] = (message.get(name) or "") + text
    for piece in _list(delta, "tool_calls", or_none=True):
        _only(piece, TOOL_CALL, "a tool call")
        calls = message.setdefault("tool_calls", {})
        call = calls.setdefault(_index(piece), {"id": None, "type": "function"})
        call["id"] = piece.get("id") or call["id"]
        call["type"] = piece.get("type") or call["type"]
        function = call.setdefault("function", {"name": "", "arguments": ""})
        for name, text in _function(piece).items():
            function[name] += text


def _whole(choice: JsonDict) -> JsonDict:
    """Return a gathered choice as it is in a body; beside calls, no text is `null`."""
    message = choice.get("message")
    if message is None or "tool_calls" not in message:
        return choice
    calls = [call for _, call in sorted(message["tool_calls"].items())]
    content = message["content"] or None
    return choice | {"message": message | {"content": content, "tool_calls": calls}}


def _added(before: JsonDict | None, more: JsonDict) -> JsonDict:
    """Return log probabilities end to end: each of their fields is a list."""
    if not isinstance(more, dict):
        raise _No("logprobs is no object")
    found = dict(before or {})
    for name, values in more.items():
        if values is not None and not isinstance(values, list):
            raise _No(f"logprobs.{name} is no list")
        found[name] = values if found.get(name) is None else found[name] + (values or [])
    return found


def _chunks(stream: bytes) -> Iterator[JsonDict]:
    """Yield the events; the last must say that the stream is whole, and none may be an error."""
    done = False
    for line in stream.replace(b"\r\n", b"\n").split(b"\n"):
        name, _, data = line.partition(b":")
        if not line or not name:  # between events, or a comment
            continue
        if name != b"data" or done:
            raise _No(f"the stream holds {line[:40]!r}")
        if data.strip() == b"[DONE]":
            done = True
            continue
        chunk = _parsed(data)
        if chunk.get("error") is not None:
            raise _No("the stream brought an error")
        yield chunk
    if not done:
        raise _No("the stream was cut")


def _only(found: JsonDict, known: frozenset[str], where: str) -> None:
    if not isinstance(found, dict):
        raise _No(f"{where} is no object")
    for name, value in found.items():
        if name not in known and value is not None:
            raise _No(f"{where} has {name!r}, which the other shape has no place for")


def _list(found: JsonDict, name: str, *, or_none: bool = False) -> list[JsonDict]:
    value = found.get(name)
    if value is None and or_none:
        return []
    if not isinstance(value, list):
        raise _No(f"{name} is no list")
    return value


def _index(found: JsonDict) -> int:
    index = found.get("index")
    if not isinstance(index, int):
        raise _No("a choice or a tool call has no index")
    return index


def _text(found: JsonDict, name: str) -> str | None:
    text = found.get(name)
    if text is not None and not isinstance(text, str):
        raise _No(f"{name} is no text")
    return text


def _function(call: JsonDict) -> dict[str, str]:
    """Return what of the function's name and arguments a tool call, or a piece of one, holds."""
    function = call.get("function") or {}
    _only(function, FUNCTION, "a function")
    return {name: text for name in FUNCTION if (text := _text(function, name)) is not None}


def _parsed(text: bytes) -> JsonDict:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise _No(f"it is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise _No("it is no JSON object")
    return found


def _written(value: JsonDict) -> bytes:
    """Return JSON as vLLM writes it: no spaces, UTF-8."""
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise _No("it holds half a surrogate") from error


def _event(chunk: JsonDict) -> bytes:
    return b"data: " + _written(chunk) + b"\n\n"
