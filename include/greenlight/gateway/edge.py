"""The public side of the gateway: TLS, a firewall for requests (WAF), a rate per address.

What has a grammar is held to it (paths, query strings, names), the rest of a request is inspected
by the OWASP Core Rule Set, and a prompt is neither: it may be code, SQL, a log, an exploit that
somebody asks about. Whether it may be asked is for the model and the gateway to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from greenlight.core.types import Value

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[int, Field(ge=1)]
TcpPort = Annotated[int, Field(ge=0, le=65535)]
HostName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$")]
UserName = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")]
FieldPath = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z_]\w*(\[\])*(\.[A-Za-z_]\w*(\[\])*)*(\.\*)?$")
]

PATHS = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/models",
    "/healthz",
    "/readyz",
    "/openapi.json",
)
"""All that clients can ask for, beside `/v1/models/NAME`. The rest of the gateway isn't public."""

PROMPT_FIELDS = (
    "messages[].content",
    "messages[].content[].text",
    "messages[].content[].refusal",
    "messages[].refusal",
    "messages[].reasoning_content",
    "messages[].tool_calls[].function.arguments",
    "messages[].tool_calls[].custom.input",
    "messages[].function_call.arguments",
    "prompt",
    "prompt[]",
    "suffix",
    "prediction.content",
    "prediction.content[].text",
    "tools[].function.description",
    "tools[].function.parameters.*",
    "tools[].custom.description",
    "functions[].description",
    "functions[].parameters.*",
    "response_format.json_schema.description",
    "response_format.json_schema.schema.*",
)
"""Where OpenAI's API takes text for the model. `[]`: any element; `.*`: all below.

Deliberately absent, and so checked: model, role, names and ids (`GRAMMARS`); user, stop, metadata,
URLs of images and whatever isn't known (OWASP's rules).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """Fields that are names, and how such a name looks: as wide as any client's, no wider."""

    fields: tuple[str, ...]
    expression: str
    message: str


GRAMMARS = (
    Grammar(
        fields=("model",),
        expression=r"^[A-Za-z0-9](?:[\w:@+-]|[./](?![./])){0,255}\z",
        message="No model is called this",
    ),
    Grammar(
        fields=(
            "messages[].role",
            "messages[].content[].type",
            "messages[].tool_calls",
            "messages[].tool_calls[].type",
            "messages[].function_call",
            "messages[].audio",
            "tools[].type",
            "tools[].function.strict",
        ),
        # empty: null, which clients send back in every message that an answer was
        expression=r"^[a-z_]{0,32}\z",
        message="No role, type or switch is called this",
    ),
    Grammar(
        fields=(
            "tools[].function.name",
            "tool_choice.function.name",
            "messages[].tool_calls[].function.name",
            "functions[].name",
            "messages[].function_call.name",
            "response_format.json_schema.name",
        ),
        expression=r"^[\w.-]{1,128}\z",
        message="No function is called this",
    ),
    Grammar(
        fields=("messages[].name", "messages[].tool_call_id", "messages[].tool_calls[].id"),
        expression=r"^[\w .:@+=\x80-\xff-]{1,256}\z",
        message="No name or id looks like this",
    ),
    Grammar(
        fields=("logit_bias.*",),
        expression=r"^-?[\d.eE+-]{0,24}\z",
        message="No bias looks like this",
    ),
)


class EdgeSettings(Value):
    """How nginx listens and what it lets through."""

    address: str = "127.0.0.1"
    port: TcpPort
    """0: to be chosen; nginx can't be told to ask the kernel."""
    certificate: Path
    """PEM: the certificate, then those between it and the root."""
    key: Path
    upstream_address: HostName = "127.0.0.1"
    """Where the gateway listens, in plain HTTP: this machine or a private network."""
    upstream_port: TcpPort = 0
    """0: the gateway's own, of the same gateway.yaml."""
    body_bytes: Count = 1024**2
    """The longest body, for nginx and for the WAF; no less than what the gateway takes."""
    requests_per_second: Count = 20
    """Of one client address, before any credential is looked at."""
    burst: Count = 40
    """So many more at once before an address gets 429."""
    silence_s: Seconds = 660
    """How long an answer may be silent; longer than the gateway itself waits for one."""
    upstream_idle_s: Seconds = 4
    """An idle connection to the gateway is closed after this; sooner than the gateway does it."""
    workers: Annotated[int, Field(ge=1, le=128)] = 2
    connections: Annotated[int, Field(ge=64)] = 4096
    """Of each worker; a request needs two."""
    more_prompt_fields: tuple[FieldPath, ...] = ()
    """Text for the model beside `PROMPT_FIELDS`, for a gateway that passes unknown parameters on,
    such as `guided_json.*`."""
    log_rules: bool = False
    """Write to `error.log` which rules matched, with the piece of a value that each did: for
    tuning. Never of a prompt, but prompts that a client puts where none belongs are seen."""
    worker_user: UserName = "www-data"
    """Whom workers run as when nginx is started by root."""
    modules: Path = Path("/usr/lib/nginx/modules")
    rules: Path = Path("/usr/share/modsecurity-crs/rules")
    unicode_map: Path = Path("/etc/nginx/unicode.mapping")

    @field_validator("address")
    @classmethod
    def _is_an_address(cls, address: str) -> str:
        ip_address(address)
        return address

    @field_validator("certificate", "key", "modules", "rules", "unicode_map")
    @classmethod
    def _is_plain(cls, path: Path) -> Path:
        """Refuse what nginx would read as more than a path."""
        if not path.is_absolute():
            raise ValueError(f"{path} must be absolute")
        if found := sorted(set(str(path)) & set("\"'\\$;{}\r\n")):
            raise ValueError(f"{str(path)!r} holds {found[0]!r}, which nginx reads as its own")
        return path

    @model_validator(mode="after")
    def _no_loop(self) -> Self:
        if self.port and self.port == self.upstream_port and self.address == self.upstream_address:
            raise ValueError(f"port {self.port} is both nginx's and the gateway's")
        return self
