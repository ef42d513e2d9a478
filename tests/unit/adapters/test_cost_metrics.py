"""What Prometheus reads of costs: unknown is left out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from greenlight.adapters.cost_metrics import FILE, CostNumbers, write_costs
from greenlight.cost.budgets import NoOutlook, Spent, check
from greenlight.cost.budgets_file import Budget
from greenlight.cost.totals import Total

NOW = datetime(2026, 11, 24, 11, 7, tzinfo=UTC)
COIN = 10**9
Samples = dict[tuple[str, tuple[str, ...]], float]


def read(folder: Path, **changes: object) -> Samples:
    fields = {
        "looked_at": NOW, "newest_hour": None, "hour": None, "by_model": {}, "units": (),
        "aside": 0, "advised": None, "anomalies": None, "budgets": (),
    }  # fmt: skip
    write_costs(folder, CostNumbers(**fields | changes))  # type: ignore[arg-type]
    text = (folder / FILE).read_text()
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_is_not_known_is_left_out(tmp_path: Path) -> None:
    assert read(tmp_path) == {
        ("greenlight_cost_looked_at_timestamp_seconds", ()): NOW.timestamp(),
        ("greenlight_cost_hours_aside", ()): 0,
    }


def test_the_parts_of_an_hour_add_up_to_its_bill(tmp_path: Path) -> None:
    hour = Total(
        workload=10 * COIN, warm=3 * COIN, idle=5 * COIN, unmeasured=COIN, overhead=2 * COIN
    )
    found = read(tmp_path, hour=hour, by_model={"chat": hour})
    parts = {labels: v for (name, labels), v in found.items() if name == "greenlight_cost_per_hour"}
    assert parts == {
        ("serving",): 7, ("warm",): 3, ("idle",): 4, ("unmeasured",): 1, ("overhead",): 2,
    }  # fmt: skip
    assert found["greenlight_cost_model_per_hour", ("chat",)] == 10


def test_a_budget_whose_spending_is_unknown_shows_its_amount_alone(tmp_path: Path) -> None:
    budget = Budget.model_validate({"name": "all", "amount": 100})
    dark = Spent(amount=None, hours=24, missing=24)
    status = check(budget, dark, NoOutlook(why="no bill"), now=NOW - timedelta(hours=1))
    found = read(tmp_path, budgets=[status], advised=Decimal(7), anomalies=2)
    assert found["greenlight_budget_amount", ("all",)] == 100
    assert ("greenlight_budget_spent", ("all",)) not in found
    assert found["greenlight_cost_advised_saving_per_month", ()] == 7
    assert found["greenlight_cost_anomalies", ()] == 2
