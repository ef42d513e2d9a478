"""Secrets of docker-compose.yaml: one file each, made once, readable by the containers' user alone.

Compose mounts each file as it is, with its owner and its mode. So all containers that read one run
as the files' owner, and no service sees a file that it isn't given.

Some files follow from others: an address with a password in it, the list of Redis' users. They are
made once too, so an operator may point one at a server of their own. To change a password, delete
its file and those that hold it, and make them again.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from greenlight.adapters.stack.certificates import Certificates, ensure_certificates
from greenlight.adapters.stack.object_store import InnerPorts, ObjectStore, files_of
from greenlight.adapters.stack.postgres import ROLE, SUPERUSER
from greenlight.adapters.stack.secrets import MAKERS, load_secret
from greenlight.core.errors import ConfigError
from greenlight.core.files import write_atomically

MOUNTED = Path("/run/secrets")
"""Where containers find them."""
POSTGRES, REDIS = "postgres:5432", "redis:6379"
STORES = ("object-store-a", "object-store-b")
S3_PORT = 8333
HOSTS = ("host-1", "host-2", "gpu-host")
"""The hosts over SSH that are services themselves."""
SSH_PORT = 2222
COMPOSE_MAKERS: dict[str, Callable[[], str]] = {
    **MAKERS,
    "postgres_monitor": lambda: secrets.token_urlsafe(32),
    "redis_broker": lambda: secrets.token_urlsafe(32),
    "redis_monitor": lambda: secrets.token_urlsafe(32),
    "grafana_admin": lambda: secrets.token_urlsafe(18),
    "elastic": lambda: secrets.token_urlsafe(24),
    "kibana": lambda: secrets.token_urlsafe(24),
    "kibana_key": lambda: secrets.token_urlsafe(32),
    "filebeat": lambda: secrets.token_urlsafe(24),
}
REDIS_USERS = """\
user default on #{gateway} ~greenlight:* +@all -@admin -@dangerous +info
user airflow on #{broker} ~airflow:* &* +@all -@admin -@dangerous +info
user monitor on #{monitor} +ping +info +client|setname +client|list +config|get +slowlog +latency
"""
"""The gateway's own keys, Airflow's own queues, and numbers for Prometheus: nobody has more."""


def make_secrets(folder: Path, *, edge_host: str, now: datetime) -> list[str]:
    """Make what is missing; return the names of what was made. What is there is checked.

    Raises:
        ConfigError: a file can be read by others, or holds too little to be a secret.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    made = [name for name, make in COMPOSE_MAKERS.items() if _write(folder / name, make)]
    for name in COMPOSE_MAKERS:
        load_secret(folder, name)
    made += _make_certificates(folder, edge_host=edge_host, now=now)
    made += _make_ssh_keys(folder)
    for name, text in _derived(folder).items():
        if _write(folder / name, text):
            made.append(name)
    return made


def give_to(folder: Path, *, uid: int, gid: int) -> None:
    """Make the containers' user the owner of the folder and of all in it.

    Raises:
        ConfigError: they belong to somebody else, and only root may give them away.
    """
    for path in (folder, *sorted(folder.iterdir())):
        found = path.stat()
        if (found.st_uid, found.st_gid) == (uid, gid):
            continue
        try:
            os.chown(path, uid, gid, follow_symlinks=False)
        except PermissionError as error:
            raise ConfigError(
                f"{path} belongs to user {found.st_uid}, group {found.st_gid}, and the containers "
                f"will run as {uid}:{gid}, who can't read it; run this as root, or choose "
                f"--uid {found.st_uid} --gid {found.st_gid}"
            ) from error


