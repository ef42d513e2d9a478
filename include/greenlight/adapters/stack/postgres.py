"""PostgreSQL from the distribution, with a data folder under the home.

PostgreSQL refuses to run as root. Then it runs as the account `postgres` (made by the package),
which owns the data folder. That account often can't walk the way to it: `/root` is closed to
others. So the folder is opened by us and handed over as an open file descriptor, and the server
is told `/proc/self/fd/N`: the kernel checks the folder itself and not the way, and neither a mode
above it nor a privilege changes. Every server process inherits the descriptor. The unix socket is
in that folder too, where a long path or one with spaces would not do.

Who owns the folder, or is root, is let in through the socket as the superuser. So a cluster that
was restored, with passwords of the home it comes from, gets those of this home.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import resource
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from greenlight.adapters.stack.ports import LOOPBACK, read_ports
from greenlight.adapters.stack.secrets import StackSecrets, load_secrets
from greenlight.adapters.stack.services import Service, ServiceName
from greenlight.core.errors import ConfigError, ProcessDiedError, RefusedError
from greenlight.core.files import write_atomically
from greenlight.core.settings import Ports, Settings

INSTALLED = Path("/usr/lib/postgresql")
ACCOUNT = "postgres"
SUPERUSER = "postgres"
ROLE = "greenlight"
DATABASES = ("airflow", "mlflow", "greenlight")
INSTALL_HINT = "install it with `scripts/setup system`, or use docker compose"
HANDLE = 1200
"""The same number at every start, so that the command line stays the same. Above 1023: what pushes
the log closes everything below."""
OPEN_FILES = 4096
RESTORED = "restored"
"""A file beside the data: it is a copy, and must not write into the archive it came from."""
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": "UTC"}
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_permissions": "0700",
    "max_connections": "150",
    "password_encryption": "scram-sha-256",
}
ARCHIVING = {"wal_level": "replica", "archive_mode": "on", "archive_timeout": "120"}
ACCESS = f"""\
# Written at every start, whatever was restored: the owner through the socket, others by password.
local all         all peer map=owner
local replication all peer map=owner
host  all         all {LOOPBACK}/32 scram-sha-256
"""


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

    @property
    def is_restored(self) -> bool:
        """Whether it is a copy that a restore wrote. It doesn't archive until that is undone."""
        return (self.home / RESTORED).exists()


def home_in(settings: Settings) -> Path:
    """Return where a home keeps its cluster."""
    return settings.home / "postgres"


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
    return _url(name, port=port, user=ROLE, password=password)


def superuser_url(settings: Settings) -> str:
    """Return the superuser's URL: the one that was configured, or the running cluster's of a home.

    Raises:
        ConfigError: the home has no secrets.
        RefusedError: its stack was never up.
    """
    if settings.superuser_url is not None:
        return settings.superuser_url
    password = load_secrets(settings.secrets).postgres_superuser
    return _url("postgres", port=_port_of(settings), user=SUPERUSER, password=password)


def greenlight_url(settings: Settings) -> str:
    """Return the URL of Greenlight's database in the cluster of a home.

    Raises:
        ConfigError: the home has no secrets.
        RefusedError: its stack was never up.
    """
    password = load_secrets(settings.secrets).postgres
    return database_url("greenlight", port=_port_of(settings), password=password)


@contextmanager
def opened(cluster: Cluster) -> Iterator[tuple[Path, tuple[int, ...]]]:
    """Yield the home as the server's account can reach it, and the descriptors to hand over.

    Raises:
        ConfigError: this account may not open enough files.
    """
    _allow_open_files()
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
    own_folder(cluster)
    shutil.rmtree(making, ignore_errors=True)
    write_private(cluster, password, secrets.postgres_superuser)
    try:
        with opened(cluster) as (home, handles):
            _run_initdb(cluster, home, handles)
        if cluster.data.exists():
            shutil.rmtree(cluster.data)
        making.rename(cluster.data)
    finally:
        password.unlink(missing_ok=True)
    return True


