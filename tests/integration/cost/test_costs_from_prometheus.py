"""Three weeks in a real Prometheus, rollouts in a real database, costs through the command line."""

from __future__ import annotations

import csv
import json
from datetime import timedelta

import pytest
import yaml
from typer.testing import CliRunner

from greenlight.adapters import database
from greenlight.adapters.rollout_store import DatabaseJournal
from greenlight.cli.main import build
from greenlight.core.errors import GateError, RefusedError
from greenlight.testing.cost_fleet import (
    COST,
    FLEET,
    LAST,
    NOW,
    PRICES,
    STEP_S,
    deploy_twice,
    weeks_of_samples,
)
from greenlight.testing.prometheus_servers import (
    open_metrics,
    prometheus_program,
    prometheus_server,
)
from greenlight.testing.servers import postgres_binaries, postgres_server

BINARIES = postgres_binaries()
pytestmark = pytest.mark.skipif(
    BINARIES is None or prometheus_program() is None,
    reason="PostgreSQL or Prometheus is not installed",
)
RUN = CliRunner()


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
    text = open_metrics(weeks_of_samples(lost))
    with (
        prometheus_server(tmp_path_factory.mktemp("prometheus"), text) as prometheus,
        postgres_server(BINARIES) as url,
    ):
        database.migrate(url)
        engine = database.open_engine(url)
        deploy_twice(DatabaseJournal(engine))
        engine.dispose()
        yield prometheus, url


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
