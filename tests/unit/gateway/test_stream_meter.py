from __future__ import annotations

import itertools
import json
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from greenlight.gateway.stream_meter import StreamMeter, Usage


def event(**fields: object) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def piece(text: str) -> bytes:
    return event(choices=[{"index": 0, "delta": {"content": text}}])


USAGE = event(choices=[], usage={"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10})
DONE = b"data: [DONE]\n\n"
STREAM = piece("a") + piece('"choices":[]') + piece("c") + USAGE + DONE


def meter(*, keep_usage: bool = False) -> StreamMeter:
    return StreamMeter(began=0.0, keep_usage=keep_usage)


def fed(found: StreamMeter, chunks: Sequence[bytes]) -> bytes:
    return b"".join(found.feed(chunk, 1.0 + number) for number, chunk in enumerate(chunks))


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_wherever_a_stream_is_cut_into_chunks_the_same_is_passed_on(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    chunks = [STREAM[a:b] for a, b in itertools.pairwise(edges)]
    found = meter()
    assert fed(found, chunks) == STREAM.replace(USAGE, b"")
    assert found.usage == Usage(prompt=7, answer=3)
    assert found.done
    assert found.events == 3
    assert found.rest == b""


def test_usage_stays_when_the_client_asked_for_it() -> None:
    found = meter(keep_usage=True)
    assert fed(found, [STREAM]) == STREAM
    assert found.usage == Usage(prompt=7, answer=3)


def test_times_are_to_the_first_token_and_between_pieces() -> None:
    found = meter()
    for at, chunk in ((2.0, piece("a")), (2.5, piece("b")), (4.0, DONE)):
        found.feed(chunk, at)
    assert found.first_s == 2.0
    assert found.gaps == [0.5]


def test_a_stream_that_was_cut_is_not_done_and_keeps_what_is_no_event() -> None:
    found = meter()
    assert found.feed(piece("a") + b'data: {"cho', 1.0) == piece("a")
    assert not found.done
    assert found.rest == b'data: {"cho'
    assert found.usage is None


def test_an_answer_that_says_done_does_not_end_the_stream() -> None:
    found = meter()
    text = piece("data: [DONE]")
    assert found.feed(text, 1.0) == text
    assert not found.done


def test_carriage_returns_are_line_ends_too() -> None:
    found = meter()
    assert found.feed(DONE.replace(b"\n", b"\r\n"), 1.0) == DONE
    assert found.done
