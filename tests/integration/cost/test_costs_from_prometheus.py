"""Three weeks in a real Prometheus, rollouts in a real database, costs through the command line."""

from __future__ import annotations

import csv
import json
import math
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from typer.testing import CliRunner

from greenlight.adapters import database
from greenlight.adapters.rollout_store import DatabaseJournal
from greenlight.cli.main import build
from greenlight.core.errors import GateError, RefusedError
from greenlight.deploy.colours import Colour
from greenlight.deploy.journal import Event, Phase, Step
from greenlight.testing.prometheus_servers import (
    open_metrics,
    prometheus_program,
    prometheus_server,
)
from greenlight.testing.rollout_contract import a_rollout
from greenlight.testing.servers import postgres_binaries, postgres_server

BINARIES = postgres_binaries()
pytestmark = pytest.mark.skipif(
    BINARIES is None or prometheus_program() is None,
    reason="PostgreSQL or Prometheus is not installed",
)
RUN = CliRunner()
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
LAST = NOW - timedelta(hours=1)
DAYS = 21
STEP_S = 60
COST = {
    "environment": "demo",
    "account": dict.fromkeys(("id", "name", "provider", "publisher", "issuer"), "this machine"),
    "prometheus": {"scrape_s": STEP_S},
    "shared": [
        {"name": "artifacts", "kind": "storage", "sku": "disk", "region": "local",
         "term": "storage", "amount": 100}
    ],
    "host_types": [
        {"name": "local", "family": "l", "vcpus": 16, "memory_gib": 64},
        {"name": "local-small", "family": "l", "vcpus": 8, "memory_gib": 32},
    ],
}  # fmt: skip
OWN = {"region": "local", "valid_from": "2026-01-01T00:00:00Z", "source": "our own calculation"}
PRICES = {
    "currency": "EUR",
    "prices": [
        OWN | {"sku": "local", "term": "on_demand", "price": 0.8},
        OWN | {"sku": "local-small", "term": "on_demand", "price": 0.4},
        OWN | {"sku": "disk", "term": "storage", "price": 0.08},
    ],
}
FLEET = {
    "name": "demo",
    "model": "chat",
    "engine": {"kind": "simulator", "kv_cache_gb": 6, "memory_gb": 2},
    "router": {"port": 8100},
    "hosts": [
        {"name": "local-1", "root": "x", "gpu_memory_gb": 32,
         "slots": {"blue": {"port": 8101}, "green": {"port": 8102}}}
    ],
}  # fmt: skip


def use(at):
    """Return how busy the host is: by day more than by night."""
    return 0.15 + 0.1 * math.sin(2 * math.pi * at / 86400)


