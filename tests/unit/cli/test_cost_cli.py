import json
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from greenlight.cli import cost, cost_tables
from greenlight.cli.main import build
from greenlight.core.errors import GateError, InputError
from greenlight.cost.hours import CostHour, HourState
from greenlight.cost.reconciliation import OutsideBill, reconcile
from greenlight.cost.rightsizing.advice import NotEnoughData
from greenlight.cost.rightsizing.series import Resource
from greenlight.cost.totals import Total
from greenlight.cost.unit_costs import PerMillion, QualityLoss, UnitCost, beside
from greenlight.entrypoints.cost_advice import HostAdvice

RUN = CliRunner()
HOUR = datetime(2026, 11, 24, 10, tzinfo=UTC)


def an_hour(state, *reasons):
    return CostHour(
        hour=HOUR, state=state, computed_at=HOUR, inputs="a" * 64, bill=1_500_000_000,
        currency="USD", reasons=reasons, warnings=("odd",),
    )  # fmt: skip


class Costs:
    """Two hours, of which one is kept aside."""

    def __init__(self):
        self.asked = []

    def due(self):
        return (HOUR,)

    def plan(self, hours):
        return tuple(f"{hour:%H}:00 would be computed" for hour in hours)

    def run(self, hours):
        self.asked += hours
        return (an_hour(HourState.COMPUTED), an_hour(HourState.ASIDE, "no price of x"))

    def sums(self, start, end, *by):
        self.asked.append((start, end, by))
        return {("chat", None): Total(workload=10**9, warm=5), (None, None): Total(idle=10**8)}

    def unit_costs(self, start, end):
        return ()

    def aside(self, start, end):
        return (an_hour(HourState.ASIDE, "no price of x"),)

    def missing(self, start, end):
        return (HOUR, HOUR)

    def reconcile(self, start, end):
        theirs = OutsideBill(
            source="AWS", currency="USD", amounts={"2026-11-24": Decimal(2)}, estimated=True
        )
        ours = {"2026-11-24": Decimal(1)}
        return reconcile(ours, theirs, currency="USD", tolerance=0.1)


@pytest.fixture
def costs(monkeypatch):
    made = Costs()
    monkeypatch.setattr(cost, "_open", lambda: made)
    monkeypatch.setattr(cost, "_beside", lambda units: ())
    return made


def invoke(*arguments):
    return RUN.invoke(build(), ["cost", *arguments])


@pytest.mark.parametrize(
    "command",
    ["run", "show", "export", "analyze", "advice", "accept", "dismiss", "realise", "reconcile"],
)
def test_every_command_explains_itself(command):
    shown = invoke(command, "--help")
    assert shown.exit_code == 0
    assert "Usage" in shown.output


def test_a_dry_run_computes_nothing(costs):
    assert "10:00 would be computed" in invoke("run", "--dry-run").output
    assert costs.asked == []


def test_a_run_tells_each_hour_and_fails_when_one_is_kept_aside(costs):
    shown = invoke("run")
    assert isinstance(shown.exception, GateError)
    assert "2026-11-24 10:00 UTC: computed, 1.5000 USD" in shown.output
    assert "kept aside: no price of x" in shown.output
    assert "warning: odd" in shown.output
    assert costs.asked == [HOUR]


def test_hours_between_two_are_computed_whatever_is_due(costs):
    invoke("run", "--from", "2026-11-24T08", "--to", "2026-11-24T10:00+00:00", "--json")
    assert [hour.hour for hour in costs.asked] == [8, 9]


def test_sums_are_shown_with_what_is_missing(costs):
    shown = invoke("show", "--by", "model", "--by", "tenant").output
    assert "chat" in shown
    assert "0.1000" in shown
    assert "kept aside: 2026-11-24 10:00, no price of x" in shown
    assert "2 hours were not computed" in shown
    found = json.loads(invoke("show", "--json").output)
    assert found["missing_hours"] == 2
    assert found["sums"][1] == {
        "model": None, "tenant": None, "workload": "0E-9", "warm": "0E-9", "idle": "0.100000000",
        "unmeasured": "0E-9", "overhead": "0E-9", "used": "0E-9", "bill": "0.100000000",
    }  # fmt: skip


def test_a_span_without_an_hour_says_so_and_what_to_do(costs, monkeypatch):
    monkeypatch.setattr(costs, "sums", lambda *_: {})
    monkeypatch.setattr(costs, "unit_costs", lambda *_: ())
    shown = invoke("show", "--from", "2026-11-23", "--to", "2026-11-24").output
    assert shown.startswith("no hour from 2026-11-23 00:00 to 2026-11-24 00:00 was computed")
    assert "`greenlight cost run`" in shown
    assert "overhead" not in shown


@pytest.mark.parametrize(
    ("why", "below"),
    [("cpu: 7 samples; memory: 9 samples", []),
     ("nothing is large enough", ["  cpu: 7 samples", "  memory: 9 samples"])],
)  # fmt: skip
def test_a_host_without_advice_says_each_reason_once(monkeypatch, why, below):
    answers = {
        Resource.CPU: NotEnoughData(why="7 samples"),
        Resource.MEMORY: NotEnoughData(why="9 samples"),
    }
    found = HostAdvice(host="local-1", answers=answers, choice=None, why=why)
    monkeypatch.setattr(cost, "_advising", lambda: SimpleNamespace(make=lambda: [found]))
    assert invoke("analyze").output.splitlines() == [f"local-1: {why}", *below]


def test_a_bill_that_differs_fails_and_shows_by_how_much(costs):
    shown = invoke("reconcile", "--from", "2026-11-24", "--to", "2026-11-25")
    assert isinstance(shown.exception, GateError)
    assert "2026-11-24: ours 1.00, theirs 2.00 (beyond)" in shown.output
    assert "-1.00 USD, theirs may still change" in shown.output


def test_a_time_that_is_none_is_refused_with_how_to_write_it(costs):
    shown = invoke("show", "--from", "yesterday")
    assert isinstance(shown.exception, InputError)
    assert "2026-11-24T10:00" in str(shown.exception)


def a_unit(version, price):
    each = None if price is None else PerMillion(input=Decimal(price), output=Decimal(price))
    return UnitCost(
        model="chat", version=version, cost=1, used_cost=1, warm_cost=0, unknown_cost=0,
        input_tokens=1, output_tokens=1, on_reservation=each, on_usage=None,
    )  # fmt: skip


def test_a_quantized_version_is_shown_beside_its_parent_with_what_it_lost(costs, monkeypatch):
    lost = QualityLoss(metric="perplexity_ratio.text", value=1.012, unit="ratio", high=1.02)
    pairs = (
        beside(a_unit("7", "0.6"), a_unit("6", "1.0"), [lost]),
        beside(a_unit("8", "0.6"), None, []),
    )
    monkeypatch.setattr(cost, "_beside", lambda units: pairs)
    monkeypatch.setattr(costs, "unit_costs", lambda start, end: (a_unit("7", "0.6"),))
    shown = invoke("show").output
    assert "chat 7 costs 40.0% less a token than its parent, version 6" in shown
    assert "perplexity_ratio.text 1.012 (to 1.02)" in shown
    assert "chat 8 beside its parent: the parent of chat version 8 served nothing" in shown
    assert "unknown" in shown
    found = json.loads(invoke("show", "--json").output)["beside_parents"]
    assert [(one["version"], one["parent"]) for one in found] == [("7", "6"), ("8", None)]


def test_sentences_are_printed_as_they_are():
    with cost_tables.console.capture() as capture:
        cost_tables.say("a [bold]word[/bold]")
    assert capture.get() == "a [bold]word[/bold]\n"
