from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from cost_worlds import HOUR, REGION, book, price

from greenlight.core.errors import ConfigError
from greenlight.core.settings import PROJECT
from greenlight.cost.prices import Price, Term, read_prices

EXAMPLE = PROJECT / "include/config/prices.example.yaml"
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def spans(prices, *, start=HOUR, end=HOUR + timedelta(hours=1), sku="g5.xlarge"):
    return prices.spans(sku, REGION, Term.ON_DEMAND, start=start, end=end)


def test_the_example_prices_the_embedded_set_up_and_its_cloud_prices_are_stale_on_purpose():
    prices = read_prices(EXAMPLE)
    hour = {"start": HOUR, "end": HOUR + timedelta(hours=1)}
    assert prices.spans("local", "local", Term.ON_DEMAND, **hour)[0].price.price == Decimal("0.10")
    with pytest.raises(ConfigError, match=r"g5\.xlarge in us-east-1 is stale.*2025-01-31"):
        prices.spans("g5.xlarge", "us-east-1", Term.ON_DEMAND, **hour)


def test_a_price_is_found_for_its_time_alone():
    before = price(amount="1.00", valid_to="2026-11-24T12:00:00Z")
    after = price(amount="2.00", valid_from="2026-11-24T12:00:00Z")
    prices = book(after, before)
    assert [span.price.price for span in spans(prices)] == [Decimal("1.00")]
    later = spans(prices, start=NOON, end=NOON + timedelta(hours=1))
    assert [span.price.price for span in later] == [Decimal("2.00")]


def test_a_price_that_changes_inside_the_hour_splits_it():
    change = HOUR + timedelta(minutes=45)
    prices = book(
        price(amount="1.00", valid_to=change.isoformat()),
        price(amount="2.00", valid_from=change.isoformat()),
    )
    found = spans(prices)
    assert [(span.start, span.end, span.price.price) for span in found] == [
        (HOUR, change, Decimal("1.00")),
        (change, HOUR + timedelta(hours=1), Decimal("2.00")),
    ]


@pytest.mark.parametrize(
    ("prices", "says"),
    [
        (
            book(price("other")),
            r"no on_demand price of g5\.xlarge in eu-central-1 at 2026-11-24 10",
        ),
        (book(price(region="us-east-1")), r"g5\.xlarge in eu-central-1"),
        (book(price(term="spot")), "no on_demand price"),
        (book(price(valid_to="2026-11-24T10:30:00Z")), r"at 2026-11-24 10:30Z \(there is one for"),
        (book(price(valid_from="2026-11-24T10:30:00Z")), "at 2026-11-24 10:00Z"),
        (
            book(
                price(valid_to="2026-11-24T10:20:00Z"),
                price(valid_from="2026-11-24T10:40:00Z"),
            ),
            "at 2026-11-24 10:20Z",
        ),
    ],
)
def test_a_missing_price_is_an_error_that_names_the_sku_and_never_0(prices, says):
    with pytest.raises(ConfigError, match=says):
        spans(prices)


def test_a_price_that_nobody_checked_for_too_long_is_stale():
    prices = book(price(checked="2026-07-27"))
    assert spans(prices)
    with pytest.raises(ConfigError, match=r"g5\.xlarge.*stale.*2026-07-26.*120 days"):
        spans(book(price(checked="2026-07-26")))
    with pytest.raises(ConfigError, match="stale"):
        book(price(term="spot", checked="2026-11-20")).spans(
            "g5.xlarge", REGION, Term.SPOT, start=HOUR, end=HOUR + timedelta(hours=1)
        )


def test_a_price_of_ones_own_never_gets_stale():
    assert spans(book(price(checked=None, valid_from="2010-01-01T00:00:00Z")))


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([price(), price()], "two on_demand prices of g5.xlarge in eu-central-1"),
        (
            [
                price(valid_to="2026-06-01T00:00:01Z"),
                price(valid_from="2026-06-01T00:00:00Z"),
            ],
            "give the earlier one a valid_to of 2026-06-01",
        ),
        ([price(valid_to="2026-01-01T00:00:00Z")], "must be after valid_from"),
        ([price(valid_from="2026-01-01T00:00:00")], "timezone"),
        ([price(amount="-1")], "greater than or equal to 0"),
        ([price(discount=0.1)], "unknown key"),
        ([price(source="")], "at least 1 character"),
        ([price(term="preemptible")], "on_demand"),
    ],
)
def test_a_book_that_could_be_read_in_two_ways_is_refused(tmp_path, entries, says):
    import yaml

    path = tmp_path / "my prices.yaml"
    path.write_text(yaml.safe_dump({"currency": "USD", "prices": entries}))
    with pytest.raises(ConfigError, match=says):
        read_prices(path)


def test_prices_from_elsewhere_are_added_and_may_not_overlap():
    spot = Price.model_validate(price(term="spot", amount="0.4"))
    merged = book().merged([spot])
    assert merged.of("g5.xlarge", REGION, Term.SPOT) == (spot,)
    with pytest.raises(ConfigError, match="two spot prices"):
        merged.merged([spot])


def test_a_book_says_how_long_each_term_is_good_for():
    with pytest.raises(
        ConfigError, match="stale_after_days lacks reserved, spot, storage, transfer"
    ):
        book(stale_after_days={"on_demand": 5})
