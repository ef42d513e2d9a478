"""What a simulated engine answers, and the bytes that say so as vLLM does.

The text follows from the prompt alone, whatever the model: a golden prompt can be recorded once.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
import zlib
from dataclasses import dataclass
from itertools import product

from greenlight.core.types import JsonDict
from greenlight.testing.simulated_requests import NO_LIMIT, Ask
from greenlight.testing.simulation import Simulation

END = ""
"""The piece of the end token, which vLLM counts among the completion's tokens."""
DONE = b"data: [DONE]\n\n"
VOCABULARY = 32000
_ONSETS = "bdfghklmnprstvwz"
_RIMES = ("a", "e", "i", "o", "u", "an", "en", "in", "on", "un", "ar", "er", "or", "al", "el", "ol")
_WORDS = tuple(f"{onset}{rime}" for onset, rime in product(_ONSETS, _RIMES))
"""256: one for every byte of a digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer's tokens as text; `finish` is `stop` or `length`."""

    pieces: tuple[str, ...]
    finish: str

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)


def answer_to(ask: Ask, simulation: Simulation) -> Answer:
    """Return what is answered. Every word is a token."""
    if ask.ignore_eos and ask.max_tokens < NO_LIMIT:
        words = _words(ask, simulation, count=ask.max_tokens)
        repeated = words * (ask.max_tokens // len(words) + 1)
        return Answer(pieces=_pieces(repeated[: ask.max_tokens]), finish="length")
    pieces = (*_pieces(_words(ask, simulation, count=simulation.tokens)), END)
    finish = "stop" if len(pieces) <= ask.max_tokens else "length"
    return Answer(pieces=pieces[: ask.max_tokens], finish=finish)


def _words(ask: Ask, simulation: Simulation, *, count: int) -> list[str]:
    fixed = simulation.answers.get(ask.said, "").split()
    if fixed and not simulation.wrong_text:
        return fixed
    state = hashlib.shake_256(ask.prompt.encode())
    if simulation.wrong_text:
        state.update(b"wrong")
    return [_WORDS[byte] for byte in state.digest(count)]


def _pieces(words: list[str]) -> tuple[str, ...]:
    return tuple(f" {word}" if number else word for number, word in enumerate(words))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mishap:
    """What goes wrong with one stream, all of it in the middle."""

    cut: bool = False
    failed: bool = False
    lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A stream: what is sent at once, with each token, and at the end; and how it ends.

    There are fewer `tokens` than the answer has when the stream ends early. `finish`: what a real
    engine would count it as.
    """

    opening: bytes
    tokens: tuple[bytes, ...]
    closing: bytes
    finish: str


class Wire:
    """One answer in OpenAI's shapes: the events of a stream, or one object."""

    def __init__(self, ask: Ask, answer: Answer) -> None:
        self._ask, self._answer = ask, answer
        identity = f"{'chatcmpl' if ask.chat else 'cmpl'}-{uuid.uuid4().hex}"
        kind = ("chat.completion.chunk" if ask.stream else "chat.completion") if ask.chat else (
            "text_completion"
        )  # fmt: skip
        self._frame: JsonDict = {
            "id": identity,
            "object": kind,
            "created": int(time.time()),
            "model": ask.model,
        }
        self._head = f'data: {json.dumps(self._frame)[:-1]}, "choices": [{{"index": 0, '

    def script(self, mishap: Mishap, *, usage: bool) -> Script:
        """Return what a stream sends."""
        count = len(self._answer.pieces)
        middle = max(1, count // 2)
        tokens = [b"" if mishap.lost and n == middle else self._token(n) for n in range(count)]
        closing, finish = DONE, self._answer.finish
        if usage:
            closing = self._usage() + DONE
        if mishap.failed:
            tokens, closing, finish = tokens[:middle], FAILED + DONE, "error"
        if mishap.cut:
            tokens, closing, finish = tokens[:middle], b"", "abort"
        return Script(opening=self._opening(), tokens=tuple(tokens), closing=closing, finish=finish)

    def _opening(self) -> bytes:
        """Return the event that comes before the first token: in a chat, who speaks."""
        if not self._ask.chat:
            return b""
        return self._event('"delta": {"role": "assistant", "content": ""}, "finish_reason": null')

    def _token(self, number: int) -> bytes:
        """Return the event of one token; the last one says why the answer ends."""
        piece = self._answer.pieces[number]
        text = json.dumps(piece)
        content = f'"delta": {{"content": {text}}}' if self._ask.chat else f'"text": {text}'
        last = number + 1 == len(self._answer.pieces)
        finish = f'"{self._answer.finish}"' if last else "null"
        ids = f', "token_ids": [{token_id(piece)}]' if self._ask.token_ids else ""
        return self._event(f'{content}, "logprobs": null, "finish_reason": {finish}{ids}')

    def _usage(self) -> bytes:
        body = json.dumps(self._frame | {"choices": [], "usage": self._counts()})
        return f"data: {body}\n\n".encode()

    def unary(self, *, usage: bool) -> JsonDict:
        """Return the whole answer as one object."""
        text, finish = self._answer.text, self._answer.finish
        content: JsonDict = (
            {"message": {"role": "assistant", "content": text}} if self._ask.chat
            else {"text": text}
        )  # fmt: skip
        choice = {"index": 0, **content, "logprobs": None, "finish_reason": finish}
        if self._ask.token_ids:
            choice["token_ids"] = [token_id(piece) for piece in self._answer.pieces]
        counts = {"usage": self._counts()} if usage else {}
        return self._frame | {"choices": [choice]} | counts

    def _event(self, inner: str) -> bytes:
        return f"{self._head}{inner}}}]}}\n\n".encode()

    def _counts(self) -> JsonDict:
        asked, made = self._ask.prompt_tokens, len(self._answer.pieces)
        return {
            "prompt_tokens": asked,
            "completion_tokens": made,
            "total_tokens": asked + made,
        }


def token_id(piece: str) -> int:
    """Return the number that stands for a piece of text."""
    return zlib.crc32(piece.encode()) % VOCABULARY


def failure(status: int, message: str, *, kind: str, param: str | None = None) -> JsonDict:
    """Return OpenAI's error object."""
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}


FAILED = (
    f"data: {json.dumps(failure(500, 'Out of blocks.', kind='InternalServerError'))}\n\n".encode()
)
