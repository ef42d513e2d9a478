import json
from decimal import Decimal

import pytest
import yaml
from cost_months import EVERYTHING, opened
from cost_tools_worlds import NOW, tools

from greenlight.adapters.cost_report import write_costs
from greenlight.core.errors import InputError
from greenlight.cost.savings import State
from greenlight.entrypoints import cost_page
from greenlight.entrypoints.page import costs
from greenlight.testing import page_story as story
from greenlight.testing.memory_costs import MemoryCosts
from greenlight.testing.memory_registry import MemoryRegistry


@pytest.fixture
def world(tmp_path):
    made = tools(tmp_path)
    config = made.settings.home / "config"
    config.mkdir(parents=True)
    budgets = story.BUDGETS | {"currency": "USD"}
    (config / "budgets.yaml").write_text(yaml.safe_dump(budgets))
    return made


def panel(world, report=None, where=None):
    return costs.cost_of(world, report=report, where=where or {})


def test_today_is_what_its_hours_with_a_bill_cost(world):
    story.tell_costs(world.store, now=NOW, currency="USD")
    found = panel(world)
    assert (found.today_hours, found.today_missing) == (11, 0)  # midnight until eleven
    assert found.today == 8 * Decimal("0.54") + 3 * Decimal("0.9")


def test_today_without_a_bill_is_unknown_and_not_0(world):
    found = panel(world)
    assert (found.today, found.today_missing) == (None, 11)
    assert (found.report_at, found.month, found.expected) == (None, None, None)


def test_hours_without_a_bill_are_counted(world):
    story.tell_costs(world.store, now=NOW, currency="USD")
    known = world.store.hours(NOW.replace(hour=0, minute=0), NOW)
    lost = MemoryCosts()
    for hour in known[2:]:
        lost.save_hour(hour)
    world.store._hours = lost._hours
    assert panel(world).today_missing == 2


def a_report(folder):
    outlook = opened(folder, EVERYTHING)
    made = outlook._tools
    return made, cost_page.build(made, cost_page.look(made, outlook))


def test_month_and_forecast_are_those_of_the_last_report(tmp_path):
    made, report = a_report(tmp_path)
    cost_page.keep(made, report, registry=MemoryRegistry())
    folder = costs.report_folder(made.settings)
    found = costs.cost_of(
        made,
        report=json.loads((folder / f"{costs.REPORT}.json").read_text()),
        where=json.loads((folder / cost_page.WHERE).read_text()),
    )
    assert found.month == report.spent
    assert found.expected == report.outlook.days[-1].amount
    assert found.expected_by == report.outlook.days[-1].day
    assert found.expected_low <= found.expected <= found.expected_high
    assert (found.standing, found.headline) == (report.standing, report.headline)
    assert found.report_at == report.made_at
    assert found.report_url.endswith("/artifacts/cost-report.html")
    assert (folder / f"{costs.REPORT}.html").is_file()


def test_a_report_without_a_forecast_says_why(tmp_path):
    made, report = a_report(tmp_path)
    plain = json.loads(write_costs(report, tmp_path / "r")["json"].read_text())
    plain["outlook"] = {"days": [], "why_not": "too little history"}
    found = costs.cost_of(made, report=plain, where={})
    assert (found.expected, found.why_no_forecast) == (None, "too little history")


def test_a_damaged_report_is_an_error_that_says_what_writes_it_anew(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("[")
    with pytest.raises(InputError, match="greenlight cost report"):
        costs._read(path)
    assert costs._read(tmp_path / "none.json") is None


def test_open_advice_comes_first_and_what_was_withdrawn_is_left_out(world):
    story.tell_costs(world.store, now=NOW, currency="USD")
    gone = world.store.advice()[0]
    world.store.save_advice(
        type(gone)(**{name: getattr(gone, name) for name in gone.__slots__}
                   | {"id": "size/old", "state": State.WITHDRAWN})
    )  # fmt: skip
    found = costs.advice_of(world)
    assert [one.id for one in found.advice] == ["size/gpu-1", "size/gpu-2", "size/gateway-1"]
    assert found.monthly_saving == Decimal("469.50")
