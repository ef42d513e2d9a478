import csv
import io
import json
import re
from dataclasses import replace
from datetime import date
from decimal import Decimal
from html.parser import HTMLParser

import pytest
from cost_report_worlds import ADVICE, a_report, an_empty_report

from greenlight.adapters.cost_report import (
    as_csv,
    as_json,
    count,
    money,
    percent,
    render_costs,
    write_costs,
)
from greenlight.cost.report import NamedCost, Outlook

REPORTS = {
    "full": a_report,
    "empty": an_empty_report,
    "without a schedule": lambda: a_report(look_back=None),
    "without a budget": lambda: a_report(budget=None, budgets=()),
}


def text(html):
    """What a reader sees, in one line."""
    body = re.sub(r"<style>.*?</style>", "", html, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body)).replace("\u00a0", " ")


class Balance(HTMLParser):
    """Finds a tag that is not closed, or closed without being open."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", REPORTS)
def test_every_report_is_a_whole_page_that_needs_nothing_else(name):
    html = render_costs(REPORTS[name]())
    parser = Balance()
    parser.feed(html)
    assert parser.open == []
    assert not re.search(r"<script|<link|<img|@import|https?://|\surl\((?!#)", html)
    assert "None" not in text(html).replace("None.", "")
    assert not re.search(r"\bnan\b", html)


def test_the_same_report_gives_the_same_page():
    assert render_costs(a_report()) == render_costs(a_report())


def test_unknown_is_said_to_be_and_never_zero():
    seen = text(render_costs(an_empty_report()))
    assert "Spent so far unknown no hour has a bill yet" in seen
    assert "Expected by 2 November unknown 0.0 days of history" in seen
    assert "No tokens were counted: unknown, not free." in seen
    assert "Not judged: 2 days of history, at least 28 are needed." in seen
    assert not re.search(r"\b0\.00\b", seen)


def test_hours_without_a_bill_make_what_is_spent_a_lower_bound():
    seen = text(render_costs(a_report()))
    assert "at least: 3 h without a bill" in seen
    assert "3 hours of 25 November have no bill" in seen


def test_the_page_is_dark_where_the_reader_is_and_light_on_paper():
    html = render_costs(a_report())
    dark, paper = html.index("prefers-color-scheme: dark"), html.index("@media print")
    assert dark < paper
    assert "color-scheme: light;" in html[paper : paper + 200]


def test_advice_carries_its_target_its_risk_and_its_own_backtest():
    seen = text(render_costs(a_report()))
    assert "g6e.2xlarge → g6.xlarge 1,049.74 1 of 4 effort Medium above 0.4 %, slack 41 %" in seen
    assert "overlaps, not added" in seen
    assert "nothing could be tried" in seen


def test_what_a_quantized_version_saves_stands_with_what_it_lost():
    seen = text(render_costs(a_report()))
    assert "46 % less than version 3, bf16 accuracy 0.3 points lower" in seen
    dearer = replace(a_report().models[0], saving=-0.2)
    assert "20 % more than" in text(render_costs(a_report(models=(dearer,))))


def test_an_odd_day_stands_with_the_rows_that_made_it():
    seen = text(render_costs(a_report()))
    assert "19 Nov, tenant acme 189.30 usually 104.90" in seen
    assert "smollm2-135m-instruct on gpu-eu-1 131.20 58.00" in seen


@pytest.mark.parametrize(
    ("budget", "mark"), [("6000", "bad"), ("6600", "warn"), ("9000", "good"), (None, None)]
)
def test_what_is_expected_is_marked_against_the_budget(budget, mark):
    html = render_costs(a_report(budget=None if budget is None else Decimal(budget)))
    figure = re.search(r'<div class="figure([^"]*)"><span class="dim">Expected', html)[1]
    assert figure == (f" is-{mark}" if mark else "")


def test_names_are_text_whatever_is_in_them():
    html = render_costs(a_report(tenants=(NamedCost(name="<script>x</script>", cost=Decimal(1)),)))
    assert "<script>" not in html


def test_tenants_without_any_cost_still_show():
    html = render_costs(a_report(tenants=(NamedCost(name="zoo", cost=None),)))
    assert "zoo unknown" in text(html)


def test_the_numbers_lie_beside_the_page(tmp_path):
    folder = tmp_path / "a report"
    files = write_costs(a_report(), folder)
    assert sorted(path.name for path in files.values()) == [
        "cost-advice.csv",
        "cost-days.csv",
        "cost-report.html",
        "cost-report.json",
    ]
    found = json.loads(files["json"].read_text())
    assert found["days"][0]["serving"] == f"{a_report().days[0].serving:f}"
    assert found["models"][2]["per_output"] is None
    rows = list(csv.DictReader(files["days"].read_text().splitlines()))
    assert len(rows) == 26
    assert rows[0]["day"] == "2026-11-01"
    assert rows[0]["currency"] == "USD"
    assert write_costs(a_report(), folder) == files


def test_no_cent_is_lost_in_json():
    report = a_report(advised_monthly=Decimal("0.1234567890123456789"))
    assert as_json(report)["advised_monthly"] == "0.1234567890123456789"


def test_unknown_is_an_empty_cell_and_a_formula_is_no_formula():
    advice = replace(ADVICE[3], host="=HYPERLINK(1)")
    (row,) = csv.DictReader(io.StringIO(as_csv([advice], "USD")))
    assert row["monthly_saving"] == ""
    assert row["host"] == "'=HYPERLINK(1)"
    (row,) = csv.DictReader(io.StringIO(as_csv([ADVICE[2]], "USD")))
    assert row["monthly_saving"] == "-73.58"
    assert row["reasons"] == "CPUUnderprovisioned"


def test_no_forecast_says_why():
    report = a_report(outlook=Outlook(why_not="2.0 days of history, at least 5.0 are needed"))
    seen = text(render_costs(report))
    assert "No forecast: 2.0 days of history" in seen
    assert "Expected by 26 November unknown" in seen


def test_small_prices_keep_figures_that_say_something():
    assert money(Decimal("0.0421")) == "0.0421"
    assert money(Decimal("1234.5")) == "1,234.50"
    assert money(Decimal(0)) == "0.00"
    assert money(None) == percent(None) == count(None) == "unknown"
    assert (count(950), count(12_300), count(3_412_000_000)) == ("950", "12.3 k", "3.41 G")
    assert percent(0.0412, 1) == "4.1\u00a0%"


def test_totals_of_a_report_leave_out_what_is_unknown():
    report = a_report()
    assert report.hours_missing == 3
    assert an_empty_report().spent is None
    assert an_empty_report().idle_share is None
    assert report.days[0].day == date(2026, 11, 1)
