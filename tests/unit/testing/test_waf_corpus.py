import json
import re
from collections import Counter

import pytest

from greenlight.core.errors import InputError
from greenlight.core.settings import PROJECT
from greenlight.testing.waf_corpus import OTHERS, PROMPTS, Case, Kind, read_corpus, request_of

CORPUS = PROJECT / "tests/waf/corpus.jsonl"


def write(path, *rows):
    path.write_text(
        "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    )
    return path


def carried(where, text):
    request = request_of(Case(kind="attack", where=where, text=text, line=1))
    head, _, body = request.partition(b"\r\n\r\n")
    return head.decode("utf-8", "surrogateescape"), body


def test_a_line_needs_three_keys_and_may_have_more(tmp_path):
    rows = [{"kind": "benign", "where": "messages", "text": "a\u2028b", "note": 1}]
    [case] = read_corpus(write(tmp_path / "c.jsonl", *rows, ""))
    assert (case.kind, case.text, case.category, case.line) == (Kind.BENIGN, "a\u2028b", "none", 1)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"kind": "benign", "where": "mesages", "text": ""}, "line 2: where 'mesages' is unknown"),
        ({"kind": "benign", "where": "header:", "text": ""}, "line 2: where 'header:' is unknown"),
        ({"kind": "benign", "where": "prompt:x", "text": ""}, "'prompt:x' is unknown"),
        ({"kind": "harmless", "where": "user", "text": ""}, "line 2: kind"),
        ({"kind": "benign", "text": ""}, "line 2: where: Field required"),
        ({"kind": "benign", "where": "user", "text": 1}, "line 2: text"),
        ("{", "line 2: not a JSON object"),
        ("[1]", "line 2: not a JSON object"),
        ("1", "line 2: not a JSON object"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path, row, told):
    good = {"kind": "benign", "where": "messages", "text": "a"}
    with pytest.raises(InputError, match=re.escape(told)):
        read_corpus(write(tmp_path / "c.jsonl", good, row))


def test_an_empty_corpus_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no line"):
        read_corpus(write(tmp_path / "c.jsonl"))


def values(found):
    if isinstance(found, dict):
        return [*found, *(one for value in found.values() for one in values(value))]
    if isinstance(found, list):
        return [one for value in found for one in values(value)]
    return [found]


@pytest.mark.parametrize(
    "where", sorted((PROMPTS | OTHERS) - {"body", "query", "path", "method", "cookie", "raw"})
)
def test_a_field_carries_its_text(where):
    head, body = carried(where, "a <b> 'c'")
    assert values(json.loads(body)).count("a <b> 'c'") == (
        2 if where in {"tool_call_id", "tool_name"} else 1
    )
    assert f"Content-Length: {len(body)}" in head
    path = "completions" if where in {"prompt", "prompts", "suffix"} else "chat/completions"
    assert head.startswith(f"POST /v1/{path} HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("where", "text", "wanted"),
    [
        ("header:X-A", "${x}", "\r\nX-A: ${x}"),
        ("header:User-Agent", "sqlmap", "\r\nUser-Agent: sqlmap"),
        ("cookie", "a=<b>", "\r\nCookie: a=<b>"),
        ("query", "1' OR 1=1", "GET /v1/models?q=1%27%20OR%201%3D1 HTTP/1.1"),
        ("query", "%27%u0027 100%", "GET /v1/models?q=%27%u0027%20100%25 HTTP/1.1"),
        ("query", "?a=<b>&c=d e", "GET /v1/models?a=<b>&c=d%20e HTTP/1.1"),
        ("path", "/../a b", "GET /../a%20b HTTP/1.1"),
        ("path", "x", "GET /v1/models/x HTTP/1.1"),
        ("method", "TRACE", "TRACE /v1/models HTTP/1.1"),
        ("body:text/xml", "<a/>", "\r\nContent-Type: text/xml"),
    ],
)
def test_the_rest_of_a_request_carries_its_text(where, text, wanted):
    assert wanted in carried(where, text)[0]


def test_a_raw_request_is_sent_as_it_is_and_may_hold_any_byte():
    case = Case(kind="attack", where="raw", text="GET /\udcff\r\n\r\n", line=1)
    assert request_of(case) == b"GET /\xff\r\n\r\n"
    assert carried("body", '{"a":"\udcfe"}')[1] == b'{"a":"\xfe"}'


def test_the_shipped_corpus_is_broad():
    cases = read_corpus(CORPUS)
    kinds = Counter(case.kind for case in cases)
    assert kinds[Kind.BENIGN] >= 200
    assert kinds[Kind.ATTACK] >= 60
    assert {case.where.partition(":")[0] for case in cases} >= PROMPTS | OTHERS | {
        "header",
        "field",
    }
    assert not any(case.is_prompt for case in cases if case.kind == Kind.ATTACK)
    texts = Counter((case.where, case.text) for case in cases)
    assert max(texts.values()) == 1
    assert max(len(request_of(case)) for case in cases) > 131_072
