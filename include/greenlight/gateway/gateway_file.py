"""`gateway.yaml`: what is served to whom, with which limits.

`include/config/gateway.example.yaml` documents every key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from greenlight.core.errors import ConfigError
from greenlight.core.settings import read_config
from greenlight.core.types import Value
from greenlight.gateway.edge import EdgeSettings
from greenlight.gateway.limits import MICRO, Charge, Holder, Limit, LimitKind
from greenlight.gateway.principals import KNOWN_SCOPES, Principal, scope_problem

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$")]
Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Money = Annotated[float, Field(ge=0)]
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA", "Ed25519"]
"""Signatures with a public key only: a shared key would let every verifier sign."""

TcpPort = Annotated[int, Field(ge=0, le=65535)]


class Listen(Value):
    """Where the gateway listens; port 0 asks the kernel."""

    address: str = "127.0.0.1"
    port: TcpPort = 0
    metrics_port: TcpPort = 0
    workers: Annotated[int, Field(ge=1, le=64)] = 1


class Price(Value):
    """In the budgets' currency, per million tokens."""

    input_per_million: Money
    output_per_million: Money


class ServedModel(Value):
    """One model that clients may name."""

    name: Name
    upstream: Url
    """The router of its fleet, without `/v1`."""
    fleet: Name | None = None
    """Whose journal says which digest each colour serves. None: Greenlight doesn't deploy it, so
    nothing is cached, and `tokenizer` is needed."""
    context: Count
    """Prompt and answer together, in tokens: the engine's `max-model-len`."""
    default_max_tokens: Count = 256
    """What an answer may take when the request says nothing; reserved, and sent to the engine."""
    tokenizer: Path | None = None
    """A folder with `tokenizer.json` and `tokenizer_config.json`; none: the live version's own."""
    price: Price | None = None
    """None: nothing is charged, and budgets don't count this model."""

    @model_validator(mode="after")
    def _can_count(self) -> Self:
        if self.fleet is None and self.tokenizer is None:
            raise ValueError("needs `tokenizer`, or `fleet` whose live version brings its own")
        if self.default_max_tokens >= self.context:
            raise ValueError(
                f"default_max_tokens ({self.default_max_tokens}) leaves no room for a prompt in "
                f"context ({self.context})"
            )
        return self

    def charge(self, *, prompt: int, answer: int) -> Charge:
        """Return tokens and money of a call."""
        spend = 0
        if self.price is not None:
            per_million = (
                prompt * self.price.input_per_million + answer * self.price.output_per_million
            )
            spend = round(per_million * MICRO / 1_000_000)
        return Charge(tokens=prompt + answer, spend=spend)


class Issuer(Value):
    """An OpenID Connect issuer whose access tokens are accepted."""

    issuer: Url
    audience: Annotated[str, StringConstraints(min_length=1)]
    algorithms: tuple[Algorithm, ...] = ("RS256", "ES256", "EdDSA", "Ed25519")
    jwks_url: Url | None = None
    """None: found by discovery (`/.well-known/openid-configuration`)."""
    ca_file: Path | None = None
    types: tuple[str, ...] = ("at+jwt", "JWT")
    """What the header's `typ` may say (RFC 8725 3.11, RFC 9068); another kind of token fails."""
    tenant_claim: str = "tenant"
    tenant: Name | None = None
    """The tenant of all its tokens; none: `tenant_claim` names it."""
    scope_claim: str = "scope"
    max_age_s: Seconds = 3600
    """A key set is read again after this long, and when a token names an unknown key."""
    leeway_s: Annotated[float, Field(ge=0, le=300)] = 30
    """How far clocks may be apart."""

    @field_validator("algorithms", "types")
    @classmethod
    def _some(cls, chosen: tuple[str, ...]) -> tuple[str, ...]:
        if not chosen:
            raise ValueError("at least one is needed")
        return chosen

    @model_validator(mode="after")
    def _over_tls(self) -> Self:
        for url in filter(None, (self.issuer, self.jwks_url)):
            host = url.split("/")[2].rsplit(":", 1)[0]
            if url.startswith("http://") and host not in {"127.0.0.1", "localhost", "[::1]"}:
                raise ValueError(f"{url} must be https: who answers it decides who gets in")
        return self


class Allowance(Value):
    """Limits of a key or a tenant; what is absent is not limited."""

    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    streams: Count | None = None
    spend_per_day: Money | None = None
    spend_per_month: Money | None = None

    def limits(self, holder: Holder, subject: str) -> tuple[Limit, ...]:
        """Return them for one subject, money in millionths."""
        found = []
        for kind in LimitKind:
            amount = getattr(self, kind)
            if amount is not None:
                is_money = kind in {LimitKind.SPEND_DAY, LimitKind.SPEND_MONTH}
                amount = round(amount * MICRO) if is_money else amount
                found.append(Limit(kind=kind, holder=holder, subject=subject, amount=amount))
        return tuple(found)


class Tenant(Value):
    """Who pays: an allowance of their own, and one for each of their keys and subjects."""

    name: Name
    limits: Allowance = Allowance()
    each_key: Allowance = Allowance()
    scopes: tuple[str, ...] = tuple(sorted(KNOWN_SCOPES - {"cache:bypass"}))
    """The most that a credential of theirs can carry."""

    @field_validator("scopes")
    @classmethod
    def _known(cls, scopes: tuple[str, ...]) -> tuple[str, ...]:
        if problems := [problem for scope in scopes if (problem := scope_problem(scope))]:
            raise ValueError(problems[0])
        return scopes


