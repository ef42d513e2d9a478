"""SeaweedFS on loopback: what stands for one region's S3 when no other was configured.

One process is master, volume server, filer and S3 gateway. S3 speaks TLS only and asks for keys.
Its inner doors are closed too, since every account of the machine can reach loopback: gRPC wants
a certificate of our own, the volume server a signed token, and the filer's and the master's HTTP
are off. Names of files are relative to the store's folder, where the process runs: a socket's path
may be a hundred bytes long at most, and `-dir` splits at commas.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from greenlight.adapters.stack.certificates import Certificates
from greenlight.adapters.stack.ports import LOOPBACK, is_free
from greenlight.adapters.stack.services import Service, ServiceName
from greenlight.backup.backup_file import S3Store
from greenlight.core.errors import ConfigError, GreenlightError
from greenlight.core.files import write_atomically
from greenlight.core.settings import Port
from greenlight.core.types import Value

PROGRAM = Path(sys.executable).parent / "weed"
COLLECTED_AT = "25"
"""Percent that the heap grows before Go collects it. Its default, 100, takes twice the memory for a
tenth less work; a limit (GOMEMLIMIT) makes it collect without an end, idle or not."""
VOLUME_MB = 1024
MIN_FREE = "1GiB"
"""With less free on its disk a store takes nothing more: what is left is for the databases."""
SOCKETS = Path("/tmp")  # noqa: S108 - SeaweedFS's choice, without a setting


class InnerPorts(Value):
    """What one store uses besides its S3 port. One left out would be the same in every store."""

    s3_grpc: Port = 0
    master: Port = 0
    master_grpc: Port = 0
    volume: Port = 0
    volume_grpc: Port = 0
    filer: Port = 0
    filer_grpc: Port = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStore:
    """One region's server. `folder` holds its data; the keys are what its only user signs with."""

    region: str
    folder: Path
    port: int
    inner: InnerPorts
    certificates: Certificates
    access_key_file: Path
    secret_key_file: Path

    @property
    def service(self) -> ServiceName:
        """Its name among the services."""
        return service_of(self.region)

    @property
    def s3(self) -> S3Store:
        """Where its bucket is and how to get in."""
        return S3Store(
            endpoint=f"https://{LOOPBACK}:{self.port}",
            bucket=f"greenlight-{self.region}",
            ca_file=self.certificates.ca,
            access_key_file=self.access_key_file,
            secret_key_file=self.secret_key_file,
            path_style=True,
        )


def service_of(region: str) -> ServiceName:
    """Return the service that stands for a region.

    Raises:
        ConfigError: there is none for a region of this name.
    """
    try:
        return ServiceName(f"store-{region}")
    except ValueError:
        raise ConfigError(
            f"regions: {region!r} has no s3, and only regions called a and b have an embedded "
            f"store; give it an s3, or call it a or b"
        ) from None


def prepare(store: ObjectStore) -> None:
    """Write the files that the server reads, for its owner only."""
    (store.folder / "data").mkdir(parents=True, exist_ok=True)
    store.folder.chmod(0o700)
    for name, text in files_of(store).items():
        write_atomically(store.folder / name, text.encode(), mode=0o600)


def server(store: ObjectStore, *, program: Path = PROGRAM, min_free: str = MIN_FREE) -> Service:
    """Return the server as a service; `prepare` must have been called.

    Raises:
        ConfigError: SeaweedFS is not installed.
    """
    if not program.exists():
        raise ConfigError(
            f"the S3 server of the embedded regions is not installed (no {program}); "
            f"`scripts/setup core` installs it, or give every region of backup.yaml an s3"
        )
    flags = _flags(store) | {"volume.minFreeSpace": min_free}
    return Service(
        name=store.service,
        command=[
            str(program),
            "-logtostderr=true",
            "-config_dir=.",
            "server",
            *(f"-{name}={_word(value)}" for name, value in flags.items()),
        ],
        settings={
            "PATH": "/usr/bin:/bin",
            "HOME": str(store.folder),
            "GOGC": COLLECTED_AT,
            # read by nobody: with another key or certificate the server must be started again
            "GREENLIGHT_STORE_FILES": _digest(store),
        },
        inherited={},
        cwd=store.folder,
    )


