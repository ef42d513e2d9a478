"""From a request's bytes to something checked, or a refusal that names field, value and limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from greenlight.core.types import JsonDict
from greenlight.gateway.gateway_file import RequestBounds, ServedModel
from greenlight.gateway.principals import Route
from greenlight.gateway.raw_json import parse_object
from greenlight.gateway.refusals import Refusal
from greenlight.gateway.requests import (
    Asked,
    ChatRequest,
    CompletionRequest,
    control_character,
    unknown_field,
)

SHAPES: dict[Route, type[ChatRequest] | type[CompletionRequest]] = {
    Route.CHAT: ChatRequest,
    Route.COMPLETIONS: CompletionRequest,
}
SHOWN = 60
"""Characters of a value in a refusal."""
UNION_TAGS = frozenset({"str", "constrained-str", "list", "tuple"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A request that may be asked. `body`: as it came, parsed."""

    route: Route
    asked: Asked
    body: JsonDict

    @property
    def streams(self) -> bool:
        """Whether the answer comes in pieces."""
        return bool(self.asked.stream)


def refuse_media_type(content_type: str | None) -> Refusal | None:
    """Return why a body of this type isn't read, or nothing."""
    kind, _, parameters = (content_type or "").partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if kind.strip().lower() == "application/json" and charset in ("", "utf-8", "utf8"):
        return None
    return Refusal(
        status=415,
        code="unsupported_media_type",
        message=f"Content-Type must be application/json in UTF-8, got {shown(content_type)}",
        param="Content-Type",
    )


def refuse_size(length: int, bounds: RequestBounds) -> Refusal | None:
    """Return why a body of so many bytes isn't read, or nothing."""
    if length <= bounds.body_bytes:
        return None
    return Refusal(
        status=413,
        code="body_too_large",
        message=f"the body has {length} bytes, the limit is {bounds.body_bytes}",
    )


def check(body: bytes, *, route: Route, bounds: RequestBounds) -> Checked | Refusal:
    """Return the request, or the first thing that is wrong with it."""
    parsed = parse_object(body, depth=bounds.depth)
    if isinstance(parsed, Refusal):
        return parsed
    try:
        asked = SHAPES[route].model_validate(parsed)
    except ValidationError as error:
        return _invalid(error)
    if isinstance(asked, ChatRequest) and len(asked.messages) > bounds.messages:
        return _bad(
            "messages", f"has {len(asked.messages)} messages, the limit is {bounds.messages}"
        )
    if found := control_character(asked):
        where, which = found
        return _bad(where, f"holds the control character {which}; tab and line ends may be there")
    if bounds.unknown_parameters == "refuse" and (unknown := unknown_field(asked)):
        return _bad(unknown, "is not a parameter of this gateway", code="unknown_parameter")
    return Checked(route=route, asked=asked, body=parsed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Tokens of a call. `answer`: the most that one answer may take; `answers` of them are made."""

    prompt: int
    answer: int
    answers: int


def room_for(asked: Asked, *, prompt: int, model: ServedModel) -> Room | Refusal:
    """Return how many tokens prompt and answer may take, or why they don't fit the context."""
    limit = asked.answer_limit
    answer = min(model.default_max_tokens, model.context - prompt) if limit is None else limit
    if answer < 1 or prompt + answer > model.context:
        wanted = "" if limit is None else f" and {limit} for the answer"
        field = "messages" if isinstance(asked, ChatRequest) else "prompt"
        return Refusal(
            status=400,
            code="context_length_exceeded",
            param=field if limit is None else "max_tokens",
            message=(
                f"the model {model.name} has a context of {model.context} tokens; the prompt takes "
                f"{prompt}{wanted}"
            ),
        )
    return Room(prompt=prompt, answer=answer, answers=asked.answers)


def upstream_body(checked: Checked, room: Room) -> JsonDict:
    """Return what the engine is asked: with the limit that was reserved, and always with usage."""
    body = {name: value for name, value in checked.body.items() if value is not None}
    body.pop("max_completion_tokens", None)
    body["max_tokens"] = room.answer
    if checked.streams:
        body["stream_options"] = body.get("stream_options", {}) | {"include_usage": True}
    return body


def shown(value: object) -> str:
    """Return a value as it is named in a refusal: short, on one line."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def _invalid(error: ValidationError) -> Refusal:
    """Return the first problem; of alternatives, the one that got furthest into the value."""
    problems = error.errors(include_url=False)
    first = max(problems, key=lambda one: (len(one["loc"]), one["type"] != "string_type"))
    where = _field(first["loc"])
    if first["type"] == "missing":
        return _bad(where, "is required", code="missing_required_parameter")
    return _bad(where or None, _what(first))


def _field(location: Sequence[int | str]) -> str:
    """Return the path as a client knows it, without the names that pydantic gives alternatives."""
    parts = [str(part) for part in location]
    return ".".join(
        part
        for part in parts
        if part not in UNION_TAGS and not part.startswith(("function-", "tuple[", "constrained-"))
    )


def _what(problem: ErrorDetails) -> str:
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":
        return message
    message = (message[0].lower() + message[1:]).replace("tuple", "list")
    return f"{shown(problem['input'])} can't be used: {message}"


def _bad(param: str | None, message: str, *, code: str = "invalid_value") -> Refusal:
    named = f"{param}: {message}" if param else message
    return Refusal(status=400, code=code, message=named, param=param)
