from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from cost_tools_worlds import HOUR, NOW, book, bought, config, entry, tools, used

from greenlight.core.errors import ConfigError, InputError, UnavailableError
from greenlight.cost.hours import HourState
from greenlight.cost.prices import Price, Term
from greenlight.cost.reconciliation import OutsideBill
from greenlight.cost.totals import Dimension
from greenlight.entrypoints.cost import Costs, hours_between, summary

LATER = HOUR + timedelta(hours=1)


@pytest.fixture
def world(tmp_path):
    return tools(tmp_path)


@pytest.fixture
def costs(world):
    return Costs(world)


def test_an_hour_is_measured_priced_shared_out_kept_and_written(world, costs):
    hour = costs.run_hour(HOUR)
    assert (hour.state, hour.bill, hour.warnings) == (HourState.COMPUTED, 2_100_000_000, ("odd",))
    found = world.store.sums(HOUR, LATER, [Dimension.MODEL])
    assert found["chat",].workload == 1_000_000_000
    assert (found[None,].idle, found[None,].overhead) == (1_000_000_000, 100_000_000)
    rows = list(world.files.read(HOUR, LATER))
    assert sum(row["BilledCost"] for row in rows) == Decimal("2.1")
    (unit,) = costs.unit_costs(HOUR, LATER)
    assert unit.on_reservation.output == Decimal("0.8")


def test_a_second_run_changes_nothing(world, costs):
    first = costs.run_hour(HOUR)
    rows = list(world.files.read(HOUR, LATER))
    second = costs.run_hour(HOUR)
    assert (second.inputs, second.lines) == (first.inputs, first.lines)
    assert list(world.files.read(HOUR, LATER)) == rows
    assert len(world.store.lines(HOUR, LATER)) == len(first.lines)


def test_late_samples_get_into_an_hour_that_was_computed(world, costs):
    before = costs.run_hour(HOUR)
    world.usage.hours[HOUR] = used(held=0.9)
    after = costs.run_hour(HOUR)
    assert after.inputs != before.inputs
    assert world.store.lines(HOUR, LATER) == after.lines
    assert next(world.files.read(HOUR, LATER))["BilledCost"] == Decimal("1.8")


def test_what_is_due_is_computed_oldest_first(costs):
    due = costs.due()
    assert due[-1] == HOUR
    costs.run(due[-5:])
    assert costs.due()[-3:] == due[-3:]
    assert due[-5] not in costs.due()


def test_nothing_is_due_or_missing_before_anything_was_deployed(tmp_path):
    fresh = Costs(tools(tmp_path, since=None))
    assert fresh.due() == ()
    assert fresh.missing(HOUR - timedelta(days=1), LATER) == ()
    begun = Costs(tools(tmp_path, since=HOUR - timedelta(hours=1)))
    assert begun.due() == (HOUR - timedelta(hours=1), HOUR)
    assert begun.missing(HOUR - timedelta(days=1), LATER)[0] == HOUR - timedelta(hours=1)


def test_an_hour_that_fails_its_checks_is_kept_aside_and_the_others_are_kept(world, costs):
    world.check.problems[HOUR] = ("less than 50% of the hosts' time was measured",)
    found = costs.run([HOUR - timedelta(hours=1), HOUR])
    assert [hour.state for hour in found] == [HourState.COMPUTED, HourState.ASIDE]
    (aside,) = costs.aside(HOUR - timedelta(hours=1), LATER)
    assert (aside.hour, aside.reasons, aside.bill) == (HOUR, found[1].reasons, 2_100_000_000)
    assert world.store.lines(HOUR, LATER) == ()
    assert world.files.hours() == (HOUR - timedelta(hours=1),)
    assert HOUR in costs.due()


def test_an_hour_with_costs_is_not_given_up_for_one_without(world, costs):
    good = costs.run_hour(HOUR)
    world.check.problems[HOUR] = ("Prometheus lost its disk",)
    assert costs.run_hour(HOUR).state is HourState.ASIDE
    assert world.store.lines(HOUR, LATER) == good.lines
    assert world.files.hours() == (HOUR,)


def test_an_hour_kept_aside_is_computed_when_its_samples_come(world, costs):
    world.check.problems[HOUR] = ("too little",)
    costs.run_hour(HOUR)
    world.check.problems.clear()
    assert costs.run_hour(HOUR).state is HourState.COMPUTED
    assert costs.aside(HOUR, LATER) == ()


