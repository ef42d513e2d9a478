import json
import re

import pytest

from greenlight.adapters.nginx.config import names_expression, render_modsecurity, render_nginx
from greenlight.core.errors import ConfigError
from greenlight.gateway.edge import PROMPT_FIELDS, EdgeSettings


def settings(**changes):
    return EdgeSettings.model_validate(
        {"port": 8443, "upstream_port": 8080, "certificate": "/a b/c.pem", "key": "/a b/k.pem"}
        | changes
    )


def lines(edge, *, is_root=False):
    return [line.strip() for line in render_nginx(edge, is_root=is_root).splitlines()]


def test_nginx_and_the_firewall_have_the_same_limit_of_a_body():
    edge = settings(body_bytes=12345)
    assert {"client_max_body_size 12345;", "client_body_buffer_size 12345;"} <= set(lines(edge))
    limits = re.findall(r"^SecRequestBody(?:NoFiles)?Limit (\d+)$", render_modsecurity(edge), re.M)
    assert limits == ["12345", "12345"]


@pytest.mark.parametrize("name", ["port", "upstream_port"])
def test_a_port_that_is_still_to_be_chosen_is_named(name):
    with pytest.raises(ConfigError, match=f"edge.{name} is 0"):
        render_nginx(settings(**{name: 0}), is_root=False)


@pytest.mark.parametrize(
    ("address", "listen"),
    [("0.0.0.0", "0.0.0.0:8443"), ("::1", "[::1]:8443"), ("127.0.0.1", "127.0.0.1:8443")],
)
def test_addresses_of_both_kinds_are_written_as_nginx_reads_them(address, listen):
    [line] = [line for line in lines(settings(address=address)) if line.startswith("listen ")]
    assert line.split()[1] == listen


def test_rights_are_given_up_only_where_there_are_some():
    assert "user www-data;" in lines(settings(), is_root=True)
    assert not any(line.startswith("user ") for line in lines(settings(), is_root=False))


def test_every_error_of_nginx_has_the_shape_that_clients_read():
    found = re.findall(r"return (\d+) '(.*)';", render_nginx(settings(), is_root=False))
    assert {"400", "403", "404", "413", "429", "500", "502", "504"} <= {code for code, _ in found}
    for status, body in found:
        error = json.loads(body)["error"]
        kind = "server_error" if status >= "500" else "invalid_request_error"
        assert error["type"] == ("rate_limit_error" if status == "429" else kind)
        assert set(body) & set("'\\$") == set()


def test_rules_are_logged_only_when_that_was_asked():
    assert "error_log error.log error;" in lines(settings())
    assert "error_log error.log info;" in lines(settings(log_rules=True))


def matches(name):
    return re.fullmatch(names_expression(PROMPT_FIELDS), name) is not None


@pytest.mark.parametrize(
    "name",
    [
        "json.prompt",
        "json.prompt.array_3",
        "json.messages.array_0.content",
        "json.messages.array_12.content.array_1.text",
        "json.messages.array_0.tool_calls.array_0.function.arguments",
        "json.tools.array_0.function.parameters.properties.q.description",
    ],
)
def test_names_of_prompts_are_known_as_modsecurity_writes_them(name):
    assert matches(name)


@pytest.mark.parametrize(
    "name",
    [
        "json.model",
        "json.promptx",
        "json.prompt.x",
        "prompt",
        "xjson.prompt",
        "json.messages.array_0.content.array_0.image_url.url",
        "json.messages.array_0.contents",
        "json.messages.array_x.content",
        "json.messages_array_0_content",
        "json.messages.array_0.tool_calls.array_0.function.name",
        "json.tools.array_0.function.parameters",
        "json.stop.array_0",
    ],
)
def test_no_other_name_is_taken_for_one(name):
    assert not matches(name)
