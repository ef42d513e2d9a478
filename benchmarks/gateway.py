"""The gateway beside LiteLLM's proxy, a plain FastAPI + aiohttp proxy, and HAProxy as the ceiling.

Run it with `make bench-gateway`; about six minutes. In one run, on one machine: what is measured
has one core to itself; load, engine, Redis, Postgres and issuer share another. Each is asked by
`wrk` over 1, 4 and 32 connections; the engine answers at once and always the same, so what is left
is the gateway's. Then 50 streams at a time are opened against a simulated engine that sends a token
every few milliseconds.

The same checks are asked of all, as far as they go: ours and the baseline verify an RS256 token and
count requests and tokens in Redis for every request. Ours also validates the request, counts the
prompt with a tokenizer, reserves and settles, and writes the audit log. LiteLLM checks its master
key (its tokens are not free) and counts its model's limits in Redis. HAProxy checks the token and
counts nothing.

LiteLLM is installed into an environment of its own (`.greenlight/bench/litellm`), nowhere else. The
last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from gateway_world import (
    MODEL,
    REST,
    Load,
    Streams,
    Target,
    answers,
    haproxy_alone,
    litellm_proxy,
    load,
    plain_gateway,
    running,
    static_engine,
    streams,
)
from greenlight.adapters.database import migrate
from greenlight.adapters.stack.secrets import load_or_create_secrets
from greenlight.core.errors import ConfigError
from greenlight.core.settings import load_settings
from greenlight.core.types import JsonDict
from greenlight.testing.gateway_worlds import write_tokenizer
from greenlight.testing.oidc_issuer import OidcIssuer
from greenlight.testing.redis_servers import RedisProcess, redis_process
from greenlight.testing.servers import free_port, postgres_binaries, postgres_server

CONNECTIONS = (1, 4, 32)
LITELLM = "litellm[proxy]==1.80.0"
"""Of 2025. Releases of March 2026 carried malware."""
AUDIENCE, CLIENT = "greenlight", "bench"
STREAMS = 50
ENGINE = ("--first-token-s", "0.05", "--token-s", "0.01", "--tokens", "100")
MOST = 10**9
"""Limits that are counted and never reached."""
OURS_NAME, PLAIN, PEER, CEILING = "ours", "fastapi+aiohttp", "litellm", "haproxy"
ALL_LIMITS = "ours, 6 limits"
"""As a careful operator has it; `ours` alone counts what the others count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What every gateway stands on."""

    folder: Path
    redis: RedisProcess
    peers_redis_port: int
    """Without a password and without a disk: what theirs does is not slowed down by ours."""
    database_url: str
    issuer: OidcIssuer
    token: str
    public_key: Path
    litellm: Path


def main() -> None:
    """Measure, print the table, and end with one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8, help="of every load (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of streams (%(default)s)")
    chosen = parser.parse_args()
    os.sched_setaffinity(0, {int(REST)})
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="greenlight-bench-")))
        world = stack.enter_context(made_world(folder))
        loads = measure_loads(world, seconds=chosen.seconds)
        found = measure_streams(world, rounds=chosen.rounds)
    direct, ours = loads["direct"], loads[OURS_NAME]
    best = {name: max(one.rps for one in by.values()) for name, by in loads.items()}
    print(
        json.dumps(
            {
                "rps_ours": round(best[OURS_NAME]),
                "rps_litellm": round(best[PEER], 1),
                "rps_baseline": round(best[PLAIN]),
                "rps_haproxy": round(best[CEILING]),
                "added_p50_ms": round(ours[1].p50_ms - direct[1].p50_ms, 3),
                "added_p99_ms": round(ours[1].p99_ms - direct[1].p99_ms, 3),
                "over_litellm": round(best[OURS_NAME] / best[PEER], 1),
                "over_baseline": round(best[OURS_NAME] / best[PLAIN], 2),
                "failed": sum(one.failed for by in loads.values() for one in by.values()),
                "by_connections": {name: shown_loads(by) for name, by in loads.items()},
                "streams": {name: shown_streams(one) for name, one in found.items()},
            }
        )
    )


