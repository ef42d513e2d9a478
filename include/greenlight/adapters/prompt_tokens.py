"""Count a prompt as the engine will: the model's own chat template, then its own tokenizer.

Templates are rendered as `transformers` does it (sandboxed, immutable, blocks trimmed), so that the
text is the same; without torch. What a template raises about a request is the request's fault.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC
from pathlib import Path
from typing import Any

from jinja2 import Template, TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from greenlight.core.clock import Clock, SystemClock
from greenlight.core.errors import ConfigError, InputError
from greenlight.core.types import JsonDict

LONG = 20_000
"""Characters; a longer text is tokenized in a thread, which the library does without the GIL."""
TOKENIZER = "tokenizer.json"
CONFIG = "tokenizer_config.json"
TEMPLATE = "chat_template.jinja"
SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token")


class PromptTokens:
    """The tokenizer and the template of one model."""

    def __init__(self, folder: Path, *, clock: Clock = SystemClock()) -> None:  # noqa: B008
        """Read them.

        Raises:
            ConfigError: the folder has no tokenizer, or its template can't be compiled.
        """
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
            self._tokenizer.no_truncation()
            self._tokenizer.no_padding()
            config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        except Exception as error:  # the tokenizers library raises nothing more precise
            raise ConfigError(f"{folder} has no tokenizer that can be read: {error}") from error
        self._template = _compile(_source(folder, config), where=folder, clock=clock)
        self._special = {name: _token(config.get(name)) for name in SPECIAL}

    async def of_chat(self, messages: Sequence[JsonDict], tools: Sequence[JsonDict] | None) -> int:
        """Return how many tokens a chat's prompt has.

        Raises:
            InputError: the model's template refuses the messages, or there is no template.
        """
        if self._template is None:
            raise InputError("this model has no chat template; ask /v1/completions")
        try:
            text = self._template.render(
                messages=[_flat(message) for message in messages],
                tools=tools,
                add_generation_prompt=True,
                **self._special,
            )
        except (TemplateError, TypeError) as error:
            raise InputError(f"the model's chat template refuses them: {error}") from error
        return await self._count(text, special=False)

    async def of_text(self, text: str) -> int:
        """Return how many tokens a completion's prompt has."""
        return await self._count(text, special=True)

    async def _count(self, text: str, *, special: bool) -> int:
        if len(text) > LONG:
            encoding = await asyncio.to_thread(
                self._tokenizer.encode, text, add_special_tokens=special
            )
        else:
            encoding = self._tokenizer.encode(text, add_special_tokens=special)
        return len(encoding)


def _source(folder: Path, config: JsonDict) -> str | None:
    if (folder / TEMPLATE).exists():
        return (folder / TEMPLATE).read_text(encoding="utf-8")
    found = config.get("chat_template")
    if isinstance(found, list):  # several, by name
        found = {one["name"]: one["template"] for one in found}.get("default")
    return found


def _compile(source: str | None, *, where: Path, clock: Clock) -> Template | None:
    if source is None:
        return None
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda form: clock.now().astimezone(UTC).strftime(form)
    environment.filters["tojson"] = lambda value, **options: json.dumps(
        value, ensure_ascii=False, **{k: v for k, v in options.items() if k == "indent"}
    )
    try:
        return environment.from_string(source)
    except TemplateSyntaxError as error:
        raise ConfigError(f"the chat template in {where} can't be compiled: {error}") from error


def _raise(message: str) -> Any:
    raise TemplateError(message)


def _token(found: Any) -> str:
    return str(found["content"]) if isinstance(found, dict) else found or ""


def _flat(message: JsonDict) -> JsonDict:
    """Return a message with its parts as one text, as vLLM gives them to most templates."""
    content = message.get("content")
    if isinstance(content, list):
        content = "\n".join(part["text"] for part in content)
    return message | {"content": content or ""}