def write_access_rules(cluster: Cluster) -> None:
    """Say who may connect, beside the data and not in it: so it never comes from a backup."""
    own_folder(cluster)
    owner = cluster.account or pwd.getpwuid(os.geteuid()).pw_name
    accounts = dict.fromkeys((owner, pwd.getpwuid(os.geteuid()).pw_name))
    owners = "".join(f'owner "{account}" {SUPERUSER}\n' for account in accounts)
    write_private(cluster, cluster.home / "pg_hba.conf", ACCESS)
    write_private(cluster, cluster.home / "pg_ident.conf", owners)


def server(
    cluster: Cluster, *, home: Path, port: int, archive_command: str | None = None
) -> Service:
    """Return the server as a service; `home` as `opened` gave it. Without a command: no archive."""
    archiving = {"archive_mode": "off"}
    if archive_command:
        archiving = ARCHIVING | {"archive_command": archive_command}
    settings = (
        SETTINGS
        | archiving
        | {
            "port": str(port),
            "unix_socket_directories": str(home),
            "hba_file": str(home / "pg_hba.conf"),
            "ident_file": str(home / "pg_ident.conf"),
        }
    )
    options = [f"{key}={value}" for key, value in settings.items()]
    flags = [part for option in options for part in ("-c", option)]
    command = [str(cluster.programs / "postgres"), "-D", str(home / "data"), *flags]
    return Service(
        name=ServiceName.POSTGRES,
        command=[*become(cluster.account), *command],
        settings=ENVIRONMENT,
        inherited={},
        cwd=Path("/"),
    )


def adopt(cluster: Cluster) -> None:
    """Let a restored cluster that has recovered archive its log from its next start on.

    It recovered without archiving, so the server itself would never push the history of the
    timeline it began, without which nothing that it writes could be restored.

    In the archive it came from it takes the place of the other, which must never run again: two
    clusters that archive to one place spoil it for both.
    """
    status = cluster.data / "pg_wal/archive_status"
    for history in sorted(status.parent.glob("*.history")):
        (status / f"{history.name}.done").unlink(missing_ok=True)
        write_private(cluster, status / f"{history.name}.ready", "")
    (cluster.home / RESTORED).unlink(missing_ok=True)


def become(account: str | None) -> list[str]:
    """Return the words in front of a command that make it run as another account."""
    if account is None:
        return []
    return ["setpriv", f"--reuid={account}", f"--regid={account}", "--init-groups", "--"]


def _port_of(settings: Settings) -> int:
    ports = read_ports(settings.run / "ports.json", Ports)
    if ports is None:
        raise RefusedError(f"the stack of {settings.home} was never up: run `make up`")
    return ports.postgres


def _url(name: str, *, port: int, user: str, password: str) -> str:
    return f"postgresql+psycopg2://{user}:{quote(password, safe='')}@{LOOPBACK}:{port}/{name}"


def _allow_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard <= HANDLE:
        raise ConfigError(f"`ulimit -Hn` is {hard}, so a server can't be started; {OPEN_FILES} do")
    if soft != resource.RLIM_INFINITY and soft <= HANDLE:
        most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def own_folder(cluster: Cluster) -> None:
    """Make the cluster's home unless it is there, for its account alone."""
    cluster.home.mkdir(parents=True, exist_ok=True)
    if cluster.account:
        shutil.chown(cluster.home, cluster.account, cluster.account)
    cluster.home.chmod(0o700)


def write_private(cluster: Cluster, path: Path, text: str) -> None:
    """Write a file that the server's account reads and nobody else."""
    write_atomically(path, text.encode(), mode=0o600)
    give(cluster, path)


def give(cluster: Cluster, path: Path) -> None:
    """Make the server's account the owner of a file or a folder."""
    if cluster.account:
        owner = pwd.getpwnam(cluster.account)
        # the account could have put a link there meanwhile, to a file that is none of its business
        os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)


def _run_initdb(cluster: Cluster, home: Path, handles: Sequence[int]) -> None:
    command = [
        *become(cluster.account),
        str(cluster.programs / "initdb"),
        f"--pgdata={home / 'making'}",
        f"--pwfile={home / 'password'}",
        f"--username={SUPERUSER}",
        "--auth=scram-sha-256",
        "--data-checksums",
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
