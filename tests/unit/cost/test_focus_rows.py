from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from cost_worlds import bill, host, shared, slot, storage, tenant, usage

from greenlight.cost.allocation import allocate
from greenlight.cost.focus.columns import COLUMNS, MANDATORY
from greenlight.cost.focus.conformance import Rule, check
from greenlight.cost.focus.rows import Account, billing_period, rows_of

ACCOUNT = Account(
    id="1234", name="ML", provider="AWS", publisher="AWS", issuer="Amazon Web Services, Inc."
)
NAMED_BY_THE_SPECIFICATION = [
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ServiceCategory",
    "ServiceName",
]


def rows():
    items = bill(host(), shared(), storage(100))
    warm = slot("blue", time=0.0, memory=0.2, version="6", is_warm=True)
    lines = allocate(items, usage(slot(tenants=(tenant("a", 10, 5),)), warm), output_weight=4)
    return [dict(row) for row in rows_of(lines, ACCOUNT)], items


def test_rows_have_every_mandatory_column_and_break_no_rule():
    found, _ = rows()
    assert list(MANDATORY) == NAMED_BY_THE_SPECIFICATION
    assert all(list(row) == [column.name for column in COLUMNS] for row in found)
    assert check(found) == ()


def test_the_billed_costs_are_the_bill():
    found, items = rows()
    assert sum(row["BilledCost"] for row in found) * 10**9 == sum(item.cost for item in items)


def test_a_row_says_whose_it_is():
    found, _ = rows()
    serving = next(row for row in found if row["x_Tenant"] == "a")
    assert serving["x_Model"] == "chat"
    assert serving["x_ModelVersion"] == "7"
    assert serving["ChargePeriodEnd"] - serving["ChargePeriodStart"] == timedelta(hours=1)
    assert serving["ChargeDescription"] == "g5.xlarge in eu-central-1, served: chat 7 for a"


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("BilledCost", None, Rule.NOT_NULL),
        ("BilledCost", 1.5, Rule.TYPE),
        ("BilledCost", Decimal("NaN"), Rule.TYPE),
        ("BillingAccountId", " ", Rule.EMPTY),
        ("BillingCurrency", "dollars", Rule.CURRENCY),
        ("BillingPeriodStart", datetime(2026, 11, 2, tzinfo=UTC), Rule.MONTH),
        ("BillingPeriodEnd", datetime(2026, 10, 1, tzinfo=UTC), Rule.ORDER),
        ("ChargeCategory", "Spend", Rule.ALLOWED),
        ("ChargeClass", "Fix", Rule.ALLOWED),
        ("ChargePeriodStart", datetime(2026, 11, 24, 10), Rule.UTC),  # noqa: DTZ001
        ("ChargePeriodStart", datetime(2026, 10, 31, 23, tzinfo=UTC), Rule.WITHIN),
        ("ChargePeriodEnd", datetime(2026, 11, 24, 10, tzinfo=UTC), Rule.ORDER),
        ("ChargePeriodEnd", datetime(2026, 12, 1, 1, tzinfo=UTC), Rule.WITHIN),
        (
            "ChargePeriodEnd",
            datetime(2026, 11, 24, 12, tzinfo=timezone(timedelta(hours=1))),
            Rule.UTC,
        ),
        ("ContractedCost", "1.2", Rule.TYPE),
        ("EffectiveCost", None, Rule.NOT_NULL),
        ("InvoiceIssuerName", None, Rule.NOT_NULL),
        ("ListCost", None, Rule.NOT_NULL),
        ("PricingQuantity", None, Rule.NOT_NULL),
        ("PricingQuantity", Decimal(-1), Rule.NOT_NEGATIVE),
        ("PricingUnit", None, Rule.NOT_NULL),
        ("ProviderName", None, Rule.NOT_NULL),
        ("PublisherName", 7, Rule.TYPE),
        ("ServiceCategory", "GPUs", Rule.ALLOWED),
        ("ServiceName", "", Rule.EMPTY),
        ("ChargeFrequency", "Hourly", Rule.ALLOWED),
        ("ConsumedQuantity", None, Rule.NOT_NULL),
        ("ConsumedUnit", None, Rule.NOT_NULL),
        ("PricingCategory", "Cheap", Rule.ALLOWED),
        ("ResourceType", None, Rule.NOT_NULL),
        ("SkuId", None, Rule.NOT_NULL),
        ("Tags", {"environment": 3}, Rule.TYPE),
        ("x_InputTokens", 1.5, Rule.TYPE),
        ("x_InputTokens", True, Rule.TYPE),
    ],
)
def test_a_broken_cell_is_named_with_its_row_column_and_rule(column, value, rule):
    found, _ = rows()
    found[1][column] = value
    breaches = check(found)
    assert (1, column, rule) in [(b.row, b.column, b.rule) for b in breaches]
    assert {breach.row for breach in breaches} == {1}
    assert f"row 1: {column} {rule}" in "; ".join(map(str, breaches))


@pytest.mark.parametrize("name", MANDATORY)
def test_a_missing_mandatory_column_is_named(name):
    found, _ = rows()
    for row in found:
        del row[name]
    breaches = check(found)
    assert (None, name, Rule.PRESENT) in [(b.row, b.column, b.rule) for b in breaches]


def test_a_strange_column_must_say_that_it_is_ours():
    found, _ = rows()
    for row in found:
        row |= {"Team": "a", "x_Team": "a"}
    assert [(b.column, b.rule) for b in check(found)] == [("Team", Rule.KNOWN)]


def test_an_account_has_one_currency():
    found, _ = rows()
    found[2]["BillingCurrency"] = "EUR"
    assert [(b.row, b.rule) for b in check(found)] == [(2, Rule.ONE_CURRENCY)]


def test_a_meter_without_a_sku_and_a_tax_with_a_quantity_are_breaches():
    found, _ = rows()
    found[0] |= {"ChargeCategory": "Tax", "SkuId": None, "ResourceId": None}
    rules = {(b.column, b.rule) for b in check(found)}
    assert rules == {
        ("SkuMeter", Rule.NULL),
        ("SkuPriceId", Rule.NULL),
        ("ResourceType", Rule.NULL),
        ("PricingQuantity", Rule.NULL),
    }


def test_a_file_without_rows_is_judged_by_its_columns():
    assert check([], columns=[column.name for column in COLUMNS]) == ()
    assert len(check([], columns=[])) == len(MANDATORY)


def test_a_billing_period_is_a_month_also_in_december():
    start, end = billing_period(datetime(2026, 12, 31, 23, tzinfo=UTC))
    assert (start, end) == (datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
