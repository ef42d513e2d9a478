"""The life of an API key: issued once, rotated with overlap, revoked, and what it opens meanwhile.

A rotation gives a key another secret and leaves it its id: its limits, its budget and its history
go on. The secret before works until the overlap ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from greenlight.core.errors import ConfigError, InputError, RefusedError
from greenlight.core.types import JsonDict
from greenlight.gateway.credentials import narrowed, refused
from greenlight.gateway.gateway_file import GatewayFile
from greenlight.gateway.key_format import KeyText, pepper_mark
from greenlight.gateway.principals import MODEL_PREFIX, CredentialKind, Principal
from greenlight.gateway.principals import scope_problem as unknown_scope
from greenlight.gateway.refusals import Refusal

CODE = "invalid_api_key"
"""What OpenAI's own API says."""
NOT_A_KEY = "the API key is malformed: a part of it is missing, or it was mistyped"
UNKNOWN = "the API key is not known here"
MAX_NAME = 100
MOMENT, AGES = timedelta(seconds=1), timedelta(days=36500)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as the database has it.

    `hash` is of the newest secret, `previous_hash` of the one before until `previous_until`.
    """

    id: str
    tenant: str
    name: str
    scopes: tuple[str, ...]
    hash: str = field(repr=False)
    pepper: str = field(repr=False)
    """Which pepper it was hashed with (`pepper_mark`)."""
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    rotated_at: datetime | None = None
    previous_hash: str | None = field(default=None, repr=False)
    previous_until: datetime | None = None
    previous_used_at: datetime | None = None
    revoked_at: datetime | None = None
    revoked_by: str | None = None

    def state(self, now: datetime) -> str:
        """Return what it was or is at an instant: `active`, `expired` or `revoked`."""
        if self.revoked_at is not None and now >= self.revoked_at:
            return "revoked"
        return "expired" if self.expires_at is not None and now >= self.expires_at else "active"

    def overlaps(self, now: datetime) -> bool:
        """Return whether the secret before still works."""
        return self.previous_until is not None and now < self.previous_until

    def to_json(self) -> JsonDict:
        """Return all but the hashes."""
        times = (
            "created_at", "expires_at", "last_used_at", "rotated_at", "previous_until",
            "previous_used_at", "revoked_at",
        )  # fmt: skip
        shown: JsonDict = {name: _iso(getattr(self, name)) for name in times}
        for name in ("id", "tenant", "name", "created_by", "revoked_by"):
            shown[name] = getattr(self, name)
        return shown | {"scopes": list(self.scopes)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """That a key opened something. `previous`: with the secret before the newest."""

    key_id: str
    at: datetime
    previous: bool = False


def check_key(
    presented: KeyText, key: ApiKey | None, *, pepper: str, gateway: GatewayFile, now: datetime
) -> tuple[Principal, Use] | Refusal:
    """Return who presents a key, or why it opens nothing.

    What became of a key is told to whoever has its secret, and to nobody else.
    """
    if key is None:
        return refused(UNKNOWN, code=CODE)
    newest = presented.matches(key.hash, pepper)
    if not newest and not (key.previous_hash and presented.matches(key.previous_hash, pepper)):
        return refused(UNKNOWN, code=CODE)
    if problem := _ended(key, newest=newest, now=now):
        return refused(f"the API key {key.id} {problem}", code=CODE)
    tenant = gateway.tenant(key.tenant)
    if tenant is None:
        return refused(f"the API key {key.id} is of a tenant that is not served here", code=CODE)
    principal = Principal(
        kind=CredentialKind.API_KEY,
        subject=key.id,
        tenant=key.tenant,
        scopes=narrowed(key.scopes, most=tenant.scopes),
        expires_at=key.expires_at,
    )
    return principal, Use(key_id=key.id, at=now, previous=not newest)


def issue(
    text: KeyText,
    *,
    tenant: str,
    scopes: Sequence[str],
    name: str,
    by: str,
    lifetime: timedelta | None,
    pepper: str,
    gateway: GatewayFile,
    now: datetime,
) -> ApiKey:
    """Return a new key.

    Raises:
        InputError: no such tenant, scope or model, a scope beyond the tenant's, a bad name or time.
    """
    wanted = tuple(sorted(set(scopes)))
    _check_scopes(wanted, tenant=tenant, gateway=gateway)
    if len(name) > MAX_NAME or not name.isprintable():
        raise InputError(f"name: at most {MAX_NAME} printable characters, got {len(name)}")
    return ApiKey(
        id=text.id,
        tenant=tenant,
        name=name,
        scopes=wanted,
        hash=text.hashed(pepper),
        pepper=pepper_mark(pepper),
        created_at=now,
        created_by=by,
        expires_at=_until(now, lifetime),
    )


def rotate(
    key: ApiKey,
    text: KeyText,
    *,
    overlap: timedelta,
    lifetime: timedelta | None,
    pepper: str,
    now: datetime,
) -> ApiKey:
    """Return the key with another secret. `lifetime`: from now; none leaves its expiry as it is.

    Raises:
        InputError: it would never expire in the time that a database knows, or at once.
        RefusedError: it is revoked or expired, or an earlier overlap still runs: of three secrets
            one would stop unannounced. No overlap at all stops every earlier one, and is allowed.
    """
    state = key.state(now)
    if state == "revoked" or (state == "expired" and lifetime is None):
        hint = "; --expires gives it a new lifetime" if state == "expired" else ""
        raise RefusedError(f"key {key.id} is {state}, so a new secret would open nothing{hint}")
    if overlap and key.overlaps(now):
        raise RefusedError(
            f"key {key.id}: the secret before this one works until {_iso(key.previous_until)}, and "
            f"a rotation would stop it early. Wait until then; `--overlap 0s` stops both at once"
        )
    return replace(
        key,
        hash=text.hashed(pepper),
        pepper=pepper_mark(pepper),
        rotated_at=now,
        previous_hash=key.hash if overlap else None,
        previous_until=_until(now, overlap) if overlap else None,
        previous_used_at=key.last_used_at if overlap else None,
        last_used_at=None,
        expires_at=_until(now, lifetime) or key.expires_at,
    )


def revoke(key: ApiKey, *, by: str, now: datetime) -> ApiKey:
    """Return the key as revoked; a key that is stays as it was."""
    return key if key.revoked_at else replace(key, revoked_at=now, revoked_by=by)


def check_pepper(keys: Sequence[ApiKey], *, pepper: str, now: datetime) -> None:
    """Refuse a pepper with which keys that should work don't.

    Raises:
        ConfigError: the secret was exchanged, or is another installation's.
    """
    mine = pepper_mark(pepper)
    lost = [key.id for key in keys if key.state(now) == "active" and key.pepper != mine]
    if lost:
        raise ConfigError(
            f"the secret gateway_key_pepper is not the one that {len(lost)} active API keys were "
            f"made with (such as {lost[0]}), so they open nothing; put the old secret back, or "
            f"revoke them: `greenlight keys revoke ID`"
        )


def _ended(key: ApiKey, *, newest: bool, now: datetime) -> str | None:
    if key.revoked_at is not None:
        return f"was revoked at {_iso(key.revoked_at)}"
    if key.expires_at is not None and now >= key.expires_at:
        return f"expired at {_iso(key.expires_at)}"
    if not newest and not key.overlaps(now):
        return f"has another secret since {_iso(key.rotated_at)}; this one no longer works"
    return None


def _check_scopes(scopes: Sequence[str], *, tenant: str, gateway: GatewayFile) -> None:
    found = gateway.tenant(tenant)
    if found is None:
        known = ", ".join(one.name for one in gateway.tenants)
        raise InputError(f"tenant {tenant!r} is not in gateway.yaml; there are {known}")
    if not scopes:
        raise InputError("a key needs at least one --scope, such as `chat`")
    for scope in scopes:
        if problem := unknown_scope(scope):
            raise InputError(problem)
        model = scope.removeprefix(MODEL_PREFIX)
        if model not in {scope, "*"} and gateway.model(model) is None:
            served = ", ".join(one.name for one in gateway.models)
            raise InputError(f"scope {scope!r}: gateway.yaml serves {served}")
    if beyond := sorted(set(scopes) - narrowed(scopes, most=found.scopes)):
        raise InputError(
            f"scope {beyond[0]!r} is more than tenant {tenant!r} may carry: "
            f"{', '.join(sorted(found.scopes))}"
        )


def opens_a_model(key: ApiKey) -> bool:
    """Return whether any model can be asked with it."""
    return any(scope.startswith(MODEL_PREFIX) for scope in key.scopes)


def _until(now: datetime, lifetime: timedelta | None) -> datetime | None:
    if lifetime is None:
        return None
    if not MOMENT <= lifetime <= AGES:
        raise InputError(f"a time must be between a second and 100 years, got {lifetime}")
    return now + lifetime


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat(timespec="seconds")
