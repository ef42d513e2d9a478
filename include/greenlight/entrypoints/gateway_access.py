"""What guards the gateway: keys, tokens and the audit log, opened on the configured database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greenlight.core.clock import Clock, SystemClock
from greenlight.core.settings import Settings
from greenlight.entrypoints.stack import open_database
from greenlight.gateway.gateway_file import GatewayFile

if TYPE_CHECKING:
    import sqlalchemy as sa

    from greenlight.adapters.audit_spool import AuditSpool
    from greenlight.gateway.ports import Authenticator
    from greenlight.gateway.stores import AuditStore, KeyStore

PEPPER, AUDIT = "gateway_key_pepper", "gateway_audit"
"""Names of secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a worker of the gateway needs to know who asks, and to say so later."""

    authenticator: Authenticator
    trail: AuditSpool
    database: sa.Engine


@asynccontextmanager
async def open_access(
    settings: Settings, gateway: GatewayFile, *, clock: Clock | None = None
) -> AsyncIterator[Access]:
    """Open both for one worker's event loop, and close them in order.

    Raises:
        ConfigError: a secret is missing, or isn't the one that keys were made with.
        UnavailableError: the database does not answer.
        RefusedError: none is configured, and the stack is not up.
    """
    from greenlight.adapters.audit_spool import AuditSpool
    from greenlight.adapters.gateway_auth.authenticator import CredentialAuthenticator
    from greenlight.adapters.gateway_auth.jwt import TokenAuthenticator, trusted_issuers
    from greenlight.adapters.gateway_auth.keys import KeyAuthenticator

    clock = clock or SystemClock()
    pepper = load(settings, PEPPER)
    async with AsyncExitStack() as stack:
        engine = open_database(settings)
        stack.callback(engine.dispose)
        keys_store, audit_store = _stores(settings, engine)
        spool = AuditSpool(
            spool_folder(settings), audit_store, clock=clock, every_s=gateway.audit.every_s
        )
        trail = await stack.enter_async_context(spool)
        keys = tokens = None
        if gateway.api_keys:
            keys = await stack.enter_async_context(
                KeyAuthenticator(gateway, keys_store, pepper=pepper, clock=clock)
            )
        if gateway.issuers:
            tokens = TokenAuthenticator(
                gateway,
                issuers=trusted_issuers(gateway, clock=clock),
                pepper=pepper,
                clock=clock,
                identify=trail.identify,
            )
        yield Access(
            authenticator=CredentialAuthenticator(keys=keys, tokens=tokens),
            trail=trail,
            database=engine,
        )


def open_stores(settings: Settings) -> tuple[KeyStore, AuditStore]:
    """Return keys and audit log in the configured database, or in the embedded stack's.

    Raises:
        ConfigError: the secret of the audit log is missing.
        RefusedError: no database is configured, and the stack is not up.
    """
    return _stores(settings, open_database(settings))


def _stores(settings: Settings, engine: sa.Engine) -> tuple[KeyStore, AuditStore]:
    from greenlight.adapters.audit_store import DatabaseAudit
    from greenlight.adapters.key_store import DatabaseKeys

    audit = DatabaseAudit(engine, secret=load(settings, AUDIT))
    return DatabaseKeys(engine, audit), audit


def load(settings: Settings, name: str) -> str:
    """Return one of the gateway's secrets, from AWS Secrets Manager or from its file.

    Raises:
        ConfigError: it is missing, weak, or others could have read it.
        UnavailableError: AWS Secrets Manager does not answer.
    """
    from greenlight.adapters.stack.secrets import load_secret, require_strong

    if settings.aws_secrets is None:
        return load_secret(settings.secrets, name)
    from greenlight.adapters.secrets_manager import fetch_secret

    value = fetch_secret(settings.aws_secrets, name)
    return require_strong(value, where=f"{settings.aws_secrets}/{name}")


def spool_folder(settings: Settings) -> Path:
    """Return where audit records wait for the database."""
    return settings.home / "audit"


def operator(name: str) -> str:
    """Return the subject of somebody who types commands."""
    return f"operator:{name}"
