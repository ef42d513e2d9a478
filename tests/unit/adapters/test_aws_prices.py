"""AWS' price list isn't in moto: its answers are stubbed in their real shape."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import boto3
import pytest
from botocore.stub import ANY, Stubber

from greenlight.adapters.aws_prices import AwsPrices
from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.cost.prices import Term
from greenlight.testing.servers import free_port

HOUR = datetime(2026, 11, 24, 10, tzinfo=UTC)
LATER = HOUR + timedelta(hours=1)
TODAY = date(2026, 11, 24)


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


@pytest.fixture
def pricing():
    with Stubber(boto3.client("pricing", region_name="us-east-1")) as stub:
        yield stub


@pytest.fixture
def ec2():
    with Stubber(boto3.client("ec2", region_name="eu-central-1")) as stub:
        yield stub


def product(*prices, unit="Hrs"):
    dimensions = {
        f"X.{n}": {"unit": unit, "pricePerUnit": {"USD": price}} for n, price in enumerate(prices)
    }
    offer = {"effectiveDate": "2026-11-01T00:00:00Z", "priceDimensions": dimensions}
    return json.dumps({"product": {}, "terms": {"OnDemand": {"X": offer}}})


def listed(pricing, *products):
    pricing.add_response("get_products", {"PriceList": list(products)})
    return AwsPrices(pricing=pricing.client).on_demand("g5.xlarge", "eu-central-1", on=TODAY)


def test_the_list_has_the_price_of_a_linux_host_with_its_source(pricing):
    price = listed(pricing, product("1.2580000000"))
    assert (price.sku, price.region, price.term) == ("g5.xlarge", "eu-central-1", Term.ON_DEMAND)
    assert price.price == Decimal("1.258")
    assert price.valid_from == datetime(2026, 11, 1, tzinfo=UTC)
    assert (price.checked, price.source) == (TODAY, "AWS Price List, AmazonEC2")


def test_only_what_is_asked_for_is_asked_for(pricing):
    wanted = {"ServiceCode": "AmazonEC2", "Filters": ANY}
    pricing.add_response("get_products", {"PriceList": [product("1")]}, wanted)
    AwsPrices(pricing=pricing.client).on_demand("g5.xlarge", "eu-central-1", on=TODAY)
    pricing.assert_no_pending_responses()


def test_free_placeholders_and_other_units_are_no_prices(pricing):
    assert listed(pricing, product("0.0", "1.25"), product("9", unit="Quantity")).price == Decimal(
        "1.25"
    )


@pytest.mark.parametrize("products", [[], [product("0.0")], [product("1.0"), product("2.0")]])
def test_no_price_or_two_are_an_error_that_names_the_host_type(pricing, products):
    with pytest.raises(ConfigError, match=r"prices of g5\.xlarge in eu-central-1, one is needed"):
        listed(pricing, *products)


def entry(zone, at, price):
    return {"AvailabilityZone": zone, "Timestamp": at, "SpotPrice": price}


def spot(ec2, *entries):
    ec2.add_response("describe_spot_price_history", {"SpotPriceHistory": list(entries)})
    source = AwsPrices(spot={"eu-central-1": ec2.client})
    return source.spot("g5.xlarge", "eu-central-1", start=HOUR, end=LATER)


def test_spot_prices_are_the_mean_of_the_zones_from_each_change_on(ec2):
    half = HOUR + timedelta(minutes=30)
    prices = spot(
        ec2,
        entry("eu-central-1b", half, "0.60"),
        entry("eu-central-1a", HOUR - timedelta(hours=5), "0.40"),
        entry("eu-central-1a", HOUR - timedelta(hours=9), "0.90"),
    )
    assert [(p.valid_from, p.valid_to, p.price) for p in prices] == [
        (HOUR, half, Decimal("0.40")),
        (half, LATER, Decimal("0.50")),
    ]
    assert {(p.term, p.source, p.checked) for p in prices} == {
        (Term.SPOT, "EC2 spot price history", TODAY)
    }


def test_a_host_type_without_a_spot_price_is_an_error_that_names_it(ec2):
    with pytest.raises(ConfigError, match=r"no spot price of g5\.xlarge in eu-central-1"):
        spot(ec2)


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("AccessDeniedException", 400, ConfigError),
        ("InvalidParameterException", 400, ConfigError),
        ("ThrottlingException", 400, UnavailableError),
        ("InternalErrorException", 500, UnavailableError),
    ],
)
def test_refusals_of_the_price_list_are_told_apart(pricing, code, status, error):
    pricing.add_client_error("get_products", code, "because", status)
    with pytest.raises(error, match="pricing:GetProducts"):
        AwsPrices(pricing=pricing.client).on_demand("g5.xlarge", "eu-central-1", on=TODAY)


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("UnauthorizedOperation", 403, ConfigError),
        ("InvalidParameterValue", 400, ConfigError),
        ("RequestLimitExceeded", 503, UnavailableError),
        ("Unavailable", 503, UnavailableError),
    ],
)
def test_refusals_of_the_spot_history_are_told_apart(ec2, code, status, error):
    ec2.add_client_error("describe_spot_price_history", code, "because", status)
    source = AwsPrices(spot={"eu-central-1": ec2.client})
    with pytest.raises(error, match="ec2:DescribeSpotPriceHistory"):
        source.spot("g5.xlarge", "eu-central-1", start=HOUR, end=LATER)


def test_a_service_that_is_away_can_be_tried_again():
    away = AwsPrices(endpoint=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(UnavailableError, match="AWS pricing does not answer"):
        away.on_demand("g5.xlarge", "eu-central-1", on=TODAY)


def test_a_machine_without_credentials_is_told_so(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(ConfigError, match="credentials"):
        AwsPrices().on_demand("g5.xlarge", "eu-central-1", on=TODAY)
