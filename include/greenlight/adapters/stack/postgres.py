"""PostgreSQL from the distribution, with a data folder under the home.

PostgreSQL refuses to run as root. Then it runs as the account `postgres` (made by the package),
which owns the data folder. That account often can't walk the way to it: `/root` is closed to
others. So the folder is opened by root and handed over as an open file descriptor, and the server
is told `/proc/self/fd/N`: the kernel checks the folder itself and not the way, and neither a mode
above it nor a privilege changes. Every server process inherits the descriptor.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg2  # type: ignore[import-untyped]
from psycopg2 import sql
from psycopg2.extensions import encrypt_password  # type: ignore[import-untyped]

from greenlight.adapters.stack.ports import LOOPBACK
from greenlight.adapters.stack.secrets import StackSecrets
from greenlight.adapters.stack.services import Service, ServiceName
from greenlight.core.errors import ConfigError, ProcessDiedError

INSTALLED = Path("/usr/lib/postgresql")
ACCOUNT = "postgres"
SUPERUSER = "postgres"
ROLE = "greenlight"
DATABASES = ("airflow", "mlflow", "greenlight")
INSTALL_HINT = "install it with `scripts/setup system`, or use docker compose"
HANDLE = 200
"""The same number at every start, so that the command line stays the same."""
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": "UTC"}
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "150",
    "password_encryption": "scram-sha-256",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A data folder and the programs that can serve it."""

    home: Path
    """Holds `data`; owned by the account the server runs as."""
    programs: Path
    account: str | None
    """The account to become; none when this process may serve the data itself."""

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.home / "data"

    @property
    def is_initialized(self) -> bool:
        """Whether there are databases in the folder."""
        return (self.data / "PG_VERSION").exists()


def find_cluster(home: Path, *, installed: Path = INSTALLED, is_root: bool) -> Cluster:
    """Choose the programs and the account for the data folder under `home`.

    Raises:
        ConfigError: PostgreSQL isn't installed, or only a version that can't read the data.
    """
    versions = {
        int(path.parent.parent.name): path.parent
        for path in installed.glob("*/bin/initdb")
        if path.parent.parent.name.isdigit()
    }
    if not versions:
        raise ConfigError(f"PostgreSQL is not installed (no {installed}/*/bin); {INSTALL_HINT}")
    written_by = home / "data/PG_VERSION"
    version = int(written_by.read_text()) if written_by.exists() else max(versions)
    if version not in versions:
        found = ", ".join(str(v) for v in sorted(versions))
        raise ConfigError(
            f"{home / 'data'} was written by PostgreSQL {version}, but only {found} is installed; "
            f"install postgresql-{version}, or move the folder away to start with empty databases"
        )
    if is_root and not _has_account():
        raise ConfigError(
            f"PostgreSQL refuses to run as root and there is no account {ACCOUNT!r} to run it as; "
            f"{INSTALL_HINT}"
        )
    return Cluster(home=home, programs=versions[version], account=ACCOUNT if is_root else None)


def database_url(name: str, *, port: int, password: str) -> str:
    """Return the SQLAlchemy URL of one of `DATABASES`."""
    return f"postgresql+psycopg2://{ROLE}:{quote(password, safe='')}@{LOOPBACK}:{port}/{name}"


@contextmanager
def opened(cluster: Cluster) -> Iterator[tuple[Path, tuple[int, ...]]]:
    """Yield the home as the server's account can reach it, and the descriptors to hand over."""
    if cluster.account is None:
        yield cluster.home, ()
        return
    first = os.open(cluster.home, os.O_RDONLY | os.O_DIRECTORY)
    handle = fcntl.fcntl(first, fcntl.F_DUPFD_CLOEXEC, HANDLE)
    os.close(first)
    try:
        yield Path(f"/proc/self/fd/{handle}"), (handle,)
    finally:
        os.close(handle)