def week_of_samples(lost):
    """Return the series; `lost`: seconds that nobody scraped."""
    start = NOW.timestamp() - DAYS * 86400
    at = [start + n * STEP_S for n in range(DAYS * 1440 + 1)]
    recent = [t for t in at if t > NOW.timestamp() - 6 * 3600 and t not in lost]
    idle, total = [], 0.0
    for t in at:
        total += STEP_S * (1 - use(t))
        if t not in lost:
            idle.append((t, total))
    engines = {c: {"host": "local-1", "colour": c} for c in ("blue", "green")}
    tokens = {"model": "chat", "colour": "green", "tenant": "search"}

    def flat(value):
        return [(t, value) for t in recent]

    def growing(rate):
        return [(t, rate * (t - recent[0])) for t in recent]

    return [
        ("node_cpu_seconds_total", {"cpu": "0", "mode": "idle"}, idle),
        ("node_memory_MemTotal_bytes", {}, [(t, 64e9) for t, _ in idle]),
        ("node_memory_MemAvailable_bytes", {}, [(t, 54e9 - 1e9 * use(t)) for t, _ in idle]),
        *[("up", labels, flat(1)) for labels in engines.values()],
        ("vllm:num_requests_running", engines["green"], flat(4)),
        ("vllm:num_requests_running", engines["blue"], flat(0)),
        ("vllm:prompt_tokens_total", engines["green"], growing(300)),
        ("vllm:generation_tokens_total", engines["green"], growing(100)),
        ("vllm:prompt_tokens_total", engines["blue"], flat(5)),
        ("vllm:generation_tokens_total", engines["blue"], flat(5)),
        ("greenlight_gateway_tokens_total", tokens | {"direction": "input"}, growing(225)),
        ("greenlight_gateway_tokens_total", tokens | {"direction": "output"}, growing(75)),
    ]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("a home with spaces")
    (folder / "config").mkdir()
    for name, content in (("cost", COST), ("prices", PRICES), ("fleet", {"fleets": [FLEET]})):
        (folder / "config" / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return folder


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    gap = (LAST - timedelta(hours=1)).timestamp()
    lost = {gap + n * STEP_S for n in range(1, 60)}
    text = open_metrics(week_of_samples(lost))
    with (
        prometheus_server(tmp_path_factory.mktemp("prometheus"), text) as prometheus,
        postgres_server(BINARIES) as url,
    ):
        database.migrate(url)
        engine = database.open_engine(url)
        _deploy(DatabaseJournal(engine))
        engine.dispose()
        yield prometheus, url


def _deploy(journal):
    for number, (colour, days) in enumerate([(Colour.BLUE, 22), (Colour.GREEN, 20)]):
        at = NOW - timedelta(days=days)
        rollout = a_rollout(f"r{number}", fleet="demo")
        fields = {name: getattr(rollout, name) for name in rollout.__slots__}
        rollout = type(rollout)(
            **fields | {"colour": colour, "version": 6 + number, "started_at": at, "model": "chat"}
        )
        journal.open_rollout(rollout)
        for step, detail in ((Step.PREPARE, {}), (Step.FINISH, {"outcome": "live"})):
            journal.append(
                Event(rollout_id=rollout.id, at=at, step=step, phase=Phase.DONE, detail=detail)
            )


@pytest.fixture
def greenlight(home, servers, monkeypatch):
    prometheus, url = servers
    monkeypatch.setenv("GREENLIGHT_HOME", str(home))
    monkeypatch.setenv("GREENLIGHT_PROMETHEUS_URL", prometheus)
    monkeypatch.setenv("GREENLIGHT_DATABASE_URL", url)

    def run(*arguments):
        result = RUN.invoke(build(), ["cost", *map(str, arguments)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    return run


def hour(at):
    return f"{at:%Y-%m-%dT%H}"


def test_an_hour_is_computed_shown_and_exported(greenlight, home):
    assert "1 hosts with 2 engines" in greenlight(
        "run", "--dry-run", "--from", hour(LAST), "--to", hour(NOW)
    )
    greenlight("run", "--from", hour(LAST), "--to", hour(NOW))
    shown = greenlight("show", "--from", hour(LAST), "--to", hour(NOW), "--json")
    found = json.loads(shown)
    sums = {(row["model"], row["tenant"]): row for row in found["sums"]}
    assert sum(float(row["bill"]) for row in found["sums"]) == pytest.approx(0.8 + 8 / 730)
    search, rest = sums["chat", "search"], sums["chat", None]
    assert float(search["workload"]) == pytest.approx(0.75 * 0.25 * 0.8, rel=0.05)
    assert float(rest["warm"]) == pytest.approx(0.25 * 0.8, rel=0.05)
    prices = {row["version"]: row for row in found["per_million_tokens"]}
    assert float(prices["7"]["reservation"]["output"]) > float(prices["7"]["usage"]["output"])
    assert prices["6"]["reservation"] is None
    assert found["missing_hours"] == 0
    greenlight("show", "--from", hour(LAST), "--to", hour(NOW))
    path = home / "out put.csv"
    greenlight("export", path, "--from", hour(LAST), "--to", hour(NOW))
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(float(row["BilledCost"]) for row in rows) == pytest.approx(0.8 + 8 / 730)
    assert not (home / "costs/data docs" / hour(LAST)).exists()


def test_an_hour_that_nobody_scraped_is_kept_aside_and_told(greenlight, home):
    gap = LAST - timedelta(hours=1)
    with pytest.raises(GateError, match="1 of 1 hours are kept aside"):
        greenlight("run", "--from", hour(gap), "--to", hour(LAST))
    shown = greenlight("show", "--from", hour(gap), "--to", hour(LAST))
    assert "less than 50% of the hosts' time was measured" in shown
    assert (home / "costs/data docs" / hour(gap) / "hosts/index.html").is_file()


def test_advice_is_made_from_three_weeks_and_a_person_answers_it(greenlight):
    said = greenlight("analyze")
    assert "local-1: local-small, saves 292.00 a month" in said
    assert "backtest: above for" in said
    assert "292.00" in greenlight("advice")
    greenlight("run", "--from", hour(LAST), "--to", hour(NOW))
    greenlight("accept", "size/local-1")
    with pytest.raises(RefusedError, match="too few to measure"):
        greenlight("realise", "size/local-1")
    greenlight("dismiss", "size/local-1", "--reason", "the demo needs room")
    assert "the demo needs room" in greenlight("advice")
    greenlight("analyze")
    assert "dismissed" in greenlight("advice")
