"""`greenlight gateway run` as a user starts it: two workers, real PostgreSQL, real Redis."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from greenlight.adapters.audit_store import DatabaseAudit
from greenlight.adapters.database import migrate, open_engine
from greenlight.adapters.processes import LeashedProcess
from greenlight.adapters.stack.secrets import load_or_create_secrets
from greenlight.testing.engine_simulator import EngineSimulator
from greenlight.testing.gateway_worlds import MODEL, write_tokenizer
from greenlight.testing.otlp_sink import OtlpSink, otlp_sink
from greenlight.testing.redis_servers import RedisProcess, redis_is_installed, redis_process
from greenlight.testing.servers import free_ports, postgres_binaries, postgres_server
from greenlight.testing.simulation import Simulation
from greenlight.testing.waiting import wait_for

PROGRAM = Path(sys.executable).with_name("greenlight")
WAIT_S = 60.0
eventually = partial(wait_for, seconds=WAIT_S, every_s=0.1)
ASKED = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 20}

pytestmark = [
    pytest.mark.skipif(postgres_binaries() is None, reason="PostgreSQL is not installed"),
    pytest.mark.skipif(not redis_is_installed(), reason="Redis is not installed"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A gateway, and what it stands on."""

    url: str
    metrics_url: str
    process: LeashedProcess
    engine: EngineSimulator
    redis: RedisProcess
    environment: dict[str, str]
    audit: DatabaseAudit
    collector: OtlpSink

    def command(self, *words: str) -> str:
        done = subprocess.run(
            [PROGRAM, *words], env=os.environ | self.environment, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        return done.stdout.strip()

    def ask(self, key: str, **options: Any) -> httpx.Response:
        return httpx.post(
            f"{self.url}/v1/chat/completions",
            json=ASKED | options,
            headers={"Authorization": f"Bearer {key}"},
            timeout=30,
        )

    def workers(self) -> list[psutil.Process]:
        """The processes that serve: the youngest generation but helpers of multiprocessing."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if serves(child)]

    def metric(self, name: str) -> float:
        lines = httpx.get(self.metrics_url).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{name}{{"))


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder: Path = tmp_path_factory.mktemp("gateway") / "a home with spaces"
    binaries = postgres_binaries()
    assert binaries is not None
    with ExitStack() as stack:
        folder.mkdir()
        redis = stack.enter_context(redis_process(folder / "redis"))
        database_url = stack.enter_context(postgres_server(binaries))
        migrate(database_url)
        quick = Simulation(first_token_s=0.02, token_s=0.02, tokens=10)
        engine = stack.enter_context(EngineSimulator(quick, model=MODEL))
        secrets = load_or_create_secrets(folder / "secrets")
        port, metrics_port = free_ports(2)
        write_file(folder, redis, engine.url, port=port, metrics_port=metrics_port)
        collector = stack.enter_context(otlp_sink())
        environment = {
            "GREENLIGHT_HOME": str(folder),
            "GREENLIGHT_DATABASE_URL": database_url,
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        log = stack.enter_context((folder / "gateway.log").open("wb"))
        process = stack.enter_context(
            LeashedProcess(
                [str(PROGRAM), "gateway", "run"], env=os.environ | environment, stdout=log,
                stderr=log, cwd=folder,
            )
        )  # fmt: skip
        url = f"http://127.0.0.1:{port}"
        found = Running(
            url=url, metrics_url=f"http://127.0.0.1:{metrics_port}/metrics", process=process,
            engine=engine, redis=redis, environment=environment,
            audit=DatabaseAudit(open_engine(database_url), secret=secrets.gateway_audit),
            collector=collector,
        )  # fmt: skip
        eventually(lambda: answers(url), why=lambda: (folder / "gateway.log").read_text())
        yield found


def write_file(
    folder: Path, redis: RedisProcess, upstream: str, *, port: int, metrics_port: int
) -> None:
    password = folder / "redis-password"
    password.write_text(str(redis.address.password))
    tokenizer = str(write_tokenizer(folder / "tokenizer"))
    model = {"name": MODEL, "upstream": upstream, "context": 2048, "tokenizer": tokenizer}
    few = {"requests_per_minute": 5}
    (folder / "config").mkdir()
    (folder / "config/gateway.yaml").write_text(
        yaml.safe_dump(
            {
                "listen": {"port": port, "metrics_port": metrics_port, "workers": 2},
                "models": [model],
                "tenants": [{"name": "acme"}, {"name": "small", "limits": few}],
                "redis": {"url": redis.address.url, "password_file": str(password)},
            }
        )
    )


@pytest.fixture(scope="module")
def key(gateway: Running) -> str:
    return gateway.command(
        "keys", "create", "--tenant", "acme", "--scope", "chat", "--scope", "model:*"
    )


def serves(process: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.Error:  # it has just ended
        return False


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_a_key_of_the_command_line_opens_and_what_it_did_is_in_the_chain(
    gateway: Running, key: str
) -> None:
    assert gateway.ask(key).status_code == 200
    eventually(lambda: gateway.audit.find(event="request.completion"))
    record = gateway.audit.find(event="request.completion")[-1].record
    assert record.detail["answer_tokens"] == 11
    assert "hello" not in json.dumps(record.detail)
    assert "what was written" in gateway.command("audit", "verify")


def test_its_workers_tell_the_collector_of_the_environment_and_count_their_lines(
    gateway: Running, key: str
) -> None:
    gateway.collector.spans.clear()
    assert gateway.ask(key).status_code == 200
    (span,) = eventually(lambda: list(gateway.collector.spans))
    assert (span.service, span.name) == ("greenlight-gateway", "POST /v1/chat/completions")
    assert gateway.engine.traceparents[-1] == f"00-{span.trace_id}-{span.span_id}-01"
    written = json.loads(
        gateway.command("audit", "list", "--json", "--event", "request.completion")
    )
    assert span.trace_id in {one["detail"]["trace_id"] for one in written}
    assert eventually(lambda: "greenlight_log_lines_total{" in httpx.get(gateway.metrics_url).text)


def test_two_workers_count_one_limit(gateway: Running) -> None:
    few = gateway.command(
        "keys", "create", "--tenant", "small", "--scope", "chat", "--scope", "model:*"
    )
    statuses = [gateway.ask(few).status_code for _ in range(12)]
    assert statuses.count(200) == 5
    assert statuses.count(429) == 7


def test_a_worker_that_is_killed_is_replaced_and_what_it_counted_stays(
    gateway: Running, key: str
) -> None:
    for _ in range(4):
        gateway.ask(key)
    before = gateway.metric("http_requests_total")
    victim = gateway.workers()[0]
    victim.kill()
    eventually(lambda: victim.pid not in {worker.pid for worker in gateway.workers()})
    eventually(lambda: len(gateway.workers()) == 2)
    eventually(lambda: all(answers(gateway.url) for _ in range(4)))
    assert gateway.ask(key).status_code == 200
    assert gateway.metric("http_requests_total") > before


def test_without_redis_nobody_is_served_and_with_it_everybody_is_again(
    gateway: Running, key: str
) -> None:
    gateway.redis.kill()
    refused = gateway.ask(key)
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "limits_unavailable"
    gateway.redis.start()
    eventually(lambda: gateway.ask(key).status_code == 200)


def test_open_answers_end_before_it_stops(gateway: Running, key: str) -> None:
    """The last test of this module: the gateway is stopped."""
    gateway.engine.change(token_s=0.2)
    headers = {"Authorization": f"Bearer {key}"}
    body = ASKED | {"stream": True}
    with httpx.stream(
        "POST", f"{gateway.url}/v1/chat/completions", json=body, headers=headers, timeout=60
    ) as response:
        chunks = response.iter_text()
        next(chunks)
        leader = psutil.Process(gateway.process.pid).children()[0]
        leader.send_signal(signal.SIGTERM)
        rest = "".join(chunks)
    assert rest.endswith("data: [DONE]\n\n")
    eventually(lambda: gateway.process.poll() is not None)
    records = gateway.audit.find(event="request.completion")
    assert records[-1].record.detail["answer_tokens"] == 11
