"""Budgets, forecasts and days that stand out, from the hours that were kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cost_months import EVERYTHING, UNTIL, filled, opened, world
from moto import mock_aws
from prometheus_client.utils import floatToGoString

from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.cost.anomalies import Anomaly, NotJudged
from greenlight.cost.budgets import NoOutlook, Verdict
from greenlight.cost.budgets_file import BudgetsFile
from greenlight.cost.totals import Dimension
from greenlight.entrypoints import cost_outlook
from greenlight.entrypoints.cost_outlook import BLOCK, CostOutlook, month_of
from greenlight.forecast.choose import forecast
from greenlight.testing.memory_alerts import MemoryAlerts
from greenlight.testing.memory_costs import MemoryCosts

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ONE_MONTH = 72 * 30
"""Coins: a day costs 12 * 4 + 12 * 2."""


def test_a_budget_is_held_against_what_is_spent_and_what_is_to_come(tmp_path: Path) -> None:
    (status,) = opened(tmp_path, EVERYTHING).statuses()
    assert status.spent.amount == 72 * 23 + 8 * 2 + 3 * 4
    assert status.spent.missing == 0
    assert not isinstance(status.outlook, NoOutlook)
    assert abs(status.outlook.amount - ONE_MONTH) < Decimal("0.02") * ONE_MONTH
    verdicts = {(one.basis.value, float(one.threshold)): one.verdict for one in status.checked}
    assert verdicts == {
        ("actual", 0.8): Verdict.CROSSED,
        ("actual", 1.0): Verdict.NOT_CROSSED,
        ("forecast", 1.0): Verdict.CROSSED,
    }


def test_the_hours_of_the_block_that_runs_are_counted_once(tmp_path: Path) -> None:
    outlook = opened(tmp_path)
    begin, ahead = outlook.ahead(month_of(outlook.until))
    assert begin == UNTIL.replace(hour=6)
    assert not hasattr(ahead, "why")
    assert ahead.points.size == (datetime(2026, 12, 1, tzinfo=UTC) - begin) // BLOCK  # type: ignore[union-attr]


def test_what_is_to_come_is_forecast_once_for_each_scope(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def counted(*series: Any, **options: Any) -> Any:
        made.append(options["steps"])
        return forecast(*series, **options)

    monkeypatch.setattr(cost_outlook, "forecast", counted)
    scoped = EVERYTHING | {"name": "acme", "scope": {"tenant": "acme"}}
    outlook = opened(tmp_path, EVERYTHING, EVERYTHING | {"name": "same"}, scoped)
    everything, same, acme = outlook.statuses()
    outlook.ahead(month_of(outlook.until))
    assert len(made) == 2
    assert everything.outlook == same.outlook != acme.outlook


def test_a_scope_without_costs_is_free_and_not_unknown(tmp_path: Path) -> None:
    budget = {"name": "other", "amount": 5, "scope": {"tenant": "nobody"}}
    (status,) = opened(tmp_path, budget).statuses()
    assert status.spent.amount == 0
    assert status.verdict is Verdict.NOT_CROSSED


def test_hours_without_a_bill_make_a_budget_unknown_and_that_is_told(tmp_path: Path) -> None:
    outlook = opened(tmp_path, EVERYTHING | {"amount": 1700}, store=filled(missing=60))
    (status,) = outlook.statuses()
    assert status.spent.missing == 60
    assert isinstance(status.outlook, NoOutlook)
    assert status.verdict is Verdict.UNKNOWN
    told = outlook.tell([status], [])
    assert {alert.name for alert in told.fired} == {"BudgetSpent", "BudgetUnmeasured"}


def test_before_anything_was_deployed_no_hour_is_missing(tmp_path: Path) -> None:
    outlook = opened(tmp_path, EVERYTHING, store=MemoryCosts(), since=None)
    (status,) = outlook.statuses()
    assert (status.spent.hours, status.spent.missing) == (0, 0)


def test_an_alert_is_told_once_and_again_when_its_matter_comes_back(tmp_path: Path) -> None:
    outlook, new, all_of_it = opened(tmp_path, EVERYTHING), MemoryAlerts(), MemoryAlerts()
    statuses = outlook.statuses()
    for _ in range(3):
        outlook.tell(statuses, [], reminded=[all_of_it], informed=[new])
    assert sorted(alert.labels["threshold"] for alert in new.sent) == ["100%", "80%"]
    assert len(all_of_it.sent) == 6
    rich = opened(tmp_path, EVERYTHING | {"amount": 9000}, store=outlook._tools.store)
    over = rich.tell(rich.statuses(), [], informed=[new])
    assert len(over.over) == 2
    outlook.tell(statuses, [], informed=[new])
    assert len(new.sent) == 4
    assert all(alert.key.endswith("#2") for alert in new.sent[2:])


def test_who_does_not_answer_is_told_by_the_next_run(tmp_path: Path) -> None:
    class Away:
        def send(self, alerts: object) -> None:
            raise UnavailableError("away")

    outlook, statuses = opened(tmp_path, EVERYTHING), opened(tmp_path, EVERYTHING).statuses()
    with pytest.raises(UnavailableError):
        outlook.tell(statuses, [], informed=[Away()])
    told = MemoryAlerts()
    outlook.tell(statuses, [], informed=[told])
    assert len(told.sent) == 2


def test_a_dear_day_stands_out_with_the_rows_that_made_it_so(tmp_path: Path) -> None:
    yesterday = (UNTIL - DAY).date()
    outlook = opened(tmp_path, store=filled(dear=yesterday))
    found = outlook.stands_out(yesterday)
    worst = found[0]
    assert isinstance(worst, Anomaly)
    assert (worst.cost, worst.expected) == (3 * worst.expected, worst.cost / 3)
    assert {a.dimension for a in found if isinstance(a, Anomaly)} == {"tenant", "model", "name"}
    assert worst.causes[0].labels["part"]
    assert [a for a in opened(tmp_path).stands_out(yesterday) if isinstance(a, Anomaly)] == []


def test_a_day_with_a_missing_hour_is_not_judged(tmp_path: Path) -> None:
    yesterday = (UNTIL - DAY).date()
    found = opened(tmp_path, store=filled(missing=20)).stands_out(yesterday)
    assert all(isinstance(one, NotJudged) for one in found)


def test_an_anomaly_that_can_not_be_judged_today_is_not_over(tmp_path: Path) -> None:
    yesterday = (UNTIL - DAY).date()
    outlook, told = opened(tmp_path, store=filled(dear=yesterday)), MemoryAlerts()
    found = outlook.stands_out(yesterday)
    outlook.tell([], found, informed=[told])
    assert len(told.sent) == 3
    unknown = [
        NotJudged(dimension=a.dimension, value=a.value, day=yesterday + DAY, why="no bill")
        for a in found
        if isinstance(a, Anomaly)
    ]
    assert outlook.tell([], unknown).over == ()
    assert len(outlook.tell([], []).over) == 3


def test_prometheus_is_told_what_the_newest_hour_cost(tmp_path: Path) -> None:
    outlook = opened(tmp_path, EVERYTHING)
    cost_outlook.publish(outlook._tools, outlook, outlook.statuses(), [])
    text = (outlook._tools.settings.metrics / "costs.prom").read_text()
    assert 'greenlight_cost_per_hour{part="idle"} 1.0' in text
    assert 'greenlight_cost_per_hour{part="serving"} 3.0' in text
    newest = floatToGoString((UNTIL - HOUR).timestamp())
    assert f"greenlight_cost_newest_hour_timestamp_seconds {newest}\n" in text
    assert 'greenlight_budget_amount{budget="everything"} 2000.0' in text


@mock_aws
def test_aws_keeps_the_same_budgets_and_a_second_time_there_is_nothing_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    aws = {"account_id": "1" * 12, "emails": ["a@example.org"]}
    weekly = EVERYTHING | {"name": "a-week", "period": "week"}
    file = BudgetsFile.model_validate({"aws": aws, "budgets": [EVERYTHING, weekly]})
    first = cost_outlook.sync_budgets(file)
    assert first["created"] == ["greenlight-everything"]
    assert list(first["left_out"]) == ["a-week"]
    again = cost_outlook.sync_budgets(file)
    assert (again["created"], again["updated"], again["deleted"]) == ([], [], [])
    with pytest.raises(ConfigError, match="has no `aws`"):
        cost_outlook.sync_budgets(BudgetsFile())


def test_budgets_in_another_currency_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"budgets.yaml is in EUR and prices.yaml in USD"):
        CostOutlook(world(tmp_path), BudgetsFile(currency="EUR"))


def test_spend_of_a_scope_is_that_of_its_lines(tmp_path: Path) -> None:
    outlook = opened(tmp_path)
    spend = outlook.spend(UNTIL - DAY, UNTIL, {Dimension.TENANT: "acme"})
    assert spend.spent(UNTIL - DAY, UNTIL).amount == Decimal(54)
