"""What `gateway.py` measures on: an engine's stand-ins, the gateways, and the loads.

Whatever is measured runs on one core, and everything else (load, engine, Redis, issuer) on another.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from greenlight.adapters.processes import LeashedProcess
from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.testing.servers import free_port

MODEL = "bench"
OURS, REST = "0", "1"
"""The cores."""
READY_S = 120.0
MOST_SILENT = 0.99
"""Of the streams so many must have sent a token; else nothing was measured."""
ANSWER = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": MODEL,
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 32},
                 "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 24, "completion_tokens": 32, "total_tokens": 56},
}  # fmt: skip
ASKED = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "Please say something about the weather. " * 4}],
    "max_tokens": 64,
    "temperature": 0.7,
}
SCRIPT = """
wrk.method = "POST"
wrk.body = os.getenv("BODY")
wrk.headers["Content-Type"] = "application/json"
if os.getenv("TOKEN") ~= "" then wrk.headers["Authorization"] = "Bearer " .. os.getenv("TOKEN") end
done = function(summary, latency, requests)
  local e = summary.errors
  print(string.format("RESULT %d %d %d %f %f", summary.requests, summary.duration,
    e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50),
    latency:percentile(99)))
end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One thing that is measured."""

    name: str
    url: str
    token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What `wrk` found. Latencies in milliseconds."""

    rps: float
    failed: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """What concurrent streams found."""

    ttft_p50_ms: float
    ttft_p99_ms: float
    tokens_s: float
    cut: int


def load(target: Target, *, connections: int, seconds: float, folder: Path) -> Load:
    """Ask in a closed loop from so many connections."""
    program = shutil.which("wrk")
    if program is None:
        raise ConfigError("wrk is missing: apt-get install wrk (scripts/setup dev does)")
    script = folder / "load.lua"
    script.write_text(SCRIPT)
    command = [
        "taskset", "-c", REST, program, "-t1", f"-c{connections}", f"-d{seconds:g}s",
        "--timeout", "30s", "-s", str(script), f"{target.url}/v1/chat/completions",
    ]  # fmt: skip
    environment = os.environ | {"BODY": json.dumps(ASKED), "TOKEN": target.token}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found = re.search(r"RESULT (\d+) (\d+) (\d+) ([\d.]+) ([\d.]+)", done.stdout)
    if found is None:
        raise UnavailableError(f"wrk said: {done.stdout} {done.stderr}")
    requests, micro_s, failed = (int(found[number]) for number in (1, 2, 3))
    return Load(
        rps=requests / (micro_s / 1e6),
        failed=failed,
        p50_ms=float(found[4]) / 1000,
        p99_ms=float(found[5]) / 1000,
    )


