"""Who asks, and what the scopes they carry allow.

A scope is a route (`chat`, `completions`, `models`), a model (`model:NAME`, `model:*`) or a right
(`cache:bypass`). A request needs the scope of its route *and* one of its model: a key for one model
can't ask another, whatever routes it may use.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from greenlight.gateway.refusals import Refusal

ANY_MODEL = "model:*"
MODEL_PREFIX = "model:"
CACHE_BYPASS = "cache:bypass"


class Route(StrEnum):
    """What a client can ask for; also the scope that allows it."""

    CHAT = "chat"
    COMPLETIONS = "completions"
    MODELS = "models"


KNOWN_SCOPES = frozenset({*Route, CACHE_BYPASS, ANY_MODEL})


class CredentialKind(StrEnum):
    """How somebody proved who they are."""

    API_KEY = "api_key"
    TOKEN = "token"  # noqa: S105 - the name of a kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Somebody whose credential was checked."""

    kind: CredentialKind
    subject: str
    """A key's id, or the issuer and `sub` of a token: pseudonymous, safe in logs and metrics."""
    tenant: str
    scopes: frozenset[str]
    expires_at: datetime | None = None

    def may_use(self, route: Route, *, model: str | None = None) -> Refusal | None:
        """Return why not, or nothing."""
        if route not in self.scopes:
            return _missing(str(route), self)
        if model is not None and not self.sees(model):
            return _missing(f"{MODEL_PREFIX}{model}", self)
        return None

    def sees(self, model: str) -> bool:
        """Return whether a model exists for them."""
        return ANY_MODEL in self.scopes or f"{MODEL_PREFIX}{model}" in self.scopes

    @property
    def may_bypass_cache(self) -> bool:
        """Whether they may ask for a fresh answer."""
        return CACHE_BYPASS in self.scopes


def scope_problem(scope: str) -> str | None:
    """Return why a scope can't be given, or nothing."""
    if scope in KNOWN_SCOPES or (scope.startswith(MODEL_PREFIX) and len(scope) > len(MODEL_PREFIX)):
        return None
    known = ", ".join(sorted(KNOWN_SCOPES))
    return f"scope {scope!r} is unknown; there are {known} and model:NAME"


def _missing(scope: str, principal: Principal) -> Refusal:
    carried = " ".join(sorted(principal.scopes)) or "none"
    return Refusal(
        status=403,
        code="insufficient_scope",
        message=f"this needs the scope {scope!r}; the credential carries {carried}",
    )
