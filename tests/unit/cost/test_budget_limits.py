from datetime import UTC, datetime
from decimal import Decimal

from greenlight.cost.budget_limits import LimitChange, NotEnforced, TenantSpend, enforce
from greenlight.cost.budgets import NoOutlook, Spent, check
from greenlight.cost.budgets_file import Budget

NOW = datetime(2026, 11, 21, tzinfo=UTC)
"""Ten days before the month ends."""


def a_tenant(name="acme", cost="60", charged="30", limit="10"):
    return TenantSpend(
        name=name,
        cost=Decimal(cost),
        charged=None if charged is None else Decimal(charged),
        limit=None if limit is None else Decimal(limit),
    )


def limits(*tenants, amount="60", at="0.5", floor="0.10", missing=0):
    budget = Budget.model_validate(
        {"name": "b", "amount": "100", "enforce": {"at": at, "floor_per_day": floor}}
    )
    spent = Spent(amount=None if amount is None else Decimal(amount), hours=480, missing=missing)
    status = check(budget, spent, NoOutlook(why=""), now=NOW)
    return enforce(status, tenants, now=NOW)


def test_what_is_left_is_shared_out_until_the_period_ends_in_the_gateways_money():
    found = limits(a_tenant(cost="45", charged="90"), a_tenant("b", cost="15", charged="15"))
    assert [(change.tenant, change.limit) for change in found] == [
        ("acme", Decimal("6.00")),
        ("b", Decimal("1.00")),
    ]
    assert "3.00 a day are left" in found[0].why


def test_below_its_threshold_a_budget_lowers_nothing():
    assert limits(a_tenant(), amount="49") == ()


def test_a_limit_is_never_raised():
    assert limits(a_tenant(limit="1.50")) == ()


def test_a_tenant_without_a_limit_gets_one():
    found = limits(a_tenant(limit=None))
    assert isinstance(found[0], LimitChange)
    assert found[0].was is None


def test_nobody_gets_less_than_the_floor():
    found = limits(a_tenant(), amount="130", floor="0.25")
    assert found[0].limit == Decimal("0.25")


def test_a_tenant_whose_use_the_gateway_did_not_price_is_named_and_left():
    found = limits(a_tenant(charged=None), a_tenant("b", charged="0"))
    assert [type(one) for one in found] == [NotEnforced, NotEnforced]
    assert "without prices" in found[0].why


def test_a_budget_that_can_not_be_measured_lowers_nothing():
    assert limits(a_tenant(), amount=None, missing=480) == ()
    assert limits(a_tenant(), amount="49", missing=100) == ()


def test_a_budget_that_is_not_to_be_enforced_is_not():
    budget = Budget.model_validate({"name": "b", "amount": "100"})
    spent = Spent(amount=Decimal(200), hours=480, missing=0)
    status = check(budget, spent, NoOutlook(why=""), now=NOW)
    assert enforce(status, [a_tenant()], now=NOW) == ()
