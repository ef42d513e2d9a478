import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlight.gateway.replay import DONE, Unconvertible, body_of, stream_of

FRAME = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1764000000, "model": "m"}
USAGE = {"prompt_tokens": 5, "total_tokens": 8, "completion_tokens": 3}
CALL = {
    "id": "call-1", "type": "function",
    "function": {"name": "weather", "arguments": '{"city":"Köln"}'},
}  # fmt: skip


def logprob(token):
    return {"token": token, "logprob": -0.5, "bytes": list(token.encode()), "top_logprobs": []}


def chat(*, message=None, finish="stop", logprobs=None, **more):
    said = {"role": "assistant", "content": "Grüße, 世界"} | (message or {})
    choice = {
        "index": 0, "message": said, "logprobs": logprobs, "finish_reason": finish,
        "stop_reason": None,
    }  # fmt: skip
    return FRAME | {"choices": [choice], "usage": USAGE} | more


def text(*, logprobs=None, finish="length", **more):
    choice = {
        "index": 0, "text": " and on", "logprobs": logprobs, "finish_reason": finish,
        "stop_reason": None,
    }  # fmt: skip
    frame = FRAME | {"id": "cmpl-1", "object": "text_completion"}
    return frame | {"choices": [choice], "usage": USAGE} | more


ANSWERS = {
    "chat": chat(),
    "nothing said": chat(message={"content": ""}),
    "tools": chat(message={"content": None, "tool_calls": [CALL, CALL]}, finish="tool_calls"),
    "text and tools": chat(message={"tool_calls": [CALL]}, finish="tool_calls"),
    "reasoning": chat(message={"reasoning": "Let me see."}),
    "log probabilities": chat(logprobs={"content": [logprob("Grüße"), logprob(",")]}),
    "log probabilities of tools": chat(
        message={"content": None, "tool_calls": [CALL]}, logprobs={"content": [logprob("x")]}
    ),
    "a fingerprint": chat(system_fingerprint="vllm-0.32"),
    "text": text(),
    "text with log probabilities": text(
        logprobs={
            "text_offset": [0, 4], "token_logprobs": [None, -0.1], "tokens": [" and", " on"],
            "top_logprobs": [None, {" on": -0.1}],
        }
    ),
    "two answers": FRAME
    | {
        "choices": [chat()["choices"][0], chat(finish="length")["choices"][0] | {"index": 1}],
        "usage": USAGE,
    },
}  # fmt: skip