def write_variables(path: Path, wanted: Mapping[str, str]) -> bool:
    """Set variables in compose's `.env` and keep every other line; return whether it changed."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    kept = [line for line in lines if line.partition("=")[0].strip() not in wanted]
    text = "\n".join([*kept, *(f"{name}={value}" for name, value in wanted.items())]) + "\n"
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    write_atomically(path, text.encode(), mode=0o600)
    return True


def _derived(folder: Path) -> dict[str, Callable[[], str]]:
    """Return how each file that follows from others is made."""

    def url(scheme: str, user: str, secret: str, place: str) -> Callable[[], str]:
        return lambda: f"{scheme}://{user}:{quote(load_secret(folder, secret), safe='')}@{place}"

    postgres = "postgresql+psycopg2"
    return {
        "airflow_database_url": url(postgres, ROLE, "postgres", f"{POSTGRES}/airflow"),
        "airflow_result_backend": url(f"db+{postgres}", ROLE, "postgres", f"{POSTGRES}/airflow"),
        "airflow_broker_url": url("redis", "airflow", "redis_broker", f"{REDIS}/0"),
        "mlflow_database_url": url(postgres, ROLE, "postgres", f"{POSTGRES}/mlflow"),
        "greenlight_database_url": url(postgres, ROLE, "postgres", f"{POSTGRES}/greenlight"),
        "superuser_database_url": url(
            postgres, SUPERUSER, "postgres_superuser", f"{POSTGRES}/postgres"
        ),
        "redis_users": lambda: REDIS_USERS.format(
            gateway=_sha256(load_secret(folder, "redis")),
            broker=_sha256(load_secret(folder, "redis_broker")),
            monitor=_sha256(load_secret(folder, "redis_monitor")),
        ),
        "redis_exporter": lambda: json.dumps(
            {f"redis://monitor@{REDIS}": load_secret(folder, "redis_monitor")}
        ),
        "store_identities": lambda: _store_files(folder)["identities.json"],
        "store_security": lambda: _store_files(folder)["security.toml"],
    }


def _store_files(folder: Path) -> dict[str, str]:
    """Return what both stores read; their paths are those inside the containers."""
    store = ObjectStore(
        region="a",
        folder=MOUNTED,
        port=S3_PORT,
        inner=InnerPorts(),
        certificates=Certificates(ca=MOUNTED / "store_ca", server=MOUNTED / "store_server"),
        access_key_file=folder / "store_access_key",
        secret_key_file=folder / "store_secret_key",
    )
    return files_of(store)


def _make_certificates(folder: Path, *, edge_host: str, now: datetime) -> list[str]:
    """Make the stores' certificate, and one for nginx that only its own authority vouches for."""
    made = []
    stores = Certificates(ca=folder / "store_ca", server=folder / "store_server")
    if ensure_certificates(stores, now=now, hosts=(*STORES, "127.0.0.1")):
        made += ["store_ca", "store_server"]
    if not (folder / "tls_certificate").exists():
        if (folder / "tls_key").exists():
            raise ConfigError(
                f"{folder} has tls_key but no tls_certificate; put the certificate of that key "
                "there, or remove the key to get a new pair"
            )
        edge = Certificates(ca=folder / "tls_ca", server=folder / "tls_key")
        ensure_certificates(edge, now=now, hosts=(edge_host, "127.0.0.1"))
        certificate = x509.load_pem_x509_certificate(edge.server.read_bytes())
        write_atomically(folder / "tls_certificate", certificate.public_bytes(Encoding.PEM))
        made += ["tls_ca", "tls_key", "tls_certificate"]
    for name in ("store_ca", "tls_ca", "tls_certificate"):
        if (folder / name).exists():
            (folder / name).chmod(0o600)
    return made


def _make_ssh_keys(folder: Path) -> list[str]:
    """Make the key that deploys log in with, and the one that the hosts of compose answer with."""
    made = []
    for name in ("deploy_key", "host_key"):
        if _write(folder / name, lambda: _private(Ed25519PrivateKey.generate())):
            made.append(name)
    known = "".join(f"[{host}]:{SSH_PORT} {_public(folder / 'host_key')}\n" for host in HOSTS)
    derived = {"known_hosts": known, "authorized_keys": f"{_public(folder / 'deploy_key')}\n"}
    for name, text in derived.items():
        if not (folder / name).exists():
            write_atomically(folder / name, text.encode(), mode=0o600)
            made.append(name)
    return made


def _private(key: Ed25519PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


def _public(path: Path) -> str:
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    key = load_ssh_private_key(path.read_bytes(), password=None)
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _write(path: Path, make: Callable[[], str]) -> bool:
    if path.exists():
        return False
    write_atomically(path, (make().rstrip("\n") + "\n").encode(), mode=0o600)
    return True


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
