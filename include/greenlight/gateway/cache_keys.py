"""When two requests have the same answer: the key of an answer that is kept.

The key is the digest of everything that can change the answer: the version that gives it, the
tenant, the route, and all of the request but what is in `PRESENTATION`. What isn't known counts as
it is, so a new parameter can cost a hit and never give a wrong one. Only the request's own fields
are sorted: further down order can matter, as templates print tools and schemas guide answers in the
order in which they came.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from greenlight.core.digest import digest_bytes
from greenlight.core.types import JsonDict
from greenlight.gateway.principals import Route

FORMAT = 1
"""Part of every key; another number makes all that is kept unfindable."""

PRESENTATION = {
    "stream": "one entry answers both, see gateway.replay",
    "stream_options": "how a stream is cut and counted, not what it says",
    "stream_interval": "how many tokens an event of a stream holds",
    "user": "for finding abuse; no engine reads it",
    "safety_identifier": "the same, by its newer name",
    "metadata": "labels of the caller's own",
    "prompt_cache_key": "where a provider caches prompts",
    "request_id": "names the request",
    "priority": "when it is answered",
}
"""What the answer doesn't depend on, each with the reason."""

SAMPLING: JsonDict = {
    "temperature": 1,
    "top_p": 1,
    "top_k": 0,
    "min_p": 0,
    "repetition_penalty": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
}
"""vLLM's neutral values, over which the engine puts the model's `generation_config.json`.

Who knows that file gives `Scope.defaults` both. Else an absent parameter is unlike any value: to
take it for the neutral one would give an answer at 0.6 to who asked for 1.
"""

COMMON: JsonDict = {
    "n": 1,
    "seed": None,
    "stop": [],
    "stop_token_ids": [],
    "bad_words": [],
    "logit_bias": None,
    "min_tokens": 0,
    "ignore_eos": False,
    "echo": False,
    "use_beam_search": False,
    "length_penalty": 1,
    "include_stop_str_in_output": False,
    "skip_special_tokens": True,
    "spaces_between_special_tokens": True,
    "response_format": None,
    "max_tokens": None,
}
DEFAULTS: dict[Route, JsonDict] = {
    Route.CHAT: COMMON
    | {
        "logprobs": False,
        "top_logprobs": 0,
        "tools": None,
        "parallel_tool_calls": True,
        "add_generation_prompt": True,
        "continue_final_message": False,
        "add_special_tokens": False,
    },
    Route.COMPLETIONS: COMMON
    | {"logprobs": None, "suffix": None, "best_of": 1, "add_special_tokens": True},
}
"""What any other field is when it is absent or null, from vLLM's protocol and OpenAI's reference.

`tool_choice` isn't here: absent it is `auto` or `none`, depending on `tools`, and null is neither.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What an answer depends on beside the request.

    `defaults`: what counts where the request says nothing, beside `DEFAULTS`: the engine's sampling
    parameters, and the gateway's own `max_tokens`.
    """

    tenant: str
    route: Route
    model_digest: str
    flags_digest: str
    defaults: Mapping[str, object] = field(default_factory=dict)


def answer_key(request: JsonDict, scope: Scope) -> str:
    """Return the key under which the answer to a request is kept, as 64 hex digits."""
    found = _explicit(request, scope)
    parts = [
        FORMAT, scope.tenant, scope.route, scope.model_digest, scope.flags_digest,
        sorted((name, value) for name, value in found.items() if name not in PRESENTATION),
    ]  # fmt: skip
    return digest_bytes(json.dumps(parts, separators=(",", ":")).encode())


def is_deterministic(request: JsonDict, scope: Scope) -> bool:
    """Return whether the request has one answer: greedy or seeded, and no other to choose from."""
    return why_not_deterministic(request, scope) is None


def why_not_deterministic(request: JsonDict, scope: Scope) -> str | None:
    """Return why asking again may give another answer, or nothing.

    Engines add numbers in an order that depends on the batch, so that even a greedy answer can
    differ; that answer is as good as the kept one.
    """
    found = _explicit(request, scope)
    temperature = found.get("temperature", "the model's own")
    if temperature != 0 and found["seed"] is None:
        return f"temperature is {temperature} and there is no seed"
    if found["n"] != 1 or found.get("best_of", 1) != 1:
        return "there is more than one answer"
    if found["use_beam_search"]:
        return "beams are searched"
    prompt = found.get("prompt")
    if isinstance(prompt, list) and any(isinstance(one, str | list) for one in prompt):
        return "there may be more than one prompt"
    if url := next(_addresses(found.get("messages")), None):
        return f"what is at {url[:60]} may change"
    return None


def _explicit(request: JsonDict, scope: Scope) -> JsonDict:
    """Return the request with every known field, in one form each."""
    defaults = DEFAULTS[scope.route] | dict(scope.defaults)
    given = dict(request)
    if scope.route is Route.CHAT:  # the newer name wins, as in the engine
        newer = given.pop("max_completion_tokens", None)
        given["max_tokens"] = given.get("max_tokens") if newer is None else newer
    known = {*defaults, *SAMPLING}
    found = defaults | {
        name: value for name, value in given.items() if value is not None or name not in known
    }
    if isinstance(found["stop"], str):
        found["stop"] = [found["stop"]]
    if found["seed"] == -1:  # the engine's other word for none
        found["seed"] = None
    found["logit_bias"] = found["logit_bias"] or None
    return {name: _number(value) if name in known else value for name, value in found.items()}


def _number(value: object) -> object:
    """Return 1 for 1.0: JSON has one kind of number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _addresses(messages: object) -> Iterator[str]:
    """Yield what the parts of messages point at; data in the request itself is no address."""
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else ():
            for value in part.values() if isinstance(part, dict) else ():
                url = value.get("url") if isinstance(value, dict) else None
                if isinstance(url, str) and not url.startswith("data:"):
                    yield url
