"""pgBackRest's configuration: a file of mode 600 that only the cluster's account reads.

All paths in it begin at the cluster's home as that account reaches it. Secrets are in it because
the alternatives are the command line and the server's environment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from greenlight.adapters.s3 import read_keys, read_secret
from greenlight.backup.backup_file import S3Store
from greenlight.core.errors import ConfigError

STANZA = "main"
FOLDER = "pgbackrest"
"""Beside the data: configuration, certificates, locks, and what waits to be pushed."""
PATH = "/pgbackrest"
"""In a bucket."""
NEVER_BY_ITSELF = "9999999"
"""So many full copies stay: retention is ours. Without a number pgBackRest warns at every run."""

GLOBAL = {
    "compress-type": "zst",
    "start-fast": "y",
    "expire-auto": "n",
    "checksum-page": "y",
    "archive-timeout": "300",
    "io-timeout": "30",
    "log-level-file": "off",
    "log-level-console": "off",
    "log-level-stderr": "warn",
    "log-timestamp": "n",
}
PUSHING = {
    "archive-async": "y",
    "archive-timeout": "40",
    "io-timeout": "3",
    "process-max": "2",
}
"""A region that is away is asked for eight times `io-timeout` before the log goes to the others,
and the server pauses for a minute after three failures: so long the others may lag. Only an
asynchronous run looks beyond the first segment that a region lacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A region's bucket, and the file with the passphrase of what is in it."""

    region: str
    store: S3Store
    passphrase_file: Path

    @property
    def ca_name(self) -> str | None:
        """The name under which the certificates it trusts are copied; none: the system's."""
        return f"ca-{self.region}.pem" if self.store.ca_file else None


def render(
    repositories: Sequence[Repository], *, home: Path, port: int | None, processes: int
) -> str:
    """Return the file for some repositories. `port`: the server's; none: nobody asks it.

    Raises:
        ConfigError: a secret can't be read, or a value doesn't fit on a line.
    """
    folder = home / FOLDER
    settings = GLOBAL | {
        "process-max": str(processes),
        "lock-path": str(folder / "lock"),
        "log-path": str(folder),
        "spool-path": str(folder / "spool"),
    }
    for number, repository in enumerate(repositories, start=1):
        for key, value in _repository(repository, folder).items():
            settings[f"repo{number}-{key}"] = value
    cluster = {"pg1-path": str(home / "data")}
    if port is not None:
        cluster |= {
            "pg1-port": str(port),
            "pg1-socket-path": str(home),
            "pg1-user": "postgres",
        }
    sections = {"global": settings, "global:archive-push": PUSHING, STANZA: cluster}
    return "\n".join(_section(name, values) for name, values in sections.items())


def _repository(repository: Repository, folder: Path) -> dict[str, str]:
    store = repository.store
    endpoint = urlsplit(store.endpoint)
    found = {
        "type": "s3",
        "path": PATH,
        "bundle": "y",
        "cipher-type": "aes-256-cbc",
        "cipher-pass": read_secret(repository.passphrase_file),
        "retention-full": NEVER_BY_ITSELF,
        "s3-bucket": store.bucket,
        "s3-endpoint": endpoint.hostname or "",
        "s3-region": store.region,
        "s3-uri-style": "path" if store.path_style else "host",
        "storage-port": str(endpoint.port or 443),
    }
    keys = read_keys(store)
    if keys is None:
        found["s3-key-type"] = "auto"
    else:
        found |= {"s3-key": keys.access, "s3-key-secret": keys.secret}
    if repository.ca_name:
        found["storage-ca-file"] = str(folder / repository.ca_name)
    if store.kms_key_id:
        found["s3-kms-key-id"] = store.kms_key_id
    return found


def _section(name: str, values: Mapping[str, str]) -> str:
    for key, value in values.items():
        if not value or not value.isprintable():
            raise ConfigError(f"pgBackRest's {key} must be one line of text that is not empty")
    return f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in values.items())
