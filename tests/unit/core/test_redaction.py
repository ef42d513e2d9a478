import random
import secrets
import string
import time

import pytest

from greenlight.core.redaction import HIDDEN, LONGEST, is_secret, redact
from greenlight.gateway.key_format import new_key_text

KEY = new_key_text(secrets.token_bytes).text
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbmEiLCJleHAiOjF9.c2lnbmF0dXJlLW9mLWl0"


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer S3CRETS3CRET",
        "headers={'authorization': 'Basic dXNlcjpTM0NSRVQ='}".replace("dXNlcjpTM0NSRVQ=", "S3CRET"),
        '"Authorization": "Bearer S3CRETS3CRET"',
        "sent bearer S3CRETS3CRET to it",
        "postgresql+psycopg2://greenlight:S3CRET@127.0.0.1:5432/db",
        "redis://:S3CRET@localhost",
        "amqp://user:p@S3CRET@host/x",
        "password=S3CRET",
        'PGPASSWORD="S3CRET with blanks"',
        "{'password': 'S3CRET', 'user': 'u'}",
        "client_secret=S3CRET&grant_type=client_credentials",
        "AWS_SECRET_ACCESS_KEY=S3CRET",
        "x-api-key: S3CRET",
        "api_key = 'S3CRET'",
        "refresh_token=S3CRET;",
        '{"prompt": "S3CRET plans"}',
        '{"messages": [{"role": "user", "content": "my S3CRET \\" is S3CRET"}], "n": 1}',
        "{'messages': [{'role': 'user', 'content': 'S3CRET'}]}",
        '{"prompt": ["S3CRET", "S3CRET"], "n": 1}',
        '{"content": "cut in the middle of S3CRET',
        "-----BEGIN RSA PRIVATE KEY-----\nS3CRET\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nS3CRET",
        "hf_S3CRET" + "a" * 30,
        "sk-proj-S3CRET" + "a" * 30,
    ],
)
def test_a_secret_does_not_pass(text):
    assert "S3CRET" in text
    assert "S3CRET" not in redact(text)
    assert HIDDEN in redact(text)


def test_a_key_keeps_the_id_that_names_it_and_a_token_nothing():
    assert redact(f"refused {KEY}!") == f"refused {KEY[:21]}{HIDDEN}!"
    assert redact(f"token is {JWT}.") == f"token is {HIDDEN}."


@pytest.mark.parametrize(
    "text",
    [
        "rollout to-3: shift 50 done",
        "max_tokens=512, prompt_tokens=7, answer_tokens: 9",
        "host gpu-1 answers 3 of 3 golden prompts otherwise",
        "http://127.0.0.1:8080/v1/chat/completions answered HTTP 503",
        "s3://bucket/path@2026",
        "the secret gateway_audit is missing; run greenlight secrets init",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "sha256:" + "a" * 64,
        "see docs/runbooks/deploy.md#rolloutstuck",
    ],
)
def test_what_an_operator_needs_stays(text):
    assert redact(text) == text


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("password", True), ("db_password", True), ("apiKey", True), ("API_KEY", True),
        ("access-key", True), ("authToken", True), ("prompt", True), ("user_content", True),
        ("key", False), ("tokens", False), ("prompt_tokens", False), ("job", False),
        ("message_count", False), ("secretary", False),
    ],
)  # fmt: skip
def test_a_name_tells_whether_its_value_is_shown(name, secret):
    assert is_secret(name) is secret


@pytest.mark.parametrize(
    "piece",
    ["://a:", '"content": "', "password=", "a_" * 20 + "token", "-----BEGIN ", "eyJaaaaaaaa.",
     "authorization: basic ", "\\", "['", "Bearer a", "'prompt': ["],
)  # fmt: skip
def test_a_text_made_to_be_slow_is_not(piece):
    began = time.perf_counter()
    redact(piece * (2 * LONGEST // len(piece)))
    assert time.perf_counter() - began < 2


def test_anything_at_all_comes_out_bounded():
    letters = string.printable + "\"'\\:@=[]{}"
    chance = random.Random(1)
    for _ in range(200):
        text = "".join(chance.choice(letters) for _ in range(chance.randrange(400)))
        assert len(redact(text)) < len(text) + 40 * len(HIDDEN)