def measure_loads(world: World, *, seconds: float) -> dict[str, dict[int, Load]]:
    """Ask each of them for answers in one piece."""
    found: dict[str, dict[int, Load]] = {}
    with ExitStack() as stack:
        engine = stack.enter_context(static_engine(world.folder / "engine"))
        found["direct"] = by_connections(Target(name="direct", url=engine), world, seconds)
        for name in (OURS_NAME, ALL_LIMITS, PLAIN, CEILING, PEER):
            with started(name, engine, world, world.folder / f"{name}-loads") as target:
                found[name] = by_connections(target, world, seconds)
    return found


def by_connections(target: Target, world: World, seconds: float) -> dict[int, Load]:
    """Ask over few and over many connections."""
    load(target, connections=4, seconds=2, folder=world.folder)  # warm
    found = {}
    for connections in CONNECTIONS:
        one = load(target, connections=connections, seconds=seconds, folder=world.folder)
        found[connections] = one
        print(
            f"{target.name:16} {connections:3} connections {one.rps:9,.0f} requests/s, "
            f"p50 {one.p50_ms:8.3f} ms, p99 {one.p99_ms:8.3f} ms, {one.failed} failed",
            flush=True,
        )
    return found


def measure_streams(world: World, *, rounds: int) -> dict[str, Streams]:
    """Open streams against each of them."""
    found: dict[str, Streams] = {}
    with simulated_engine(world.folder) as engine:
        found["direct"] = streams(Target(name="direct", url=engine), count=STREAMS, rounds=rounds)
        for name in (OURS_NAME, PLAIN, CEILING, PEER):
            with started(name, engine, world, world.folder / f"{name}-streams") as target:
                found[name] = streams(target, count=STREAMS, rounds=rounds)
    for name, one in found.items():
        print(
            f"{name:16} {STREAMS} streams: first token p50 {one.ttft_p50_ms:.1f} ms, p99 "
            f"{one.ttft_p99_ms:.1f} ms, {one.tokens_s:,.0f} tokens/s, {one.cut} cut",
            flush=True,
        )
    return found


@contextmanager
def started(name: str, engine: str, world: World, folder: Path) -> Iterator[Target]:
    """Yield one gateway, in front of an engine."""
    token, key = world.token, "sk-bench"
    if name == CEILING:
        with haproxy_alone(engine, world.public_key, folder) as url:
            yield Target(name=name, url=url, token=token)
    elif name == PLAIN:
        redis_url = f"redis://127.0.0.1:{world.peers_redis_port}"
        with plain_gateway(
            engine, folder, redis_url=redis_url, issuer=world.issuer.url, audience=AUDIENCE,
            public_key=world.public_key,
        ) as url:  # fmt: skip
            yield Target(name=name, url=url, token=token)
    elif name == PEER:
        with litellm_proxy(
            engine, folder, python=world.litellm, redis_port=world.peers_redis_port, key=key,
        ) as url:  # fmt: skip
            yield Target(name=name, url=url, token=key)
    else:
        with our_gateway(engine, world, folder, all_limits=name == ALL_LIMITS) as url:
            yield Target(name=name, url=url, token=token)


@contextmanager
def made_world(folder: Path) -> Iterator[World]:
    """Start what all of them need, on the other core, and make their token."""
    binaries = postgres_binaries()
    if binaries is None:
        raise ConfigError("PostgreSQL is not installed: scripts/setup system installs it")
    with ExitStack() as stack:
        redis = stack.enter_context(redis_process(folder / "redis"))
        peers_redis_port = stack.enter_context(peers_redis(folder))
        database_url = stack.enter_context(postgres_server(binaries))
        migrate(database_url)
        issuer = stack.enter_context(OidcIssuer(algorithm="RS256"))
        issuer.change_grant(tenant=CLIENT, lifetime_s=3600)
        public_key = folder / "public.pem"
        public_key.write_bytes(issuer.keys[-1].as_pem(private=False))
        yield World(
            folder=folder,
            redis=redis,
            peers_redis_port=peers_redis_port,
            database_url=database_url,
            issuer=issuer,
            token=issuer.token(aud=AUDIENCE),
            public_key=public_key,
            litellm=litellm_environment(),
        )


