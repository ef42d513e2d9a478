"""Make, list, rotate and revoke API keys. Every change is in the audit log."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from greenlight.core.clock import Clock, SystemClock
from greenlight.core.errors import InputError
from greenlight.core.settings import Settings
from greenlight.core.types import JsonDict
from greenlight.entrypoints.gateway_access import PEPPER, load, open_stores, operator
from greenlight.gateway import api_keys as rules
from greenlight.gateway.api_keys import ApiKey
from greenlight.gateway.audit import AuditEvent, EventName
from greenlight.gateway.gateway_file import GatewayFile, load_gateway_file
from greenlight.gateway.key_format import PREFIX, RandomBytes, new_key_text
from greenlight.gateway.stores import KeyStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A key and its text, which is nowhere else. `opens_a_model`: whether any can be asked."""

    key: ApiKey
    text: str = field(repr=False)
    opens_a_model: bool


class ApiKeys:
    """The commands' view of keys. `by`: who gives them."""

    def __init__(
        self,
        *,
        gateway: GatewayFile,
        store: KeyStore,
        pepper: str,
        by: str,
        clock: Clock | None = None,
        random: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._gateway, self._store, self._pepper, self._by = gateway, store, pepper, by
        self._clock, self._random = clock or SystemClock(), random

    def create(
        self,
        *,
        tenant: str,
        scopes: Sequence[str],
        name: str = "",
        lifetime: timedelta | None = None,
        dry_run: bool = False,
    ) -> Issued:
        """Return a new key. With `dry_run` nothing is kept, and its text opens nothing.

        Raises:
            InputError: no such tenant, scope or model, or more than the tenant may.
            ConfigError: the pepper is not the one that the other keys were made with.
        """
        now = self._clock.now()
        rules.check_pepper(self._store.all_keys(), pepper=self._pepper, now=now)
        text = new_key_text(self._random)
        key = rules.issue(
            text, tenant=tenant, scopes=scopes, name=name, by=self._by, lifetime=lifetime,
            pepper=self._pepper, gateway=self._gateway, now=now,
        )  # fmt: skip
        if not dry_run:
            self._store.add(key, event=self._event(EventName.KEY_CREATED, key, now=now))
        return Issued(key=key, text=text.text, opens_a_model=rules.opens_a_model(key))

    def rotate(
        self,
        key_id: str,
        *,
        overlap: timedelta,
        lifetime: timedelta | None = None,
        dry_run: bool = False,
    ) -> Issued:
        """Return the key with another secret; the one before works for `overlap` more.

        Raises:
            InputError: there is no such key.
            RefusedError: it is revoked or expired, an overlap runs, or somebody was faster.
        """
        now, before = self._clock.now(), self.get(key_id)
        text = new_key_text(self._random, key_id=before.id)
        after = rules.rotate(
            before, text, overlap=overlap, lifetime=lifetime, pepper=self._pepper, now=now
        )
        if not dry_run:
            event = self._event(EventName.KEY_ROTATED, after, now=now)
            self._store.change(before, after, event=event)
        return Issued(key=after, text=text.text, opens_a_model=rules.opens_a_model(after))

    def revoke(self, key_id: str, *, dry_run: bool = False) -> ApiKey:
        """Return the key as revoked. Twice is once.

        Raises:
            InputError: there is no such key.
            RefusedError: somebody changed it meanwhile.
        """
        now, before = self._clock.now(), self.get(key_id)
        after = rules.revoke(before, by=self._by, now=now)
        if not dry_run and after != before:
            event = self._event(EventName.KEY_REVOKED, after, now=now)
            self._store.change(before, after, event=event)
        return after

    def get(self, key_id: str) -> ApiKey:
        """Return a key by its id, however much of the key was pasted.

        Raises:
            InputError: there is none.
        """
        name = key_id.removeprefix(PREFIX).split("_")[0]
        found = self._store.get(name)
        if found is None:
            raise InputError(f"there is no key {name!r}; see `greenlight keys list`")
        return found

    def list_keys(self, *, tenant: str | None = None) -> list[JsonDict]:
        """Return keys, oldest first, each with its state now."""
        now = self._clock.now()
        return [
            key.to_json() | {"state": key.state(now)}
            for key in self._store.all_keys()
            if tenant in (None, key.tenant)
        ]

    def _event(self, name: EventName, key: ApiKey, *, now: datetime) -> AuditEvent:
        shown = key.to_json()
        told = ("scopes", "expires_at", "previous_until")
        detail = {"key": key.id} | {part: shown[part] for part in told}
        return AuditEvent(
            at=now, event=name, subject=operator(self._by), tenant=key.tenant, detail=detail
        )


def open_keys(settings: Settings, *, by: str) -> ApiKeys:
    """Return the keys of the configured database.

    Raises:
        ConfigError: gateway.yaml is wrong, or a secret is missing.
        RefusedError: no database is configured, and the stack is not up.
    """
    gateway = load_gateway_file(settings.config_file("gateway"))
    store, _ = open_stores(settings)
    return ApiKeys(gateway=gateway, store=store, pepper=load(settings, PEPPER), by=by)