def test_a_missing_price_keeps_the_hour_aside_and_names_the_sku(tmp_path):
    world = tools(tmp_path, bought=(bought(sku="trn9.xlarge"),))
    hour = Costs(world).run_hour(HOUR)
    assert (hour.state, hour.bill) == (HourState.ASIDE, None)
    assert "no on_demand price of trn9.xlarge in eu-central-1" in hour.reasons[0]
    assert summary(hour)["bill"] is None


def test_usage_that_does_not_answer_is_tried_again_and_keeps_nothing(world, costs):
    world.usage.is_away = True
    with pytest.raises(UnavailableError):
        costs.run_hour(HOUR)
    assert world.store.hours(HOUR, LATER) == ()


def test_a_dry_run_says_the_bill_and_touches_nothing(world, costs):
    world.usage.is_away = True
    assert costs.plan([HOUR]) == (
        "2026-11-24 10:00 UTC: 1 hosts with 1 engines, 2 items, 2.1000 USD",
    )
    assert world.store.hours(HOUR, LATER) == ()


def test_the_prices_of_the_hour_before_are_known_to_the_checks(world, costs):
    costs.run_hour(HOUR)
    (_, min_measured, last, docs) = world.check.seen[0]
    assert (min_measured, last) == (
        0.5,
        {"big in eu-central-1": Decimal("2.00"), "nat in eu-central-1": Decimal("0.10")},
    )
    assert docs.name == "2026-11-24T10"


class Cloud:
    """Knows what hosts cost today."""

    def on_demand(self, sku, region, *, on):
        return Price.model_validate(entry(sku, "3.00", checked=on))

    def spot(self, sku, region, *, start, end):
        half = start + (end - start) / 2
        spans = ((start, half, "1.00"), (half, end, "2.00"))
        return tuple(
            Price.model_validate(
                entry(
                    sku, amount, term="spot", valid_from=a, valid_to=b, checked=date(2026, 11, 24)
                )
            )
            for a, b, amount in spans
        )


def test_the_clouds_prices_stand_in_for_the_books_own(tmp_path):
    things = (bought(), bought("gpu-2", term=Term.SPOT))
    world = tools(tmp_path, bought=things, price_source=Cloud())
    assert Costs(world).run_hour(HOUR).bill == 3_000_000_000 + 1_500_000_000


def test_rows_are_exported(world, costs, tmp_path):
    costs.run_hour(HOUR)
    path = tmp_path / "costs of today.csv"
    assert costs.export(path, start=HOUR, end=LATER) == 3
    assert "chat" in path.read_text()


class Bills:
    """What the cloud says."""

    def daily(self, start, end):
        amounts = {"2026-11-24 EC2": Decimal("2.0"), "2026-11-24 S3": Decimal("0.1")}
        return OutsideBill(source="them", currency="USD", amounts=amounts, estimated=True)


def test_the_days_are_compared_with_the_clouds_bill(tmp_path):
    world = tools(tmp_path, config=config(reconciling={"tolerance": 0.01}), bills=Bills())
    costs = Costs(world)
    costs.run_hour(HOUR)
    found = costs.reconcile(date(2026, 11, 24), date(2026, 11, 25))
    assert (found.agrees, found.amount, found.estimated) == (True, Decimal(0), True)


def test_without_a_bill_to_compare_with_the_setting_is_named(costs):
    with pytest.raises(ConfigError, match="has no `reconciling`"):
        costs.reconcile(date(2026, 11, 24), date(2026, 11, 25))


def test_hours_that_nobody_computed_are_counted(costs):
    costs.run_hour(HOUR)
    start = HOUR - timedelta(hours=2)
    assert costs.missing(start, NOW + timedelta(days=1)) == (start, start + timedelta(hours=1))


def test_a_span_is_whole_hours_and_bounded():
    assert hours_between(HOUR, HOUR) == ()
    assert hours_between(HOUR, HOUR + timedelta(minutes=1)) == (HOUR,)
    with pytest.raises(InputError, match="more than 93 days"):
        hours_between(HOUR, HOUR + timedelta(days=94))
    with pytest.raises(InputError, match="does not begin an hour"):
        hours_between(NOW, NOW)


def test_a_bug_in_sharing_out_would_stop_the_hour(world, costs, monkeypatch):
    from greenlight.core.errors import RefusedError
    from greenlight.entrypoints import cost

    real = cost.allocate
    monkeypatch.setattr(
        cost,
        "allocate",
        lambda *a, **k: tuple(replace(line, cost=line.cost + 1) for line in real(*a, **k)),
    )
    with pytest.raises(RefusedError, match="miss the bill by 3 billionths"):
        costs.run_hour(HOUR)
    assert world.store.hours(HOUR, LATER) == ()
    assert book().currency == "USD"