def streams(target: Target, *, count: int, rounds: int) -> Streams:
    """Open so many streams at once, again and again."""
    found: list[Stream] = []

    async def main() -> float:
        headers = {"Authorization": f"Bearer {target.token}"} if target.token else {}
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
            began = time.perf_counter()
            for _ in range(rounds):
                found.extend(
                    await asyncio.gather(*(_stream(session, target.url) for _ in range(count)))
                )
            return time.perf_counter() - began

    took = asyncio.run(main())
    first = sorted(stream.first_s for stream in found if stream.first_s is not None)
    if len(first) < MOST_SILENT * len(found):
        raise UnavailableError(f"{target.name}: {len(first)} of {len(found)} streams sent a token")
    return Streams(
        ttft_p50_ms=1000 * statistics.median(first),
        ttft_p99_ms=1000 * first[int(0.99 * (len(first) - 1))],
        tokens_s=sum(stream.tokens for stream in found) / took,
        cut=sum(not stream.ended for stream in found),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One stream. `first_s`: to its first token."""

    first_s: float | None
    tokens: int
    ended: bool


async def _stream(session: aiohttp.ClientSession, url: str) -> Stream:
    began, first, tokens, ended = time.perf_counter(), None, 0, False
    async with session.post(
        f"{url}/v1/chat/completions", json=ASKED | {"stream": True}
    ) as response:
        async for line in response.content:
            ended = ended or b"[DONE]" in line
            if b'"content":' in line:
                tokens += 1
                first = first or time.perf_counter() - began
    return Stream(first_s=first, tokens=tokens, ended=ended)


@contextmanager
def running(
    command: Sequence[str],
    *,
    core: str,
    log: Path,
    ready: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[None]:
    """Run a server on one core until the block ends."""
    with (
        log.open("wb") as output,
        LeashedProcess(
            ["taskset", "-c", core, *command],
            env={**os.environ, **(environment or {})},
            stdout=output,
            stderr=output,
            cwd=cwd or log.parent,
        ) as process,
    ):
        until = time.monotonic() + READY_S
        while not ready():
            if process.poll() is not None or time.monotonic() > until:
                raise UnavailableError(f"{command[0]} did not start; see {log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield


def answers(url: str, *, below: int = 500) -> Callable[[], bool]:
    """Return whether something answers at an address."""

    def ask() -> bool:
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except urllib.error.HTTPError as error:
            return error.code < below
        except OSError:
            return False
        return True

    return ask


@contextmanager
def static_engine(folder: Path) -> Iterator[str]:
    """Yield an engine that answers at once, always the same: HAProxy itself."""
    port = free_port()
    folder.mkdir()
    body = folder / "answer.json"
    body.write_text(json.dumps(ANSWER))
    config = folder / "haproxy.cfg"
    config.write_text(
        f"""global
    maxconn 4096
defaults
    mode http
    timeout client 60s
    timeout server 60s
    timeout connect 5s
frontend engine
    bind 127.0.0.1:{port}
    option http-buffer-request
    http-request return status 200 content-type application/json file answer.json
"""
    )
    url = f"http://127.0.0.1:{port}"
    with running(
        [_haproxy(), "-db", "-f", str(config)], core=REST, log=folder / "log",
        ready=answers(url), cwd=folder,
    ):  # fmt: skip
        yield url


@contextmanager
def haproxy_alone(upstream: str, public_key: Path, folder: Path) -> Iterator[str]:
    """Yield the ceiling: HAProxy that checks the same token and forwards, and counts nothing."""
    port = free_port()
    folder.mkdir()
    config = folder / "haproxy.cfg"
    address = upstream.removeprefix("http://")
    shutil.copy(public_key, folder / "public.pem")
    config.write_text(
        f"""global
    maxconn 4096
    nbthread 1
defaults
    mode http
    timeout client 60s
    timeout server 60s
    timeout connect 5s
frontend gateway
    bind 127.0.0.1:{port}
    http-request set-var(txn.bearer) http_auth_bearer
    http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
    http-request deny unless {{ var(txn.alg) -m str RS256 }}
    http-request deny unless {{ var(txn.bearer),jwt_verify(txn.alg,"public.pem") 1 }}
    default_backend engine
backend engine
    http-reuse always
    server engine {address}
"""
    )
    url = f"http://127.0.0.1:{port}"
    with running(
        [_haproxy(), "-db", "-f", str(config)], core=OURS, log=folder / "log",
        ready=answers(url), cwd=folder,
    ):  # fmt: skip
        yield url


@contextmanager
def plain_gateway(
    upstream: str, folder: Path, *, redis_url: str, issuer: str, audience: str, public_key: Path
) -> Iterator[str]:
    """Yield the FastAPI baseline."""
    port = free_port()
    folder.mkdir()
    environment = {
        "UPSTREAM": upstream, "REDIS": redis_url, "ISSUER": issuer, "AUDIENCE": audience,
        "PUBLIC_KEY": str(public_key),
    }  # fmt: skip
    command = [
        sys.executable, "-m", "uvicorn", "plain_gateway:app", "--app-dir",
        str(Path(__file__).parent), "--port", str(port), "--loop", "uvloop", "--http", "httptools",
        "--no-access-log", "--log-level", "warning",
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with running(
        command, core=OURS, log=folder / "log", ready=answers(f"{url}/openapi.json"),
        environment=environment,
    ):  # fmt: skip
        yield url


@contextmanager
def litellm_proxy(
    upstream: str, folder: Path, *, python: Path, redis_port: int, key: str
) -> Iterator[str]:
    """Yield LiteLLM's proxy: its master key and its limits of a model (its JWT is not free)."""
    port = free_port()
    folder.mkdir()
    config = {
        "model_list": [
            {
                "model_name": MODEL,
                "litellm_params": {
                    "model": f"openai/{MODEL}", "api_base": f"{upstream}/v1", "api_key": "none",
                    "rpm": 10**8, "tpm": 10**10,
                },
            }
        ],
        "router_settings": {
            "redis_host": "127.0.0.1", "redis_port": redis_port,
            "optional_pre_call_checks": ["enforce_model_rate_limits"],
        },
        "general_settings": {"master_key": key},
        "litellm_settings": {"telemetry": False, "set_verbose": False},
    }  # fmt: skip
    file = folder / "config.yaml"
    file.write_text(json.dumps(config))
    url = f"http://127.0.0.1:{port}"
    command = [
        str(python.with_name("litellm")), "--config", str(file), "--host", "127.0.0.1", "--port",
        str(port), "--num_workers", "1",
    ]  # fmt: skip
    quiet = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_DOCS": "True"}
    with running(
        command, core=OURS, log=folder / "log", ready=answers(f"{url}/health/liveliness"),
        environment=quiet,
    ):  # fmt: skip
        yield url


def _haproxy() -> str:
    return shutil.which("haproxy") or "/usr/sbin/haproxy"