class RedisSettings(Value):
    """Where limits and the second level of the cache are."""

    url: Annotated[str, StringConstraints(pattern=r"^(rediss?|unix)://[^@]+$")] | None = None
    """Without a password, which is in `password_file`; none: the embedded stack's."""
    password_file: Path | None = None
    ca_file: Path | None = None
    when_away: Literal["closed", "open"] = "closed"
    """`closed`: nobody is served while limits can't be counted. `open`: everybody is."""
    timeout_s: Seconds = 1.0


class CacheSettings(Value):
    """Answers that are kept. Only deterministic requests are, unless a request asks."""

    enabled: bool = True
    memory_bytes: Annotated[int, Field(ge=0)] = 64 * 1024**2
    """Of each worker."""
    answer_bytes: Count = 1024**2
    """A longer answer isn't kept."""
    ttl_s: Seconds = 3600
    jitter: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    """A time to live is up to this share shorter, so that what was kept together ends apart."""
    wait_s: Seconds = 120
    """How long a request waits for the same one that is being answered."""


class UpstreamSettings(Value):
    """Connections to a fleet's router, of each worker."""

    connections: Count = 512
    acquire_s: Seconds = 5
    connect_s: Seconds = 2
    first_byte_s: Seconds = 120
    """Until the answer begins; a long prompt takes long."""
    idle_s: Seconds = 120
    """Between two pieces of a stream."""
    total_s: Seconds = 1800
    retries: Annotated[int, Field(ge=0, le=5)] = 2
    """Only while nothing was sent to the client."""
    retry_budget: Annotated[float, Field(ge=0, le=1)] = 0.1
    """At most this share of the last requests may be retries."""
    breaker_failures: Count = 20
    """So many failures in a row open the circuit."""
    breaker_open_s: Seconds = 5


class RequestBounds(Value):
    """What a request may look like before anything else is asked of it."""

    body_bytes: Count = 1024**2
    depth: Annotated[int, Field(ge=3, le=64)] = 12
    messages: Count = 512
    unknown_parameters: Literal["refuse", "pass"] = "refuse"


class AuditSettings(Value):
    """The log of who asked what and what was decided; prompts are never in it."""

    keep_days: Annotated[int, Field(ge=1)] = 400
    every_s: Seconds = 2.0
    """Records reach the database in batches this far apart; until then they are in a file."""


class GatewayFile(Value):
    """All of `gateway.yaml`."""

    listen: Listen = Listen()
    models: tuple[ServedModel, ...]
    tenants: tuple[Tenant, ...]
    issuers: tuple[Issuer, ...] = ()
    api_keys: bool = True
    key_cache_s: Seconds = 5
    """A revoked key may still open for this long."""
    redis: RedisSettings = RedisSettings()
    cache: CacheSettings = CacheSettings()
    upstream: UpstreamSettings = UpstreamSettings()
    requests: RequestBounds = RequestBounds()
    audit: AuditSettings = AuditSettings()
    edge: EdgeSettings | None = None
    """nginx in front; none: somebody else's."""
    metrics_tenants: tuple[Name, ...] = ()
    """Tenants that have series of their own; all others share the label `other`."""

    @field_validator("models", "tenants")
    @classmethod
    def _distinct(cls, found: tuple[ServedModel | Tenant, ...]) -> tuple[object, ...]:
        names = [one.name for one in found]
        if not names:
            raise ValueError("at least one is needed")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{', '.join(twice)} is there twice")
        return found

    @model_validator(mode="after")
    def _the_edge_lets_bodies_through(self) -> Self:
        if self.edge is not None and self.edge.body_bytes < self.requests.body_bytes:
            raise ValueError(
                f"edge.body_bytes ({self.edge.body_bytes}) is below requests.body_bytes "
                f"({self.requests.body_bytes}): nginx would refuse what the gateway takes"
            )
        return self

    @model_validator(mode="after")
    def _somebody_can_enter(self) -> Self:
        if not self.api_keys and not self.issuers:
            raise ValueError("nobody could enter: api_keys is false and there are no issuers")
        return self

    def model(self, name: str) -> ServedModel | None:
        """Return the model a client names, or nothing."""
        return next((model for model in self.models if model.name == name), None)

    def tenant(self, name: str) -> Tenant | None:
        """Return a tenant, or nothing."""
        return next((tenant for tenant in self.tenants if tenant.name == name), None)

    def limits_of(self, principal: Principal) -> tuple[Limit, ...]:
        """Return all limits of a request of theirs, the key's first."""
        tenant = self.tenant(principal.tenant)
        if tenant is None:
            raise ConfigError(f"tenant {principal.tenant!r} is not in gateway.yaml")
        return (
            *tenant.each_key.limits(Holder.KEY, principal.subject),
            *tenant.limits.limits(Holder.TENANT, tenant.name),
        )


def load_gateway_file(path: Path) -> GatewayFile:
    """Read the file.

    Raises:
        ConfigError: it can't be read, has an unknown key or a bad value.
    """
    return read_config(path, GatewayFile)
