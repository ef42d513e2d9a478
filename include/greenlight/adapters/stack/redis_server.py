"""Redis on loopback: where the gateway counts limits and keeps answers.

The configuration knows the password by its SHA-256 only. The one user reaches Greenlight's keys and
no command that could read or change the server: an access list names those by category, which also
covers what a newer Redis brings (`rename-command` would need every name).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path

from greenlight.adapters.processes import find_program
from greenlight.adapters.redis_connection import RedisAddress
from greenlight.adapters.stack.ports import LOOPBACK, is_free, read_ports
from greenlight.adapters.stack.secrets import load_secret
from greenlight.adapters.stack.services import Service, ServiceName
from greenlight.core.errors import ConfigError, RefusedError
from greenlight.core.files import write_atomically
from greenlight.core.settings import Ports, Settings
from greenlight.gateway.gateway_file import RedisSettings

PROGRAM = "redis-server"
CONFIG = "redis.conf"
MAX_MEMORY = "256mb"
ANSWER_S = 2.0

TEMPLATE = """\
bind {host}
port {port}
protected-mode yes
user default reset on #{digest} ~greenlight:* +@all -@admin -@dangerous +info
# A second of counts may be lost with the machine, none with the process.
appendonly yes
appendfsync everysec
save ""
# A limit that is forgotten lets too much through: better refuse to write.
maxmemory {memory}
maxmemory-policy noeviction
daemonize no
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisServer:
    """One server. `folder` holds its data and its configuration, and is where it runs."""

    folder: Path
    port: int
    password: str = field(repr=False)

    @property
    def address(self) -> RedisAddress:
        """Where it answers and how to get in."""
        return RedisAddress(url=f"redis://{LOOPBACK}:{self.port}/0", password=self.password)

    @property
    def config(self) -> str:
        """What the server reads."""
        digest = hashlib.sha256(self.password.encode()).hexdigest()
        return TEMPLATE.format(host=LOOPBACK, port=self.port, digest=digest, memory=MAX_MEMORY)


def server_in(settings: Settings, *, port: int, password: str) -> RedisServer:
    """Return the server of a home."""
    return RedisServer(folder=settings.home / "redis", port=port, password=password)


def redis_of(own: RedisSettings, settings: Settings) -> RedisAddress:
    """Return the Redis that was configured, or the embedded stack's.

    Raises:
        RefusedError: the stack was never up, so there is none yet.
        ConfigError: the password file can't be read or is empty.
    """
    if own.url is not None:
        return RedisAddress(
            url=own.url,
            password=_password(own.password_file),
            ca_file=own.ca_file,
            timeout_s=own.timeout_s,
        )
    ports = read_ports(settings.run / "ports.json", Ports)
    if ports is None or not ports.redis:
        raise RefusedError(
            f"the gateway's Redis is the embedded one of {settings.home}, which was never up: run "
            f"`make up`, or set redis.url in gateway.yaml"
        )
    password = load_secret(settings.secrets, "redis")
    address = server_in(settings, port=ports.redis, password=password).address
    return replace(address, timeout_s=own.timeout_s)


def prepare(server: RedisServer) -> None:
    """Write what the server reads, for its owner only."""
    server.folder.mkdir(parents=True, exist_ok=True)
    server.folder.chmod(0o700)
    write_atomically(server.folder / CONFIG, server.config.encode(), mode=0o600)


def service(server: RedisServer, *, program: str = PROGRAM) -> Service:
    """Return the server as a service; `prepare` must have been called.

    Raises:
        ConfigError: Redis is not installed.
    """
    found = find_program(program)
    if found is None:
        raise ConfigError(
            f"Redis, where the gateway counts limits, is not installed (no {program}); "
            f"`scripts/setup system` installs it"
        )
    return Service(
        name=ServiceName.REDIS,
        command=[found, CONFIG],
        settings={
            "PATH": "/usr/bin:/bin",
            "HOME": str(server.folder),
            # read by nobody: with another configuration the server must be started again
            "GREENLIGHT_REDIS_CONFIG": hashlib.sha256(server.config.encode()).hexdigest(),
        },
        inherited={},
        cwd=server.folder,
    )


def why_not_ready(server: RedisServer) -> str | None:
    """Return why the server can't be used yet; none when it answers our password."""
    if is_free(server.port):
        return "nobody listens yet"
    import redis  # a tenth of a second

    with redis.Redis(
        host=LOOPBACK,
        port=server.port,
        password=server.password,
        socket_timeout=ANSWER_S,
        socket_connect_timeout=ANSWER_S,
    ) as client:
        try:
            client.ping()
        except (redis.RedisError, OSError) as error:
            return str(error) or type(error).__name__
    return None


def _password(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        password = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"redis.password_file {path} can't be read: {error.strerror}") from error
    if not password:
        raise ConfigError(f"redis.password_file {path} is empty; put the password in it")
    return password
