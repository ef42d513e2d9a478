import re

import pytest
from pydantic import ValidationError

from greenlight.gateway.edge import GRAMMARS, PROMPT_FIELDS, EdgeSettings


def settings(**changes):
    return EdgeSettings.model_validate(
        {"port": 8443, "upstream_port": 8080, "certificate": "/a b/c.pem", "key": "/a b/k.pem"}
        | changes
    )


def test_a_path_may_hold_spaces():
    assert str(settings().certificate) == "/a b/c.pem"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"listen": 1}, "listen"),
        ({"address": "localhost"}, "localhost"),
        ({"upstream_address": "a b"}, "upstream_address"),
        ({"upstream_address": "127.0.0.1:80; include /etc/passwd"}, "upstream_address"),
        ({"certificate": "relative.pem"}, "must be absolute"),
        ({"key": '/a"; user root; #'}, "reads as its own"),
        ({"rules": "/rules/$x"}, "reads as its own"),
        ({"worker_user": "www-data; user root"}, "worker_user"),
        ({"more_prompt_fields": ["a)|(b"]}, "more_prompt_fields"),
        ({"more_prompt_fields": [".*"]}, "more_prompt_fields"),
        ({"requests_per_second": 0}, "requests_per_second"),
        ({"port": 70000}, "port"),
        ({"upstream_port": 8443}, "8443 is both"),
    ],
)
def test_what_nginx_would_misread_is_refused(changes, told):
    with pytest.raises(ValidationError, match=re.escape(told)):
        settings(**changes)


GOOD = {
    "model": ["greenlight-smollm2", "HuggingFaceTB/SmolLM2-135M", "ft:gpt-4o:acme::9Z4a", "a@v1.2"],
    "messages[].role": ["user", "developer", "tool"],
    "tools[].function.name": ["get_weather", "db.query-v2"],
    "messages[].name": ["alice_2", "Jürgen", "team: a+b@example.com"],
    "logit_bias.*": ["-100", "0.5", "1e2", ""],
}
BAD = {
    "model": ["", "/etc/passwd", "a/../b", "a//b", "a b", "a;b", "a\n", "<a>", "${a}", "a" * 300],
    "messages[].role": ["User1", "user'", "user\n", "a b"],
    "tools[].function.name": ["", "a b", "os.system('id')", "a" * 129, "a\n"],
    "messages[].name": ["", "<b>", "a;b", "a'b", "../a", "$(a)"],
    "logit_bias.*": ["a", "1;2", "${a}"],
}


def matches(field, text):
    [grammar] = [one for one in GRAMMARS if field in one.fields]
    expression = grammar.expression.replace(r"\z", r"\Z").encode()
    return re.search(expression, text.encode()) is not None


@pytest.mark.parametrize("field", GOOD)
def test_what_clients_send_as_a_name_fits_its_grammar(field):
    assert [text for text in GOOD[field] if not matches(field, text)] == []


@pytest.mark.parametrize("field", BAD)
def test_what_could_be_an_attack_does_not(field):
    assert [text for text in BAD[field] if matches(field, text)] == []


def test_a_name_is_never_taken_for_a_prompt():
    named = {field for grammar in GRAMMARS for field in grammar.fields}
    assert named & set(PROMPT_FIELDS) == set()
    for field in ("user", "stop", "metadata", "messages[].content[].image_url.url"):
        assert not any(one.startswith(field) for one in PROMPT_FIELDS)
