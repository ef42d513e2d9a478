"""Read an SSE stream in passing: tokens, times between them, usage, and whether it ended properly.

Events are passed on as they came, except the one that holds the usage when the client didn't ask
for it: the gateway always asks the engine for it, since tokens are settled by it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from greenlight.core.types import JsonDict

DONE = b"data: [DONE]"
_END = b"\n\n"
_NO_CHOICES = b'"choices":[]'
_USAGE = b'"usage":{'


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What an engine says that a call took, in tokens."""

    prompt: int
    answer: int


def usage_of(body: JsonDict) -> Usage | None:
    """Return the usage in an answer or in an event; None: it has none."""
    found = body.get("usage")
    if not isinstance(found, dict):
        return None
    prompt, answer = found.get("prompt_tokens"), found.get("completion_tokens")
    if not isinstance(prompt, int) or not isinstance(answer, int):
        return None
    return Usage(prompt=prompt, answer=answer)


@dataclass(slots=True, kw_only=True)
class StreamMeter:
    """What one stream has brought. Times are monotonic seconds that are passed in."""

    began: float
    keep_usage: bool
    """Whether the client asked for the event that holds it."""
    first_s: float | None = None
    """Time to the first token."""
    gaps: list[float] = field(default_factory=list)
    """Between pieces that held tokens; a piece may hold several."""
    events: int = 0
    """With a piece of the answer: as a rule one token each."""
    usage: Usage | None = None
    done: bool = False
    """The terminal event came: the stream is whole."""
    _rest: bytes = b""
    _last: float = 0.0

    def feed(self, chunk: bytes, now: float) -> bytes:
        """Take what came, and return what goes to the client now: whole events."""
        text = self._rest + chunk.replace(b"\r\n", b"\n")
        cut = text.rfind(_END)
        if cut < 0:
            self._rest = text
            return b""
        cut += len(_END)
        self._rest, whole = text[cut:], text[:cut]
        is_last = DONE in whole
        if not is_last and _NO_CHOICES not in whole.replace(b" ", b""):
            self._count(whole.count(b"data:"), now)
            return whole
        return self._with_care(whole, now)

    @property
    def rest(self) -> bytes:
        """Return what is no whole event: the stream was cut there."""
        return self._rest

    def _with_care(self, whole: bytes, now: float) -> bytes:
        """Look at every event: one of them is the usage, or the end."""
        kept: list[bytes] = []
        answers = 0
        for event in whole.split(_END)[:-1]:
            if event.startswith(DONE):
                self.done = True
            elif self._is_usage(event):
                if not self.keep_usage:
                    continue
            else:
                answers += event.startswith(b"data:")
            kept.append(event + _END)
        self._count(answers, now)
        return b"".join(kept)

    def _is_usage(self, event: bytes) -> bool:
        packed = event.replace(b" ", b"")
        if _NO_CHOICES not in packed or _USAGE not in packed:
            return False
        try:
            found = json.loads(event.removeprefix(b"data:"))
        except ValueError:
            return False
        if found.get("choices") != []:
            return False
        self.usage = usage_of(found)
        return self.usage is not None

    def _count(self, events: int, now: float) -> None:
        if not events:
            return
        self.events += events
        if self.first_s is None:
            self.first_s = now - self.began
        else:
            self.gaps.append(now - self._last)
        self._last = now
