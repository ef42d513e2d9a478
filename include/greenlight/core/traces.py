"""W3C trace contexts (level 1): the header `traceparent`, and the trace that a piece of work is in.

What strangers send is read strictly: a header that breaks the format begins a new trace, and a
`tracestate` beyond its limits is dropped whole. Spans are told to whoever is configured
(`adapters.otlp`); `Untraced` tells nobody, and still gives every request an id to find it by.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
MOST_STATE, MOST_MEMBERS = 512, 32
"""Characters and members of a `tracestate`."""
_HEADER = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_MEMBER = re.compile(
    r"([a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
_CURRENT: ContextVar[TraceContext | None] = ContextVar("trace", default=None)

Fact = str | int | float | bool
"""What a span may say: names, numbers, codes. Never a prompt, an answer or a message of an error,
which may quote them."""
RandomBits = Callable[[int], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext:
    """A place in a trace: ids in lower-case hexadecimals. `state`: the callers' `tracestate`."""

    trace_id: str
    span_id: str
    sampled: bool = True
    state: str = ""

    @property
    def traceparent(self) -> str:
        """The header's value."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"

    def headers(self) -> dict[str, str]:
        """Return the headers that carry it on."""
        found = {TRACEPARENT: self.traceparent}
        return found | {TRACESTATE: self.state} if self.state else found


def read_trace(parent: str | None, state: str | None = None) -> TraceContext | None:
    """Return what a request's headers say; none when they say nothing that holds.

    A later version than 00 is read by its first four fields, as the specification asks.
    """
    found = None if parent is None else _HEADER.fullmatch(parent)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or trace_id == _NO_TRACE:
        return None
    if span_id == _NO_SPAN:
        return None
    return TraceContext(
        trace_id=trace_id, span_id=span_id, sampled=bool(int(flags, 16) & 1),
        state=read_state(state or ""),
    )  # fmt: skip


def read_state(text: str) -> str:
    """Return a `tracestate` without blanks; nothing, if it breaks its format or its limits."""
    if len(text) > MOST_STATE:
        return ""
    members = [member for part in text.split(",") if (member := part.strip(" \t"))]
    matches = [_MEMBER.fullmatch(member) for member in members]
    keys = {match[1] for match in matches if match}
    whole = len(keys) == len(members) <= MOST_MEMBERS
    return ",".join(members) if whole else ""


def new_trace(bits: RandomBits = random.getrandbits) -> TraceContext:
    """Begin a trace. Its id is a name and no secret: it need not be hard to guess."""
    return TraceContext(trace_id=f"{bits(128) or 1:032x}", span_id=f"{bits(64) or 1:016x}")


def trace_of(what: str, name: str) -> TraceContext:
    """Return the trace of something with a name, the same in every process that works on it."""
    digest = hashlib.sha256(f"greenlight {what} {name}".encode()).hexdigest()
    return TraceContext(trace_id=digest[:32], span_id=digest[32:48])


def current_trace() -> TraceContext | None:
    """Return the trace of this task or thread."""
    return _CURRENT.get()


def trace_headers() -> dict[str, str]:
    """Return the headers that carry the current trace on; none outside of one."""
    current = _CURRENT.get()
    return {} if current is None else current.headers()


def within(trace: TraceContext) -> _Within:
    """Let what is sent and logged inside the block belong to a trace."""
    return _Within(trace)


class _Within:
    """A class, since the gateway enters one with every request: a generator takes far longer."""

    __slots__ = ("_token", "_trace")

    def __init__(self, trace: TraceContext) -> None:
        self._trace = trace

    def __enter__(self) -> None:
        self._token = _CURRENT.set(self._trace)

    def __exit__(self, *_: object) -> None:
        _CURRENT.reset(self._token)


class SpanKind(StrEnum):
    """Which side of a request a span is."""

    SERVER = "server"
    INTERNAL = "internal"


class Span(Protocol):
    """Work that began. `context`: what the work sends on."""

    @property
    def context(self) -> TraceContext:
        """Where it is in its trace."""

    def end(self, facts: Mapping[str, Fact], *, failed: str | None = None) -> None:
        """Say how it ended. `failed`: a code or an error's class."""


class Tracer(Protocol):
    """Tells somebody of spans; never in the way of the work, whatever becomes of the telling."""

    def begin(
        self, name: str, *, parent: TraceContext | None, kind: SpanKind = SpanKind.INTERNAL
    ) -> Span:
        """Begin a span; without a parent also a trace."""

    def tell(
        self,
        context: TraceContext,
        name: str,
        *,
        began: datetime,
        facts: Mapping[str, Fact],
        failed: str | None = None,
    ) -> None:
        """Tell of a span that ends now and whose ids are known to others already."""

    def flush(self) -> None:
        """Send what waits, for a moment at most: this process may be ended any time."""

    def close(self) -> None:
        """Send what waits, for a moment at most, and end."""


@dataclass(frozen=True, slots=True)
class UntoldSpan:
    """Implements `Span`."""

    context: TraceContext

    def end(self, facts: Mapping[str, Fact], *, failed: str | None = None) -> None:
        """Tell nobody."""


class Untraced:
    """Implements `Tracer`. A caller's context goes on as it is: a span in between would be lost."""

    def begin(
        self, name: str, *, parent: TraceContext | None, kind: SpanKind = SpanKind.INTERNAL
    ) -> UntoldSpan:
        """Return the caller's place, or a new one."""
        del name, kind
        return UntoldSpan(new_trace() if parent is None else parent)

    def tell(
        self,
        context: TraceContext,
        name: str,
        *,
        began: datetime,
        facts: Mapping[str, Fact],
        failed: str | None = None,
    ) -> None:
        """Tell nobody."""

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing waits."""
