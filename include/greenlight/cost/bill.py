"""The bill of an hour: what was bought, priced from the book.

A price that changes inside the hour splits it: each part is priced by itself and the parts are
added, so that an hour stays one item.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from greenlight.core.errors import InputError
from greenlight.cost.money import to_nanos
from greenlight.cost.prices import PriceBook, Term, Unit
from greenlight.cost.rightsizing.catalogue import HOURS_A_MONTH

HOUR = timedelta(hours=1)


class ItemKind(StrEnum):
    """What an item is for."""

    HOST = "host"
    STORAGE = "storage"
    TRANSFER = "transfer"
    SHARED = "shared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bought:
    """Something that is paid for, without its price.

    `amount`: GiB for storage and transfer, how many for hosts and shared things. `name`: the
    host's, or what the thing is called in reports. `model`: whose it is, where it is one model's
    alone.
    """

    kind: ItemKind
    name: str
    sku: str
    region: str
    term: Term
    environment: str
    amount: Decimal = Decimal(1)
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BillItem:
    """One thing for one hour. Costs are in billionths of `currency`; `quantity` in `unit`."""

    hour: datetime
    bought: Bought
    currency: str
    unit: Unit
    quantity: Decimal
    cost: int
    list_cost: int
    sources: tuple[str, ...]


def bill_of(bought: Iterable[Bought], hour: datetime, book: PriceBook) -> tuple[BillItem, ...]:
    """Price everything that was there in an hour.

    Raises:
        ConfigError: a price is missing or stale; the message names the SKU.
        InputError: `hour` doesn't begin an hour, or an amount is negative.
    """
    require_hour(hour)
    return tuple(_priced(thing, hour, book) for thing in bought)


def require_hour(hour: datetime) -> None:
    """Refuse a time that doesn't begin an hour of UTC.

    Raises:
        InputError: it doesn't.
    """
    if hour.utcoffset() != timedelta(0) or hour.minute or hour.second or hour.microsecond:
        raise InputError(f"{hour} does not begin an hour of UTC")


def _priced(bought: Bought, hour: datetime, book: PriceBook) -> BillItem:
    if bought.amount < 0:
        raise InputError(f"{bought.name} has an amount of {bought.amount}: must be 0 or more")
    spans = book.spans(bought.sku, bought.region, bought.term, start=hour, end=hour + HOUR)
    quantity = bought.amount / HOURS_A_MONTH if bought.term is Term.STORAGE else bought.amount
    cost = listed = Decimal(0)
    for span in spans:
        if span.end - span.start == HOUR:
            cost, listed = span.price.price * quantity, span.price.listed * quantity
            break
        share = Decimal((span.end - span.start) // timedelta(microseconds=1)) / Decimal(
            3_600_000_000
        )
        cost += span.price.price * quantity * share
        listed += span.price.listed * quantity * share
    return BillItem(
        hour=hour,
        bought=bought,
        currency=book.currency,
        unit=spans[0].price.unit,
        quantity=quantity,
        cost=to_nanos(cost),
        list_cost=to_nanos(listed),
        sources=tuple(dict.fromkeys(span.price.source for span in spans)),
    )