def packed(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def events(stream):
    assert stream.endswith(DONE)
    lines = stream.removesuffix(DONE).split(b"\n\n")[:-1]
    return [json.loads(line.removeprefix(b"data: ")) for line in lines]


def sse(*chunks, done=True):
    return b"".join(b"data: " + packed(c) + b"\n\n" for c in chunks) + (DONE if done else b"")


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_comes_back_from_its_own_stream(answer):
    stream = stream_of(packed(answer), include_usage=True)
    assert json.loads(body_of(stream)) == answer


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_the_same_answer_is_always_the_same_bytes(answer):
    once = body_of(stream_of(packed(answer), include_usage=True))
    again = body_of(stream_of(once, include_usage=True))
    assert once == again
    reordered = json.dumps(dict(reversed(answer.items())), indent=2).encode()
    assert stream_of(reordered, include_usage=True) == stream_of(once, include_usage=True)


def test_a_stream_has_the_events_that_vllm_sends():
    found = events(stream_of(packed(chat()), include_usage=True))
    assert {chunk["object"] for chunk in found} == {"chat.completion.chunk"}
    assert {chunk["id"] for chunk in found} == {"chatcmpl-1"}
    deltas = [choice["delta"] for chunk in found for choice in chunk["choices"]]
    assert deltas == [{"role": "assistant", "content": ""}, {"content": "Grüße, 世界"}, {}]
    ends = [choice["finish_reason"] for chunk in found for choice in chunk["choices"]]
    assert ends == [None, None, "stop"]
    assert (found[-1]["choices"], found[-1]["usage"]) == ([], USAGE)


def test_usage_is_sent_to_who_asked_for_it():
    found = events(stream_of(packed(chat()), include_usage=False))
    assert not any("usage" in chunk for chunk in found)
    assert all(chunk["choices"] for chunk in found)


def real_stream(*, usage=USAGE, ends="stop"):
    """Events as vLLM 0.32 sent them: a token each, the last with the finish reason."""
    frame = FRAME | {"object": "chat.completion.chunk"}

    def piece(delta, **more):
        return frame | {"choices": [{"index": 0, "delta": delta, "logprobs": None,
                                     "finish_reason": None, "token_ids": None} | more]}  # fmt: skip

    return [
        piece({"role": "assistant", "content": ""}), piece({"content": "Grü"}),
        piece({"content": "ße"}), piece({"content": "!"}, finish_reason=ends, stop_reason=None),
        *([frame | {"choices": [], "usage": usage}] if usage else []),
    ]  # fmt: skip


def test_the_stream_of_an_engine_becomes_the_body_it_would_have_sent():
    assert json.loads(body_of(sse(*real_stream()))) == chat(message={"content": "Grüße!"})


def test_comments_and_other_line_ends_change_nothing():
    plain = sse(*real_stream())
    noisy = b": keep-alive\n\n" + plain.replace(b"\n", b"\r\n").replace(b"data: ", b"data:")
    assert body_of(noisy) == body_of(plain)


def test_pieces_of_tool_calls_are_put_together():
    frame = FRAME | {"object": "chat.completion.chunk"}
    pieces = [
        {"index": 0, "id": "call-1", "type": "function", "function": {"name": "weather"}},
        {"index": 1, "id": "call-2", "type": "function", "function": {"name": "time"}},
        {"index": 0, "function": {"arguments": '{"city":'}},
        {"index": 1, "function": {"arguments": "{}"}},
        {"index": 0, "function": {"arguments": '"Köln"}'}},
    ]
    chunks = [
        frame | {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
        *(frame | {"choices": [{"index": 0, "delta": {"tool_calls": [one]}}]} for one in pieces),
        frame | {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
        frame | {"choices": [], "usage": USAGE},
    ]
    message = json.loads(body_of(sse(*chunks)))["choices"][0]["message"]
    second = {"id": "call-2", "type": "function", "function": {"name": "time", "arguments": "{}"}}
    assert message == {"role": "assistant", "content": None, "tool_calls": [CALL, second]}


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (b"", "was cut"),
        (DONE, "empty"),
        (sse(*real_stream(), done=False), "was cut"),
        (sse(*real_stream(usage=None)), "no usage"),
        (sse(*real_stream(ends=None)), "choice 0 did not come to its end"),
        (sse(*real_stream()[:2], {"error": {"message": "out of memory"}}), "brought an error"),
        (sse(*real_stream()).replace(b"Gr", b'"'), "no JSON"),
        (sse(*real_stream()) + b"data: {}\n\n", "the stream holds"),
        (b"event: x\n" + sse(*real_stream()), "the stream holds b'event: x'"),
        (sse(*real_stream()).replace(b'"token_ids":null', b'"token_ids":[1]'), "'token_ids'"),
        (sse(*real_stream()).replace(b'{"content":"!"}', b'{"audio":"!"}'), "'audio'"),
    ],
)
def test_a_stream_that_is_no_whole_answer_says_why(stream, reason):
    found = body_of(stream)
    assert isinstance(found, Unconvertible)
    assert reason in found.reason


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"no", "no JSON"),
        (b"[]", "no JSON object"),
        (packed({"object": "error"}), "'error', not a completion"),
        (packed(chat(prompt_logprobs=[None])), "'prompt_logprobs'"),
        (packed(chat(finish=None)), "did not come to its end"),
        (packed(chat(usage=None)), "no usage"),
        (packed(chat(choices=[])), "no choices"),
        (packed(chat(message={"annotations": ["x"]})), "'annotations'"),
        (packed(chat(message={"content": [{"type": "text"}]})), "content is no text"),
        (b'{"object":"text_completion","id":"\\ud800","usage":{},"choices":'
         b'[{"index":0,"text":"","finish_reason":"stop"}]}', "surrogate"),
    ],
)  # fmt: skip
def test_an_answer_that_no_stream_can_bring_says_why(answer, reason):
    found = stream_of(answer, include_usage=True)
    assert isinstance(found, Unconvertible)
    assert reason in found.reason


def test_fields_that_are_null_are_not_missed():
    body = chat(service_tier=None, prompt_logprobs=None, kv_transfer_params=None)
    assert json.loads(body_of(stream_of(packed(body), include_usage=True))) == chat()