def why_not_ready(store: S3Store) -> str | None:
    """Return why the store can't be used yet; none when it answers our keys over TLS."""
    if is_free(int(store.endpoint.rpartition(":")[2])):
        return "nobody listens yet"
    from greenlight.adapters import s3  # boto3 takes half a second

    try:
        client = s3.open_client(store)
        with s3.translated(store):
            client.list_buckets()
    except GreenlightError as error:
        return str(error)
    return None


def make_bucket(store: S3Store, *, lock_days: int) -> None:
    """Make the bucket unless it is there: every version is kept, and objects can be locked.

    `lock_days`: for so long nobody can delete a version written from now on; 0: for no time.

    Raises:
        UnavailableError: the store does not answer.
        ConfigError: it refuses our keys.
    """
    from greenlight.adapters import s3

    client, name = s3.open_client(store), {"Bucket": store.bucket}
    retention = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": lock_days}}
    lock = {"ObjectLockEnabled": "Enabled"} | ({"Rule": retention} if lock_days else {})
    with s3.translated(store):
        if store.bucket not in {found["Name"] for found in client.list_buckets()["Buckets"]}:
            client.create_bucket(**name, ObjectLockEnabledForBucket=True)
        client.put_bucket_versioning(**name, VersioningConfiguration={"Status": "Enabled"})
        client.put_object_lock_configuration(**name, ObjectLockConfiguration=lock)


def forget_sockets(ports: InnerPorts) -> None:
    """Remove the sockets that a store which has ended left in the folder for temporary files."""
    for name in ("master", "volume", "filer", "s3"):
        port = getattr(ports, f"{name}_grpc")
        (SOCKETS / f"seaweedfs-{name}-grpc-{port}.sock").unlink(missing_ok=True)


def _flags(store: ObjectStore) -> dict[str, str | int | bool]:
    ports = store.inner
    return {
        "ip": LOOPBACK,
        "ip.bind": LOOPBACK,
        "dir": "data",
        "disableHttp": True,
        "master.port": ports.master,
        "master.port.grpc": ports.master_grpc,
        "master.peers": "none",  # else it looks for others first, and the first write waits 5 s
        "master.resumeState": False,  # resuming leaves a timer of a millisecond behind
        "master.telemetry": False,
        "master.volumeSizeLimitMB": VOLUME_MB,
        "volume.max": 0,  # as many as the disk holds; nothing is allocated before it is needed
        "volume.port": ports.volume,
        "volume.port.grpc": ports.volume_grpc,
        "filer": True,
        "filer.port": ports.filer,
        "filer.port.grpc": ports.filer_grpc,
        "filer.localSocket": "filer.sock",
        "s3": True,
        "s3.port": store.port,
        "s3.port.grpc": ports.s3_grpc,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.localSocket": "s3.sock",
        "s3.config": "identities.json",
        "s3.cert.file": str(store.certificates.server),
        "s3.key.file": str(store.certificates.server),
        "s3.iam": False,
        "s3.autoCreateBucket": False,
        "s3.allowDeleteBucketNotEmpty": False,
    }


def _word(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def files_of(store: ObjectStore) -> dict[str, str]:
    """Return the configuration by file name. The inner key is derived: one secret less to keep."""
    access, secret = (
        path.read_text().strip() for path in (store.access_key_file, store.secret_key_file)
    )
    credentials = [{"accessKey": access, "secretKey": secret}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identity = {"name": "greenlight", "credentials": credentials, "actions": actions}
    inner = hmac.new(secret.encode(), b"inside the store", hashlib.sha256).hexdigest()
    tables = {
        **{
            f"jwt.{name}": {"key": inner}
            for name in ("signing", "signing.read", "filer_signing", "filer_signing.read")
        },
        "grpc": {"ca": str(store.certificates.ca)},
        **{
            f"grpc.{part}": dict.fromkeys(("cert", "key"), str(store.certificates.server))
            for part in ("master", "volume", "filer", "s3", "client")
        },
    }
    return {
        "identities.json": json.dumps({"identities": [identity]}, indent=2),
        "security.toml": "".join(_table(name, values) for name, values in tables.items()),
    }


def _table(name: str, values: dict[str, str]) -> str:
    """Return a table of TOML, whose strings are written as JSON writes them."""
    lines = "".join(
        f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items()
    )
    return f"[{name}]\n{lines}"


def _digest(store: ObjectStore) -> str:
    digest = hashlib.sha256(store.certificates.server.read_bytes())
    for text in files_of(store).values():
        digest.update(text.encode())
    return digest.hexdigest()
