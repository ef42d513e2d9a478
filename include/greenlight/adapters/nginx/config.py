"""Render nginx's configuration and the WAF's from the edge's settings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from greenlight.core.errors import ConfigError
from greenlight.gateway.edge import GRAMMARS, PATHS, PROMPT_FIELDS, EdgeSettings

LIMITED, SERVER_ERROR = 429, 500
JSON_DEPTH = 64
VALUES = 4000
"""Of a body: 512 messages with tool calls, and 60 tools."""
INSPECTED_BYTES, INSPECTED_VALUES = 1024, 256
"""Of a value that is neither a prompt nor a name with a grammar, and how many of them."""
FIRST_GRAMMAR = 10030
HIDDEN = (
    "Strict-Transport-Security", "X-Content-Type-Options", "Content-Security-Policy",
    "Referrer-Policy", "X-Request-ID", "X-Powered-By",
)  # fmt: skip
"""Headers of an answer that are ours to set."""
DROPPED = ("X-Forwarded-Host", "X-Forwarded-Port", "Forwarded", "Cookie", "Proxy")
"""Headers of a request that the gateway must not believe."""

_ACCEPT = ("Accept", "Accept-Encoding", "Accept-Language")
HEADER_TAGS = {
    "attack-sqli": (*_ACCEPT, "Cookie"),
    "attack-xss": _ACCEPT,
    "attack-rce": _ACCEPT,
    "attack-lfi": (),
    "attack-injection-php": (),
}
"""Rules that look at every header, but those that have a grammar or a variable of their own."""

# Written between apostrophes in nginx's configuration: without any, and without $ and \.
_ERRORS = {
    400: ("bad_request", "the request is malformed"),
    403: ("blocked_by_waf", "the request looks like an attack and was blocked"),
    404: ("unknown_url", "there is nothing at this address"),
    405: ("method_not_allowed", "only GET, HEAD and POST are allowed"),
    408: ("request_timeout", "the request did not arrive in time"),
    411: ("length_required", "the body must come with a Content-Length, not in chunks"),
    413: ("request_too_large", "the body is longer than {body_bytes} bytes"),
    414: ("uri_too_long", "the address is too long"),
    415: ("unsupported_media_type", "the body must be application/json in UTF-8, not compressed"),
    429: ("rate_limit_exceeded", "too many requests from this address; try again in a second"),
    431: ("headers_too_large", "the headers are too long"),
    500: ("internal_error", "the request could not be handled"),
    501: ("not_implemented", "the request uses a part of HTTP that is not supported"),
    502: ("gateway_failed", "the gateway failed while it answered; try again"),
    503: ("gateway_busy", "the gateway cannot answer now; try again"),
    504: ("gateway_timeout", "the gateway did not answer in time"),
    505: ("http_version", "this version of HTTP is not supported"),
}

_TEMPLATES = Environment(
    # Not HTML: nothing is to be escaped.
    loader=FileSystemLoader(Path(__file__).parent),
    undefined=StrictUndefined,
    keep_trailing_newline=True,
    autoescape=False,  # noqa: S701
)


def render_nginx(edge: EdgeSettings, *, is_root: bool) -> str:
    """Return `nginx.conf`. `is_root`: whether nginx is started by root, and can give rights up.

    Raises:
        ConfigError: a port is still to be chosen.
    """
    for name, port in (("port", edge.port), ("upstream_port", edge.upstream_port)):
        if not port:
            raise ConfigError(
                f"edge.{name} is 0; choose a port from 1 to 65535 before nginx starts"
            )
    return _TEMPLATES.get_template("nginx.conf.j2").render(
        edge=edge,
        listen=f"{_bracketed(edge.address)}:{edge.port}",
        upstream=f"{edge.upstream_address}:{edge.upstream_port}",
        worker_user=edge.worker_user if is_root else None,
        hidden_headers=HIDDEN,
        dropped_headers=DROPPED,
        paths=[re.escape(path) for path in PATHS],
        errors={status: error_body(status, edge) for status in _ERRORS},
    )


def render_modsecurity(edge: EdgeSettings) -> str:
    """Return `modsecurity.conf`."""
    prompts = [*PROMPT_FIELDS, *edge.more_prompt_fields]
    return _TEMPLATES.get_template("modsecurity.conf.j2").render(
        edge=edge,
        json_depth=JSON_DEPTH,
        values=VALUES,
        inspected_bytes=INSPECTED_BYTES,
        inspected_values=INSPECTED_VALUES,
        header_tags=HEADER_TAGS,
        grammars=[
            {
                "number": FIRST_GRAMMAR + number,
                "variables": f"ARGS:'/^{names_expression(grammar.fields)}\\z/'",
                "expression": grammar.expression,
                "message": grammar.message,
            }
            for number, grammar in enumerate(GRAMMARS)
        ],
        prompt_names=names_expression(prompts),
        spared_names=names_expression(
            [*prompts, *(field for grammar in GRAMMARS for field in grammar.fields)]
        ),
    )


def names_expression(fields: Iterable[str]) -> str:
    """Return the expression for the names that ModSecurity gives to fields.

    It calls `{"messages": [{"content": ["x"]}]}` json.messages.array_0.content.array_0. Only the
    quoted form of an expression may hold groups.
    """
    patterns = "|".join(
        re.escape(field).replace(r"\[\]", r"\.array_[0-9]+").replace(r"\.\*", r"\..+")
        for field in fields
    )
    return f"json\\.(?:{patterns})"


def error_body(status: int, edge: EdgeSettings) -> str:
    """Return what a client is told with a status of nginx's own."""
    code, message = _ERRORS[status]
    kind = "rate_limit_error" if status == LIMITED else "invalid_request_error"
    error = {
        "message": message.format(body_bytes=edge.body_bytes),
        "type": "server_error" if status >= SERVER_ERROR else kind,
        "param": None,
        "code": code,
    }
    return json.dumps({"error": error})


def _bracketed(address: str) -> str:
    return f"[{address}]" if ip_address(address).version == 6 else address
