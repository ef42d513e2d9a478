"""One bucket: a client that never waits long, and its refusals as our errors."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import (  # type: ignore[import-untyped]
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    SSLError,
)
from botocore.exceptions import ConnectionError as ConnectingError
from botocore.parsers import ResponseParserError  # type: ignore[import-untyped]

from greenlight.backup.backup_file import S3Store
from greenlight.core.errors import (
    ConfigError,
    GreenlightError,
    RefusedError,
    ResourceError,
    UnavailableError,
)

TIMEOUT_S = 4.0
ATTEMPTS = 2
REFUSED = frozenset(
    {
        "403", "AccessDenied", "AccountProblem", "ExpiredToken", "InvalidAccessKeyId",
        "InvalidToken", "SignatureDoesNotMatch",
    }
)  # fmt: skip
WRONG_BUCKET = frozenset({"404", "NoSuchBucket", "PermanentRedirect", "301"})
FULL = frozenset({"507", "InsufficientStorage", "QuotaExceeded", "XMinioStorageFull"})
BUSY = frozenset({"RequestTimeout", "SlowDown", "ServiceUnavailable", "TooManyRequests"})
SKEWED = "RequestTimeTooSkewed"
NO_ANSWER = (ConnectingError, HTTPClientError, IncompleteReadError, ResponseParserError)
TAKEN = frozenset({"ConditionalRequestConflict", "PreconditionFailed"})
MISSING = "NoSuchKey"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What requests are signed with. It shows in no `repr`."""

    access: str = field(repr=False)
    secret: str = field(repr=False)


def read_keys(store: S3Store) -> Keys | None:
    """Read the keys; none: the machine's own role.

    Raises:
        ConfigError: a file is missing, empty, or can be read by others.
    """
    if store.access_key_file is None or store.secret_key_file is None:
        return None
    return Keys(
        access=read_secret(store.access_key_file), secret=read_secret(store.secret_key_file)
    )


def read_secret(path: Path) -> str:
    """Read a file that holds one secret.

    Raises:
        ConfigError: it is missing, empty, or can be read by others.
    """
    try:
        mode, value = stat.S_IMODE(path.stat().st_mode), path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the secret {path} can't be read: {error}") from error
    if mode & 0o077:
        raise ConfigError(
            f"{path} has mode {mode:03o}, so others may have read it; `chmod 600 '{path}'` keeps it"
        )
    if not value:
        raise ConfigError(f"the secret {path} is empty")
    return value


def place(store: S3Store) -> str:
    """Return how messages name a bucket."""
    return f"bucket {store.bucket} at {store.endpoint}"


def open_client(store: S3Store, *, timeout_s: float = TIMEOUT_S) -> Any:
    """Open a client that waits so long for an answer, twice. Opening it asks nobody.

    A proxy of the environment is not asked for a store on this machine.

    Raises:
        ConfigError: the keys or the CA file can't be read.
    """
    keys = read_keys(store)
    if store.ca_file is not None and not store.ca_file.is_file():
        raise ConfigError(f"{place(store)}: there is no CA file {store.ca_file}")
    host = urlsplit(store.endpoint).hostname or ""
    with translated(store):
        return boto3.session.Session().client(
            "s3",
            endpoint_url=store.endpoint,
            region_name=store.region,
            verify=str(store.ca_file) if store.ca_file else True,
            aws_access_key_id=keys.access if keys else None,
            aws_secret_access_key=keys.secret if keys else None,
            config=Config(
                connect_timeout=timeout_s,
                read_timeout=timeout_s,
                retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
                s3={"addressing_style": "path" if store.path_style else "auto"},
                proxies={} if host == "localhost" or host.startswith("127.") else None,
            ),
        )


def encryption(store: S3Store) -> dict[str, str]:
    """Return the arguments that make a `put_object` encrypt with the store's key."""
    if store.kms_key_id is None:
        return {}
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": store.kms_key_id}


def code_of(error: ClientError) -> str:
    """Return the store's word for what it refused; HEAD requests have the HTTP status only."""
    return str(error.response.get("Error", {}).get("Code", ""))


