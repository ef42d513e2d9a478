"""Prices from AWS: the public list for on-demand hosts, the history for spot ones."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any

from greenlight.adapters.aws_calls import aws_errors, open_aws
from greenlight.core.errors import ConfigError
from greenlight.core.types import JsonDict
from greenlight.cost.prices import Price, Term

LIST_REGION = "us-east-1"
"""The price list has endpoints in three regions; each knows the prices of all."""
PRODUCT = "Linux/UNIX"
BEFORE = timedelta(days=1)


class AwsPrices:
    """`cost.ports.PriceSource`. Prices are of Linux hosts with shared tenancy, in US dollars."""

    def __init__(
        self, *, pricing: Any = None, spot: Mapping[str, Any] | None = None,
        endpoint: str | None = None,
    ) -> None:  # fmt: skip
        """Take clients, or open them when they are needed. `spot`: EC2's, by region."""
        self._pricing = pricing
        self._spot = dict(spot or {})
        self._endpoint = endpoint

    def on_demand(self, sku: str, region: str, *, on: date) -> Price:
        """Return today's list price of a host type, as checked on a day.

        Raises:
            ConfigError: AWS has no such price, or several, or refuses the call.
            UnavailableError: AWS doesn't answer.
        """
        if self._pricing is None:
            self._pricing = open_aws("pricing", region=LIST_REGION, endpoint=self._endpoint)
        fields = {
            "instanceType": sku,
            "regionCode": region,
            "operatingSystem": "Linux",
            "tenancy": "Shared",
            "preInstalledSw": "NA",
            "capacitystatus": "Used",
        }
        filters = [{"Type": "TERM_MATCH", "Field": k, "Value": v} for k, v in fields.items()]
        with aws_errors("pricing", "pricing:GetProducts"):
            found = self._pricing.get_products(ServiceCode="AmazonEC2", Filters=filters)
        prices = {price for text in found["PriceList"] for price in _dollars(json.loads(text))}
        if len(prices) != 1:
            raise ConfigError(
                f"AWS' price list has {len(prices)} on_demand prices of {sku} in {region}, one is "
                "needed: check the name, or put the price into prices.yaml"
            )
        began, price = prices.pop()
        return Price(
            sku=sku,
            region=region,
            term=Term.ON_DEMAND,
            price=price,
            valid_from=began,
            checked=on,
            source="AWS Price List, AmazonEC2",
        )

    def spot(self, sku: str, region: str, *, start: datetime, end: datetime) -> tuple[Price, ...]:
        """Return the spot prices of a host type in `[start, end)`, oldest first.

        The mean over a region's zones, from each moment that one of them changed.

        Raises:
            ConfigError: AWS has no spot price of it there, or refuses the call.
            UnavailableError: AWS doesn't answer.
        """
        if region not in self._spot:
            self._spot[region] = open_aws("ec2", region=region, endpoint=self._endpoint)
        history: dict[str, list[tuple[datetime, Decimal]]] = {}
        with aws_errors("ec2", "ec2:DescribeSpotPriceHistory"):
            pages = self._spot[region].get_paginator("describe_spot_price_history")
            for page in pages.paginate(
                InstanceTypes=[sku],
                ProductDescriptions=[PRODUCT],
                StartTime=start - BEFORE,
                EndTime=end,
            ):
                for entry in page["SpotPriceHistory"]:
                    zone = history.setdefault(entry["AvailabilityZone"], [])
                    zone.append((entry["Timestamp"].astimezone(UTC), Decimal(entry["SpotPrice"])))
        if not history:
            raise ConfigError(f"AWS has no spot price of {sku} in {region} at {start:%Y-%m-%d}")
        return tuple(
            Price(
                sku=sku,
                region=region,
                term=Term.SPOT,
                price=price,
                valid_from=began,
                valid_to=ended,
                checked=end.date(),
                source="EC2 spot price history",
            )
            for began, ended, price in _mean_of_zones(history, start=start, end=end)
        )


def _dollars(product: JsonDict) -> Iterator[tuple[datetime, Decimal]]:
    """Yield the hourly prices in an entry of the list, and since when they are."""
    for offer in product.get("terms", {}).get("OnDemand", {}).values():
        began = datetime.fromisoformat(offer["effectiveDate"]).astimezone(UTC)
        for dimension in offer["priceDimensions"].values():
            if dimension.get("unit") != "Hrs" or "USD" not in dimension["pricePerUnit"]:
                continue
            try:
                price = Decimal(dimension["pricePerUnit"]["USD"])
            except InvalidOperation as error:
                raise ConfigError(f"AWS' price list has a price of {dimension}") from error
            if price:  # A free entry is a placeholder for reserved capacity.
                yield began, price


def _mean_of_zones(
    history: Mapping[str, list[tuple[datetime, Decimal]]], *, start: datetime, end: datetime
) -> Iterator[tuple[datetime, datetime, Decimal]]:
    changes = {at for zone in history.values() for at, _ in zone if start < at < end}
    edges = [start, *sorted(changes), end]
    for began, ended in pairwise(edges):
        prices = [price for zone in history.values() if (price := _at(zone, began)) is not None]
        if prices:
            yield began, ended, sum(prices, Decimal(0)) / len(prices)


def _at(zone: list[tuple[datetime, Decimal]], at: datetime) -> Decimal | None:
    known = [entry for entry in zone if entry[0] <= at]
    return max(known)[1] if known else None
