from datetime import timedelta
from decimal import Decimal

import pytest
from cost_worlds import HOUR, bill, book, host, price, shared, storage

from greenlight.core.errors import ConfigError, InputError


def test_an_hour_of_a_host_costs_its_price():
    (item,) = bill(host())
    assert (item.cost, item.quantity, item.currency) == (1_200_000_000, Decimal(1), "USD")
    assert item.sources == ("a price list",)


def test_an_hour_whose_price_changed_costs_a_part_of_each():
    change = (HOUR + timedelta(minutes=45)).isoformat()
    prices = book(
        price(amount="1.00", valid_to=change),
        price(amount="2.00", valid_from=change, source="another"),
    )
    (item,) = bill(host(), prices=prices)
    assert item.cost == 1_250_000_000
    assert item.sources == ("a price list", "another")


def test_storage_is_paid_by_the_month_of_730_hours():
    (item,) = bill(storage(7300))
    assert item.cost == 1_000_000_000
    assert item.quantity == Decimal(10)


def test_what_was_listed_and_what_is_paid_are_both_kept():
    (item,) = bill(host(), prices=book(price(amount="0.60", list_price="1.00")))
    assert (item.cost, item.list_cost) == (600_000_000, 1_000_000_000)


def test_a_bill_with_a_missing_price_is_no_bill():
    with pytest.raises(ConfigError, match="trn1"):
        bill(host(), shared(), host(sku="trn1.2xlarge"))


def test_only_whole_hours_of_utc_are_billed():
    for wrong in (HOUR + timedelta(minutes=5), HOUR.replace(tzinfo=None)):
        with pytest.raises(InputError, match="does not begin an hour of UTC"):
            bill(host(), hour=wrong)
    with pytest.raises(InputError, match="models has an amount of -1"):
        bill(storage(-1))