def initialize(cluster: Cluster, secrets: StackSecrets) -> bool:
    """Make the data folder unless it is there; return whether it was made.

    Raises:
        ProcessDiedError: `initdb` failed; the message carries what it said.
    """
    if cluster.is_initialized:
        return False
    making, password = cluster.home / "making", cluster.home / "password"
    cluster.home.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(making, ignore_errors=True)
    password.unlink(missing_ok=True)
    password.touch(mode=0o600)
    password.write_text(secrets.postgres_superuser)
    if cluster.account:
        shutil.chown(cluster.home, cluster.account, cluster.account)
        shutil.chown(password, cluster.account, cluster.account)
    cluster.home.chmod(0o700)
    try:
        with opened(cluster) as (home, handles):
            _run_initdb(cluster, home, handles)
        if cluster.data.exists():
            shutil.rmtree(cluster.data)
        making.rename(cluster.data)
    finally:
        password.unlink(missing_ok=True)
    return True


def server(cluster: Cluster, *, home: Path, port: int) -> Service:
    """Return the server as a service; `home` as `opened` gave it."""
    options = [f"{key}={value}" for key, value in (SETTINGS | {"port": str(port)}).items()]
    flags = [part for option in options for part in ("-c", option)]
    command = [str(cluster.programs / "postgres"), "-D", str(home / "data"), *flags]
    return Service(
        name=ServiceName.POSTGRES,
        command=[*become(cluster.account), *command],
        settings=ENVIRONMENT,
        inherited={},
        cwd=Path("/"),
    )


def become(account: str | None) -> list[str]:
    """Return the words in front of a command that make it run as another account."""
    if account is None:
        return []
    return ["setpriv", f"--reuid={account}", f"--regid={account}", "--init-groups", "--"]


def why_not_ready(*, port: int, password: str) -> str | None:
    """Return why the server can't be used yet; none when it answers."""
    try:
        with closing(_connect(port=port, password=password)):
            return None
    except psycopg2.Error as error:
        return str(error).strip().splitlines()[0]


def create_databases(*, port: int, secrets: StackSecrets) -> None:
    """Make the role and the databases that are missing. The password never enters a log."""
    with closing(_connect(port=port, password=secrets.postgres_superuser)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            role = sql.Identifier(ROLE)
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE])
            verb = sql.SQL("ALTER ROLE" if cursor.fetchone() else "CREATE ROLE")
            hashed = encrypt_password(
                secrets.postgres, ROLE, scope=connection, algorithm="scram-sha-256"
            )
            cursor.execute(
                sql.SQL("{} {} LOGIN PASSWORD {}").format(verb, role, sql.Literal(hashed))
            )
            cursor.execute("SELECT datname FROM pg_database")
            there = {name for (name,) in cursor.fetchall()}
            for name in DATABASES:
                if name not in there:
                    statement = "CREATE DATABASE {} OWNER {}"
                    cursor.execute(sql.SQL(statement).format(sql.Identifier(name), role))


def schema_version(database: str, *, port: int, password: str) -> str | None:
    """Return the Alembic revisions a database is at; none: it has no schema yet."""
    with (
        closing(_connect(port=port, password=password, user=ROLE, database=database)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT to_regclass('alembic_version')")
        if cursor.fetchone()[0] is None:
            return None
        cursor.execute("SELECT version_num FROM alembic_version ORDER BY 1")
        return ",".join(row[0] for row in cursor.fetchall()) or None


def _connect(
    *, port: int, password: str, user: str = SUPERUSER, database: str = "postgres"
) -> psycopg2.extensions.connection:
    return psycopg2.connect(
        host=LOOPBACK,
        port=port,
        user=user,
        password=password,
        dbname=database,
        connect_timeout=5,
        application_name="greenlight stack",
    )


def _run_initdb(cluster: Cluster, home: Path, handles: Sequence[int]) -> None:
    command = [
        *become(cluster.account),
        str(cluster.programs / "initdb"),
        f"--pgdata={home / 'making'}",
        f"--pwfile={home / 'password'}",
        f"--username={SUPERUSER}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
    ]
    done = subprocess.run(
        command,
        env=ENVIRONMENT,
        cwd="/",
        pass_fds=handles,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = re.sub(r"\n+", "\n  ", done.stderr.strip())
        raise ProcessDiedError(f"initdb ended with exit code {done.returncode}:\n  {said}")


def _has_account() -> bool:
    try:
        pwd.getpwnam(ACCOUNT)
    except KeyError:
        return False
    return True
