"""What a client asks a simulated engine for: OpenAI's chat and text completions, read by hand.

By hand, because hundreds of requests a second on one core leave no time for a model of each.
"""

from __future__ import annotations

from dataclasses import dataclass

from greenlight.core.errors import InputError
from greenlight.core.types import JsonDict

TEMPLATE_TOKENS = 4
"""What a chat template adds to every message."""
COMPLETION_TOKENS = 16
"""OpenAI's default for text completions; a chat's answer may take what it takes."""
NO_LIMIT = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request. `prompt` is all that was said, `said` the user's last words of it."""

    chat: bool
    model: str
    prompt: str
    said: str
    prompt_tokens: int
    max_tokens: int
    stream: bool
    include_usage: bool
    ignore_eos: bool
    token_ids: bool


def read_ask(body: object, *, chat: bool) -> Ask:
    """Read a request's JSON; what the simulator has no use for is passed over.

    Raises:
        InputError: a real engine would answer it with status 400.
    """
    if not isinstance(body, dict):
        raise InputError("the request must be a JSON object")
    model = body.get("model")
    if not isinstance(model, str):
        raise InputError("`model` must be text")
    texts = _messages(body) if chat else [_text(body.get("prompt"), "prompt")]
    words = sum(len(text.split()) for text in texts)
    return Ask(
        chat=chat,
        model=model,
        prompt="\n".join(texts),
        said=texts[-1],
        prompt_tokens=words + TEMPLATE_TOKENS * len(texts) * chat,
        max_tokens=_limit(body, chat=chat),
        stream=body.get("stream") is True,
        include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        ignore_eos=body.get("ignore_eos") is True,
        token_ids=body.get("return_token_ids") is True,
    )


def _messages(body: JsonDict) -> list[str]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InputError("`messages` must be a list with at least one message")
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise InputError(f"`messages[{number}]` must be an object with a `role`")
    return [
        _text(message.get("content"), f"messages[{number}].content")
        for number, message in enumerate(messages)
    ]


def _text(value: object, where: str) -> str:
    """Return a text, or the texts of a list of content parts."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(part, dict) for part in value):
        return " ".join(str(part.get("text", "")) for part in value)
    raise InputError(f"`{where}` must be text")


def _limit(body: JsonDict, *, chat: bool) -> int:
    names = ("max_completion_tokens", "max_tokens")
    limits = [body[name] for name in names if body.get(name) is not None]
    if not limits:
        return NO_LIMIT if chat else COMPLETION_TOKENS
    limit = limits[0]
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise InputError(f"`max_tokens` must be a whole number of at least 1, got {limit!r}")
    return limit