NAMES = [
    "object", "choices", "usage", "index", "delta", "message", "text", "content", "role",
    "tool_calls", "function", "name", "arguments", "logprobs", "finish_reason", "id",
]  # fmt: skip
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=12,
)


def broken(answer, path, value):
    """The answer with something else at a path of keys."""
    copy = json.loads(json.dumps(answer))
    *way, last = path
    place = copy
    for step in way:
        place = place[step]
    place[last] = value
    return copy


PATHS = [
    ["object"], ["choices"], ["usage"], ["choices", 0], ["choices", 0, "index"],
    ["choices", 0, "message"], ["choices", 0, "message", "content"],
    ["choices", 0, "message", "tool_calls"], ["choices", 0, "message", "tool_calls", 0],
    ["choices", 0, "message", "tool_calls", 0, "function"], ["choices", 0, "logprobs"],
    ["choices", 0, "message", "tool_calls", 0, "function", "name"], ["choices", 0, "finish_reason"],
]  # fmt: skip


@given(st.sampled_from(PATHS), anything)
def test_whatever_a_body_holds_the_answer_is_a_stream_or_a_reason(path, value):
    body = packed(broken(ANSWERS["text and tools"], path, value))
    found = stream_of(body, include_usage=True)
    assert isinstance(found, bytes | Unconvertible)
    if isinstance(found, bytes):
        assert isinstance(body_of(found), bytes | Unconvertible)


DELTAS = [
    [0, "choices"], [0, "choices", 0], [1, "choices", 0, "delta"], [1, "choices", 0, "index"],
    [2, "choices", 0, "delta", "content"], [2, "choices", 0, "delta", "tool_calls"],
    [2, "choices", 0, "logprobs"], [4, "usage"], [3, "object"], [0, "object"],
]  # fmt: skip


@given(st.sampled_from(DELTAS), anything)
def test_whatever_a_stream_holds_the_answer_is_a_body_or_a_reason(path, value):
    assert isinstance(body_of(sse(*broken(real_stream(), path, value))), bytes | Unconvertible)


@contextmanager
def served(answer):
    """OpenAI's API with one answer, in both shapes."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body, kind = packed(answer), "application/json"
            if asked.get("stream"):
                usage = asked.get("stream_options", {}).get("include_usage", False)
                body, kind = stream_of(body, include_usage=usage), "text/event-stream"
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
            yield client
    finally:
        server.shutdown()
        server.server_close()


def test_openais_client_reads_a_chat_in_both_shapes():
    answer = chat(
        message={"tool_calls": [CALL]}, finish="tool_calls",
        logprobs={"content": [logprob("Grüße")]},
    )  # fmt: skip
    ask = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    with served(answer) as client:
        whole = client.chat.completions.create(**ask)
        options = {"stream": True, "stream_options": {"include_usage": True}}
        chunks = list(client.chat.completions.create(**ask, **options))
    said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert said == whole.choices[0].message.content == "Grüße, 世界"
    (call,) = [one for c in chunks if c.choices for one in c.choices[0].delta.tool_calls or ()]
    assert call.function.arguments == whole.choices[0].message.tool_calls[0].function.arguments
    tokens = [t for c in chunks if c.choices and c.choices[0].logprobs
              for t in c.choices[0].logprobs.content]  # fmt: skip
    assert tokens == whole.choices[0].logprobs.content
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason == "tool_calls"
    assert chunks[-1].usage == whole.usage


def test_openais_client_reads_a_text_in_both_shapes():
    with served(ANSWERS["text with log probabilities"]) as client:
        whole = client.completions.create(model="m", prompt="x")
        chunks = list(client.completions.create(model="m", prompt="x", stream=True))
    assert "".join(c.choices[0].text for c in chunks) == whole.choices[0].text == " and on"
    assert chunks[0].choices[0].logprobs == whole.choices[0].logprobs
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason == "length"


def test_openais_own_accumulator_makes_the_same_message():
    with served(ANSWERS["text and tools"]) as client:
        ask = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        with client.chat.completions.stream(**ask) as stream:
            message = stream.get_final_completion().choices[0].message
    assert message.content == "Grüße, 世界"
    assert message.tool_calls[0].function.arguments == CALL["function"]["arguments"]