@contextmanager
def our_gateway(
    engine: str, world: World, folder: Path, *, all_limits: bool = False
) -> Iterator[str]:
    """Yield ours, one worker, as a user starts it."""
    home = folder / "home"
    (home / "config").mkdir(parents=True)
    load_or_create_secrets(world.folder / "secrets")  # one database, so one audit log
    shutil.copytree(world.folder / "secrets", home / "secrets")
    password = folder / "redis-password"
    password.write_text(str(world.redis.address.password))
    port, metrics_port = free_port(), free_port()
    many = {"requests_per_minute": MOST, "tokens_per_minute": MOST}
    limits: JsonDict = {"each_key": many}
    if all_limits:
        limits = {name: many | {"streams": 10_000} for name in ("limits", "each_key")}
    (home / "config/gateway.yaml").write_text(
        yaml.safe_dump(
            {
                "listen": {"port": port, "metrics_port": metrics_port},
                "models": [
                    {
                        "name": MODEL,
                        "upstream": engine,
                        "context": 4096,
                        "tokenizer": str(write_tokenizer(folder / "tokenizer")),
                    }
                ],
                "tenants": [{"name": CLIENT} | limits],
                "issuers": [{"issuer": world.issuer.url, "audience": AUDIENCE}],
                "redis": {
                    "url": f"redis://127.0.0.1:{world.redis.server.port}/0",
                    "password_file": str(password),
                },
                "cache": {"enabled": False},
            }
        )
    )
    environment = {"GREENLIGHT_HOME": str(home), "GREENLIGHT_DATABASE_URL": world.database_url}
    command = [str(Path(sys.executable).with_name("greenlight")), "gateway", "run"]
    url = f"http://127.0.0.1:{port}"
    with running(
        command, core="0", log=folder / "log", ready=answers(f"{url}/healthz", below=400),
        environment=environment,
    ):  # fmt: skip
        yield url


@contextmanager
def simulated_engine(folder: Path) -> Iterator[str]:
    """Yield an engine that streams."""
    model = folder / "model"
    model.mkdir()
    port = free_port()
    command = [
        sys.executable, "-m", "greenlight.testing.engine_simulator", "--model", str(model),
        "--served-model-name", MODEL, "--port", str(port), *ENGINE,
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with running(command, core=REST, log=folder / "engine.log", ready=answers(f"{url}/health")):
        yield url


@contextmanager
def peers_redis(folder: Path) -> Iterator[int]:
    """Yield the port of a Redis for the others."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]

    def is_up() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    with running(command, core=REST, log=folder / "peers-redis.log", ready=is_up):
        yield port


def litellm_environment() -> Path:
    """Return the Python of an environment with LiteLLM, made on the first run."""
    settings = load_settings()
    folder = settings.project / ".greenlight/bench/litellm"
    python = folder / "bin/python"
    stamp = folder / "greenlight-installed"
    if not stamp.exists() or stamp.read_text() != LITELLM:
        uv = settings.project / ".greenlight/tools/uv/bin/uv"
        print(f"installing {LITELLM} into {folder}", flush=True)
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", "3.11", folder], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, LITELLM], check=True)
        stamp.write_text(LITELLM)
    return python


def shown_loads(by: dict[int, Load]) -> JsonDict:
    """Return them for the last line."""
    return {
        str(number): {
            "rps": round(one.rps), "p50_ms": round(one.p50_ms, 3), "p99_ms": round(one.p99_ms, 3),
        }
        for number, one in by.items()
    }  # fmt: skip


def shown_streams(found: Streams) -> JsonDict:
    """Return them for the last line."""
    return {
        "ttft_p50_ms": round(found.ttft_p50_ms, 1),
        "ttft_p99_ms": round(found.ttft_p99_ms, 1),
        "tokens_s": round(found.tokens_s),
        "cut": found.cut,
    }


if __name__ == "__main__":
    main()