def reach(client: Any, store: S3Store, *, prefix: str) -> None:
    """Return when the store answers, lets us in, and lists the bucket.

    Raises:
        UnavailableError: it doesn't answer.
        ConfigError: it refuses us, or the bucket isn't there.
    """
    with translated(store):
        client.list_objects_v2(Bucket=store.bucket, Prefix=prefix, MaxKeys=1)


def keys_under(client: Any, store: S3Store, *, prefix: str) -> Iterator[str]:
    """Yield the names of all objects that begin with `prefix`, sorted as the store sorts."""
    with translated(store):
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=store.bucket, Prefix=prefix)
        for page in pages:
            for found in page.get("Contents", ()):
                yield str(found["Key"])


def get(client: Any, store: S3Store, *, key: str) -> bytes | None:
    """Return an object; none: it isn't there."""
    with translated(store):
        try:
            return bytes(client.get_object(Bucket=store.bucket, Key=key)["Body"].read())
        except ClientError as error:
            if code_of(error) == MISSING:
                return None
            raise


def delete(client: Any, store: S3Store, *, key: str) -> None:
    """Delete an object; a versioned bucket keeps what it was. One that isn't there is fine."""
    with translated(store):
        client.delete_object(Bucket=store.bucket, Key=key)


def put(client: Any, store: S3Store, *, key: str, body: bytes, **conditions: str) -> None:
    """Write an object.

    Raises:
        RefusedError: a condition did not hold.
        ResourceError: the store is full. Some say so; others fail at every write while they go on
            answering.
    """
    try:
        with translated(store):
            client.put_object(
                Bucket=store.bucket, Key=key, Body=body, **conditions, **encryption(store)
            )
    except UnavailableError as error:
        cause = error.__cause__
        if isinstance(cause, ClientError) and code_of(cause) not in BUSY:
            reach(client, store, prefix=key)
            raise ResourceError(f"{place(store)} answers, but {takes_nothing(cause)}") from error
        raise


def takes_nothing(why: object) -> str:
    """Return what a store does that answers and fails at every write."""
    return f"takes nothing more ({why}): it is full, or its disks are; make room"


@contextmanager
def translated(store: S3Store) -> Iterator[None]:
    """Raise boto's errors as ours, with the bucket's name."""
    try:
        yield
    except ClientError as error:
        raise _refusal(store, error) from error
    except SSLError as error:
        raise _tls_failure(store, error) from error
    except NO_ANSWER as error:
        raise UnavailableError(f"{place(store)} does not answer: {error}") from error
    except BotoCoreError as error:
        raise ConfigError(f"{place(store)}: {error}") from error


def _refusal(store: S3Store, error: ClientError) -> GreenlightError:
    code, where = code_of(error), place(store)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in REFUSED:
        return ConfigError(
            f"{where} does not let us in: {error}; check access_key_file and secret_key_file, and "
            f"what the key may do"
        )
    if code == SKEWED:
        return ConfigError(f"{where}: this machine's clock and the store's differ: {error}")
    if code in TAKEN:
        return RefusedError(f"{where} has that object already: {error}")
    if code in FULL:
        return ResourceError(f"{where} is full: {error}")
    if code in WRONG_BUCKET:
        return ConfigError(f"{where} is not there: {error}; check bucket, endpoint and region")
    if status >= 500 or code in BUSY:
        return UnavailableError(f"{where} failed: {error}")
    return ConfigError(f"{where} refused: {error}")


def _tls_failure(store: S3Store, error: SSLError) -> GreenlightError:
    said = str(error)
    if "EOF" in said or "timed out" in said:
        return UnavailableError(f"{place(store)} broke off the TLS connection: {error}")
    trusted = store.ca_file or "the system's certificates"
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return ConfigError(
            f"{place(store)} shows a certificate that {trusted} does not vouch for; set ca_file"
        )
    return ConfigError(f"{place(store)} does not speak TLS that {trusted} can check: {error}")
