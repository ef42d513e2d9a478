"""The cost DAG on a real stack, over REST as a person drives it: an hour, budgets, the report."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
import yaml

from greenlight.adapters import database
from greenlight.adapters.airflow_api import AirflowApi
from greenlight.adapters.rollout_store import DatabaseJournal
from greenlight.adapters.stack.services import StackAddresses
from greenlight.core.settings import Settings
from greenlight.cost.hours import HourState
from greenlight.entrypoints import stack
from greenlight.entrypoints.cost_tools import open_tools
from greenlight.testing.airflow_runs import end_of, open_api, wait_for
from greenlight.testing.cost_fleet import (
    COST,
    FLEET,
    LAST,
    NOW,
    PRICES,
    deploy_twice,
    weeks_of_samples,
)
from greenlight.testing.prometheus_servers import backfill, open_metrics
from greenlight.testing.servers import postgres_binaries

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        postgres_binaries() is None or shutil.which("promtool") is None,
        reason="PostgreSQL or Prometheus is not installed",
    ),
]
DAG = "cost_rightsizing_hourly"
ENDED_WITHIN_S = 400.0
BUDGETS = {
    "currency": "EUR",
    "budgets": [{"name": "everything", "amount": 0.5}, {"name": "next", "amount": 5000}],
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with a fleet, prices, budgets, and a Prometheus that remembers three weeks."""
    settings = Settings(home=tmp_path_factory.mktemp("costs") / "a home with spaces")
    config = settings.home / "config"
    config.mkdir(parents=True)
    files = {"cost": COST, "prices": PRICES, "fleet": {"fleets": [FLEET]}, "budgets": BUDGETS}
    for name, content in files.items():
        (config / f"{name}.yaml").write_text(yaml.safe_dump(content))
    backfill(settings.home / "monitoring/prometheus", open_metrics(weeks_of_samples()))
    return settings


@pytest.fixture(scope="module")
def found(settings: Settings) -> Iterator[StackAddresses]:
    try:
        found = stack.up(settings, report=lambda *_: None)
        engine = database.open_engine(found.database_url)
        deploy_twice(
            DatabaseJournal(engine), ago=(timedelta(hours=4.5), timedelta(hours=3.5))
        )  # so that no more than a few hours are due
        engine.dispose()
        yield found
    finally:
        stack.down(settings, report=lambda *_: None)


@pytest.fixture(scope="module")
def api(found: StackAddresses) -> AirflowApi:
    return open_api(found, DAG)


def run(api: AirflowApi, name: str, **conf: str) -> str:
    """Start a run, and return the state in which it ended."""
    api.start_run(DAG, run_id=name, conf=conf)
    return end_of(api, DAG, name, within_s=ENDED_WITHIN_S)


def alerts_at(found: StackAddresses) -> set[tuple[str, str]]:
    told = httpx.get(f"{found.alertmanager_url}/api/v2/alerts", trust_env=False).json()
    return {(one["labels"]["alertname"], one["labels"].get("budget", "")) for one in told}


def test_an_hour_becomes_costs_advice_alerts_and_a_report(
    settings: Settings, found: StackAddresses, api: AirflowApi
) -> None:
    hours = {"first": f"{LAST:%Y-%m-%dT%H}", "last": f"{NOW:%Y-%m-%dT%H}"}
    ended = run(api, "first", **hours)
    assert ended == "success", api.why_failed(DAG, "first")
    assert api.result(DAG, "first", "compute")["computed"] == 1

    tools = open_tools(settings)
    (hour,) = tools.store.hours(LAST, NOW)
    assert hour.state is HourState.COMPUTED
    assert hour.bill == sum(line.cost for line in tools.store.lines(LAST, NOW))
    assert [one.resources for one in tools.store.advice()] == [{"local-1"}]

    wait_for(lambda: ("BudgetSpent", "everything") in alerts_at(found), seconds=60)
    assert ("BudgetSpent", "next") not in alerts_at(found)

    kept = api.result(DAG, "first", "write_report")
    assert (settings.home / "costs/report/cost-report.html").exists()
    run_id, _, name = kept["url"].rpartition("/runs/")[2].split("/")
    page = httpx.get(
        f"{found.mlflow_url}/get-artifact",
        params={"path": name, "run_uuid": run_id},
        trust_env=False,
    )
    assert f"A budget of {NOW - timedelta(hours=1):%B} is spent" in page.text
    text = (settings.metrics / "costs.prom").read_text()
    assert 'greenlight_budget_amount{budget="next"} 5000.0' in text


def test_the_same_hour_again_changes_nothing_and_tells_nobody_again(
    settings: Settings, api: AirflowApi
) -> None:
    tools = open_tools(settings)
    before = tools.store.lines(LAST, NOW)
    hours = {"first": f"{LAST:%Y-%m-%dT%H}", "last": f"{NOW:%Y-%m-%dT%H}"}
    assert run(api, "again", **hours) == "success"
    assert tools.store.lines(LAST, NOW) == before
    assert api.result(DAG, "again", "tell")["told"] == []


def test_an_hour_without_samples_is_kept_aside_and_fails_its_run_by_name(api: AirflowApi) -> None:
    early = LAST - timedelta(days=25)
    hours = {"first": f"{early:%Y-%m-%dT%H}", "last": f"{early + timedelta(hours=1):%Y-%m-%dT%H}"}
    assert run(api, "early", **hours) == "failed"
    said = api.why_failed(DAG, "early")
    assert "1 hours are kept aside" in said
    assert f"{early:%Y-%m-%d}" in said
