"""Secrets of the embedded stack: made on the first start, one file each, mode 600."""

from __future__ import annotations

import base64
import json
import os
import secrets
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from greenlight.core.errors import ConfigError
from greenlight.core.files import write_atomically

ADMIN = "admin"
MINIMUM_LENGTH = 16
BACKUP_SECRETS = ("backup_pgbackrest", "backup_restic", "backup_signing")


@dataclass(frozen=True, slots=True, kw_only=True)
class StackSecrets:
    """Everything the services must keep to themselves; nothing of it shows in `repr`."""

    airflow_jwt: str = field(repr=False)
    """Signs the tokens between Airflow's components."""
    airflow_fernet: str = field(repr=False)
    """Encrypts connections and variables in Airflow's database."""
    airflow_api: str = field(repr=False)
    """Signs the sessions of Airflow's API server."""
    airflow_admin: str = field(repr=False)
    """The password of the Airflow user `admin`."""
    postgres_superuser: str = field(repr=False)
    postgres: str = field(repr=False)
    """The password of the database role the services use."""
    backup_pgbackrest: str = field(repr=False)
    """Encrypts the copies of the databases."""
    backup_restic: str = field(repr=False)
    """Encrypts the copies of the files."""
    backup_signing: str = field(repr=False)
    """Signs the manifests of backup sets."""
    store_access_key: str = field(repr=False)
    store_secret_key: str = field(repr=False)
    """What the embedded stores know their only user by."""
    gateway_key_pepper: str = field(repr=False)
    """Hashes API keys, and makes the subjects of tokens. With another one every key is lost."""
    gateway_audit: str = field(repr=False)
    """Chains and signs the audit log."""
    gateway_cache: str = field(repr=False)
    """Encrypts kept answers."""
    redis: str = field(repr=False)
    """The password of the embedded Redis."""
    mlflow_webhook: str = field(repr=False)
    """Signs what MLflow tells Airflow."""
    mlflow_webhook_key: str = field(repr=False)
    """Encrypts the secrets of webhooks in MLflow's database. With another one none can be read."""


MAKERS: dict[str, Callable[[], str]] = {
    "airflow_jwt": lambda: secrets.token_urlsafe(64),
    "airflow_fernet": lambda: base64.urlsafe_b64encode(os.urandom(32)).decode(),
    "airflow_api": lambda: secrets.token_urlsafe(48),
    "airflow_admin": lambda: secrets.token_urlsafe(18),
    "postgres_superuser": lambda: secrets.token_urlsafe(32),
    "postgres": lambda: secrets.token_urlsafe(32),
    "backup_pgbackrest": lambda: secrets.token_urlsafe(48),
    "backup_restic": lambda: secrets.token_urlsafe(48),
    "backup_signing": lambda: secrets.token_urlsafe(48),
    "store_access_key": lambda: secrets.token_hex(10),
    "store_secret_key": lambda: secrets.token_urlsafe(32),
    "gateway_key_pepper": lambda: secrets.token_urlsafe(48),
    "gateway_audit": lambda: secrets.token_urlsafe(48),
    "gateway_cache": lambda: secrets.token_urlsafe(48),
    "redis": lambda: secrets.token_urlsafe(32),
    "mlflow_webhook": lambda: secrets.token_urlsafe(48),
    "mlflow_webhook_key": lambda: base64.urlsafe_b64encode(os.urandom(32)).decode(),
}


def load_or_create_secrets(
    folder: Path, *, must_exist: Mapping[str, Path] | None = None
) -> StackSecrets:
    """Read the secrets, making those that don't exist yet.

    `must_exist` names secrets, each with a folder that can't be read without it.

    Raises:
        ConfigError: a file can be read by others, holds too little to be a secret, or is gone
            although something depends on it.
    """
    for name, dependent in (must_exist or {}).items():
        if not (folder / name).exists():
            raise ConfigError(
                f"the secret {folder / name} is gone, and what {dependent} holds can't be read "
                f"without it; put it back, or move that folder away to start with an empty one"
            )
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    for name, make in MAKERS.items():
        if not (folder / name).exists():
            write_atomically(folder / name, f"{make()}\n".encode(), mode=0o600)
    return load_secrets(folder)


def load_secrets(folder: Path) -> StackSecrets:
    """Read the secrets of a stack that was started before.

    Raises:
        ConfigError: a file is missing, can be read by others, or is too short.
    """
    return StackSecrets(**{name: _read(folder / name) for name in MAKERS})


def load_secret(folder: Path, name: str) -> str:
    """Read one secret: a service of its own has no other.

    Raises:
        ConfigError: the file is missing, can be read by others, or is too short.
    """
    return _read(folder / name)


def write_airflow_passwords(folder: Path, found: StackSecrets) -> Path:
    """Write the file Airflow's SimpleAuthManager reads and return its path."""
    path = folder / "airflow_passwords.json"
    wanted = (json.dumps({ADMIN: found.airflow_admin}) + "\n").encode()
    if not path.exists() or path.read_bytes() != wanted:
        write_atomically(path, wanted, mode=0o600)
    return path


def _read(path: Path) -> str:
    if not path.exists():
        raise ConfigError(f"the secret {path} is missing; `make up` makes it")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise ConfigError(
            f"{path} has mode {mode:03o}, so others may have read it; `chmod 600 '{path}'` keeps it"
        )
    return require_strong(path.read_text().strip(), where=str(path))


def require_strong(value: str, *, where: str) -> str:
    """Return a secret that is long enough to be one.

    Raises:
        ConfigError: it is too short.
    """
    if len(value) < MINIMUM_LENGTH:
        raise ConfigError(
            f"the secret {where} has {len(value)} characters, at least {MINIMUM_LENGTH} are "
            "needed; `python3 -c 'import secrets; print(secrets.token_urlsafe(32))'` makes a good "
            "one"
        )
    return value
