"""What a client may send: OpenAI's chat and text completions, and vLLM's sampling parameters.

Ranges are those of OpenAI's API reference and of vLLM's `SamplingParams`. What an engine would
refuse is refused here, before anything is reserved; field names and limits are in every refusal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from greenlight.core.types import JsonDict

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
"""Control characters but tab, line feed and carriage return."""
MOST_ANSWERS = 8
MOST_TOOLS = 128


Text = Annotated[str, StringConstraints(strict=True)]
Label = Annotated[str, StringConstraints(strict=True, max_length=256)]
FunctionName = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9_.-]{1,128}$")]
Unit = Annotated[float, Field(ge=0, le=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Tokens = Annotated[int, Field(ge=1, strict=True)]


class Part(BaseModel):
    """Anything that may hold fields we don't know; those are refused or passed by configuration."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())


class TextPart(Part):
    """A piece of a message. Text alone: the models served here see nothing else."""

    type: Literal["text"]
    text: Text


class FunctionCall(Part):
    """What an assistant called."""

    name: FunctionName
    arguments: Text


class ToolCall(Part):
    """One call in an assistant's message."""

    id: Label
    type: Literal["function"]
    function: FunctionCall


class Message(Part):
    """One message of a chat."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | Annotated[tuple[TextPart, ...], Field(min_length=1)] | None = None
    name: Label | None = None
    tool_calls: Annotated[tuple[ToolCall, ...], Field(min_length=1)] | None = None
    tool_call_id: Label | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.content is None and not self.tool_calls:
            raise ValueError("has neither content nor tool_calls")
        if self.tool_calls and self.role != "assistant":
            raise ValueError(f"tool_calls belong to the role assistant, not {self.role}")
        if (self.role == "tool") != (self.tool_call_id is not None):
            raise ValueError("tool_call_id belongs to the role tool, which needs it")
        return self

    @property
    def texts(self) -> Iterator[tuple[str, str]]:
        """Every text in it with the field it is in."""
        if isinstance(self.content, str):
            yield "content", self.content
        elif self.content is not None:
            for number, part in enumerate(self.content):
                yield f"content.{number}.text", part.text
        for number, call in enumerate(self.tool_calls or ()):
            yield f"tool_calls.{number}.function.arguments", call.function.arguments


class Function(Part):
    """What an assistant may call."""

    name: FunctionName
    description: Text | None = None
    parameters: JsonDict | None = None
    strict: bool | None = None


class Tool(Part):
    """One tool."""

    type: Literal["function"]
    function: Function


class ResponseFormat(Part):
    """How an answer must look."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonDict | None = None


class StreamOptions(Part):
    """Options of a stream."""

    include_usage: bool = False


class _Sampling(Part):
    """What both kinds of completion take. A `null` is the same as nothing."""

    model: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=128)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Tokens | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    min_p: Unit | None = None
    min_tokens: Annotated[int, Field(ge=0)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=2)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    n: Annotated[int, Field(ge=1, le=MOST_ANSWERS, strict=True)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63, strict=True)] | None = None
    stop: Label | Annotated[tuple[Label, ...], Field(max_length=4)] | None = None
    logit_bias: (
        Annotated[
            dict[
                Annotated[str, StringConstraints(pattern=r"^\d{1,9}$")],
                Annotated[float, Field(ge=-100, le=100)],
            ],
            Field(max_length=1024),
        ]
        | None
    ) = None
    user: Label | None = None
    metadata: Annotated[dict[str, Label], Field(max_length=16)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options belongs to stream: true")
        if self.min_tokens and self.min_tokens > (self.answer_limit or self.min_tokens):
            raise ValueError(
                f"min_tokens ({self.min_tokens}) is above the limit of the answer "
                f"({self.answer_limit})"
            )
        return self

    @property
    def answer_limit(self) -> int | None:
        """The most tokens of one answer that were asked for."""
        return self.max_tokens

    @property
    def answers(self) -> int:
        """How many answers are made."""
        return self.n or 1

    @property
    def wants_usage(self) -> bool:
        """Whether the client asked for the usage at a stream's end."""
        return self.stream_options is not None and self.stream_options.include_usage


class ChatRequest(_Sampling):
    """`POST /v1/chat/completions`."""

    messages: Annotated[tuple[Message, ...], Field(min_length=1)]
    max_completion_tokens: Tokens | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[tuple[Tool, ...], Field(min_length=1, max_length=MOST_TOOLS)] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        both = (self.max_tokens, self.max_completion_tokens)
        if None not in both and len(set(both)) > 1:
            raise ValueError(
                f"max_tokens ({both[0]}) and max_completion_tokens ({both[1]}) say different things"
            )
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs belongs to logprobs: true")
        return self

    @property
    def answer_limit(self) -> int | None:
        """OpenAI's newer name wins."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def texts(self) -> Iterator[tuple[str, str]]:
        """Every text with the field it is in."""
        for number, message in enumerate(self.messages):
            for where, text in message.texts:
                yield f"messages.{number}.{where}", text


class CompletionRequest(_Sampling):
    """`POST /v1/completions`. One prompt a request, as text."""

    prompt: Text
    suffix: None = None
    echo: Literal[False] | None = None
    best_of: Annotated[int, Field(ge=1, le=1)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None

    @property
    def texts(self) -> Iterator[tuple[str, str]]:
        """The prompt."""
        yield "prompt", self.prompt


Asked = ChatRequest | CompletionRequest


def control_character(asked: Asked) -> tuple[str, str] | None:
    """Return the field that holds a control character, and which; or nothing."""
    for where, text in asked.texts:
        if found := _CONTROL.search(text):
            return where, f"U+{ord(found[0]):04X} at position {found.start()}"
    return None


def unknown_field(part: object) -> str | None:
    """Return the path of a field that no model knows, or nothing."""
    if isinstance(part, Part):
        if part.model_extra:
            return next(iter(part.model_extra))
        inner: Iterable[tuple[object, object]] = part.__dict__.items()
    elif isinstance(part, tuple):
        inner = enumerate(part)
    else:
        return None
    for name, value in inner:
        if isinstance(value, Part | tuple) and (found := unknown_field(value)):
            return f"{name}.{found}"
    return None
