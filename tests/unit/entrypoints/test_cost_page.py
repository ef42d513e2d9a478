"""The report of the month so far, gathered from the hours that were kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from cost_months import EVERYTHING, UNTIL, filled, opened

from greenlight.adapters.cost_report import render_costs
from greenlight.cost.report import CostReport, Standing
from greenlight.entrypoints import cost_page
from greenlight.entrypoints.cost_outlook import CostOutlook
from greenlight.scaling.look_back import LookBack
from greenlight.testing.costs_contract import some_advice
from greenlight.testing.memory_costs import MemoryCosts
from greenlight.testing.memory_registry import MemoryRegistry

DAY = timedelta(days=1)


def made(outlook: CostOutlook) -> CostReport:
    tools = outlook._tools
    return cost_page.build(tools, cost_page.look(tools, outlook))


def test_the_report_adds_up_to_what_the_hours_cost(tmp_path: Path) -> None:
    report = made(opened(tmp_path, EVERYTHING))
    assert report.spent == 72 * 23 + 8 * 2 + 3 * 4
    assert report.idle_share == pytest.approx(0.25)
    assert (report.start, report.end) == (date(2026, 11, 1), UNTIL.date())
    assert report.tenants[0].name == "acme"
    assert report.tenants[0].cost == Decimal("0.75") * Decimal(report.spent)
    assert report.outlook.days[0].day == UNTIL.date()
    assert report.outlook.days[-1].day == date(2026, 11, 30)
    assert report.outlook.days[-1].amount == pytest.approx(Decimal(72 * 30), rel=Decimal("0.02"))
    assert report.hours_missing == 0
    assert report.unknown == ()


@pytest.mark.parametrize(
    ("amount", "standing", "headline"),
    [
        (9000, Standing.WITHIN, "November is within its budget"),
        (2000, Standing.AT_RISK, "November may end above its budget"),
        (1000, Standing.OVER, "A budget of November is spent"),
    ],
)
def test_the_headline_says_how_the_month_stands(
    tmp_path: Path, amount: int, standing: Standing, headline: str
) -> None:
    report = made(opened(tmp_path, EVERYTHING | {"amount": amount}))
    assert (report.standing, report.headline) == (standing, headline)
    assert report.budget == amount


def test_without_budgets_nothing_is_within_them(tmp_path: Path) -> None:
    report = made(opened(tmp_path))
    assert (report.standing, report.headline) == (Standing.UNKNOWN, "November has no budget")


def test_hours_without_a_bill_are_told_day_by_day(tmp_path: Path) -> None:
    report = made(opened(tmp_path, EVERYTHING, store=filled(missing=30)))
    assert report.hours_missing == 30
    assert report.unknown == (
        "19 hours have no bill on 23 November: they were not computed yet.",
        "11 hours have no bill on 24 November: they were not computed yet.",
    )
    assert report.outlook.why_not is not None


def test_a_home_without_any_cost_has_a_report_that_says_so(tmp_path: Path) -> None:
    report = made(opened(tmp_path, EVERYTHING, store=MemoryCosts(), since=None))
    assert report.spent is None
    assert "unknown" in render_costs(report)


def test_days_of_a_schedule_say_what_was_planned_and_what_came(tmp_path: Path) -> None:
    found = LookBack(
        day=date(2026, 11, 23), share=0.98, planned_hours=40, hours=44, spare_hours=6.5,
        planned_slo_pct=99.5, slo_pct=99.9, error=0.08, worst_hour=9,
    )  # fmt: skip
    row = cost_page.day_row("demo", found)
    assert (row.planned_hours, row.used_hours, row.slo) == (40, 44, pytest.approx(0.999))
    outlook = opened(tmp_path, EVERYTHING)
    looked = replace(cost_page.look(outlook._tools, outlook), schedule=(row,))
    page = render_costs(cost_page.build(outlook._tools, looked))
    assert "demo: demand was 8% off what was expected" in page
    assert "the most was missed at 09:00" in page


def test_use_is_told_by_the_hour_of_the_week(tmp_path: Path) -> None:
    heat = made(opened(tmp_path)).heat
    assert [len(row) for row in heat] == [24] * 7
    assert {round(cell, 1) for row in heat for cell in row if cell is not None} == {0.3}


def test_the_page_is_written_every_hour_and_logged_once_a_day(tmp_path: Path) -> None:
    outlook, registry = opened(tmp_path, EVERYTHING), MemoryRegistry()
    outlook._tools.store.save_advice(some_advice("advice-1"))
    report = made(outlook)
    first = cost_page.keep(outlook._tools, report, registry=registry)
    again = cost_page.keep(outlook._tools, report, registry=registry)
    assert first == again
    assert first["url"].endswith("/artifacts/cost-report.html")
    assert "November may end above" in Path(first["page"]).read_text()
    assert len(registry.runs) == 1
