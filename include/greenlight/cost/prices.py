"""The price book: what each thing cost, where, from when to when, and who says so.

A price that is missing, has run out, or was last checked too long ago is an error that names the
SKU. It is never 0: a report that misses a price must not look like a saving.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Self

from pydantic import AwareDatetime, Field, model_validator

from greenlight.core.errors import ConfigError
from greenlight.core.settings import read_config
from greenlight.core.types import Value

Name = Annotated[str, Field(min_length=1)]


class Term(StrEnum):
    """How a thing is bought."""

    ON_DEMAND = "on_demand"
    RESERVED = "reserved"
    SPOT = "spot"
    STORAGE = "storage"
    TRANSFER = "transfer"


class Unit(StrEnum):
    """What a price is for one of."""

    HOUR = "hour"
    GIB_MONTH = "gib_month"
    GIB = "gib"


UNITS = {
    Term.ON_DEMAND: Unit.HOUR,
    Term.RESERVED: Unit.HOUR,
    Term.SPOT: Unit.HOUR,
    Term.STORAGE: Unit.GIB_MONTH,
    Term.TRANSFER: Unit.GIB,
}
Key = tuple[str, str, Term]


class Price(Value):
    """One price, valid in `[valid_from, valid_to)`; without `valid_to` until it is stale.

    `price` is what is paid for a unit, after discounts, a reservation's upfront part spread over
    its hours. `list_price`: before discounts; none: the same. `checked`: the day somebody last
    compared it with its source; none: a price of one's own, which nobody else changes.
    """

    sku: Name
    region: Name
    term: Term
    price: Annotated[Decimal, Field(ge=0)]
    list_price: Annotated[Decimal, Field(ge=0)] | None = None
    valid_from: AwareDatetime
    valid_to: AwareDatetime | None = None
    checked: date | None = None
    source: Name

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if self.valid_to is not None and self.valid_to <= self.valid_from:
            raise ValueError(f"valid_to {self.valid_to} must be after valid_from {self.valid_from}")
        return self

    @property
    def key(self) -> Key:
        """What it is the price of."""
        return self.sku, self.region, self.term

    @property
    def unit(self) -> Unit:
        """What it is for one of; its term says so."""
        return UNITS[self.term]

    @property
    def listed(self) -> Decimal:
        """The price before discounts."""
        return self.price if self.list_price is None else self.list_price


def _days() -> dict[Term, int]:
    return {Term.ON_DEMAND: 120, Term.RESERVED: 400, Term.SPOT: 2, Term.STORAGE: 120,
            Term.TRANSFER: 120}  # fmt: skip


class PriceBook(Value):
    """All prices, in one currency. `stale_after_days`: how long a check is good for, by term.

    Raises:
        ConfigError: two prices of the same thing are valid at the same time.
    """

    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    stale_after_days: Mapping[Term, Annotated[int, Field(ge=1)]] = Field(default_factory=_days)
    prices: tuple[Price, ...]

    @model_validator(mode="after")
    def _no_two_at_a_time(self) -> Self:
        for (sku, region, term), entries in self._by_key.items():
            for before, after in pairwise(entries):
                if before.valid_to is None or before.valid_to > after.valid_from:
                    raise ConfigError(
                        f"two {term} prices of {sku} in {region} are valid at {after.valid_from}: "
                        f"give the earlier one a valid_to of {after.valid_from} or before"
                    )
        if missing := set(Term) - set(self.stale_after_days):
            raise ConfigError(f"stale_after_days lacks {', '.join(sorted(missing))}")
        return self

    @cached_property
    def _by_key(self) -> Mapping[Key, tuple[Price, ...]]:
        found: dict[Key, list[Price]] = defaultdict(list)
        for entry in sorted(self.prices, key=lambda price: price.valid_from):
            found[entry.key].append(entry)
        return {key: tuple(entries) for key, entries in found.items()}

    def of(self, sku: str, region: str, term: Term) -> tuple[Price, ...]:
        """Return all prices of a thing, oldest first."""
        return self._by_key.get((sku, region, term), ())

    def spans(
        self, sku: str, region: str, term: Term, *, start: datetime, end: datetime
    ) -> tuple[PricedSpan, ...]:
        """Return what a thing cost in `[start, end)`, split where its price changed.

        Raises:
            ConfigError: a part of that time has no price, or a price that is stale.
        """
        spans = tuple(_overlaps(self.of(sku, region, term), start=start, end=end))
        at = start
        for span in spans:
            if span.start > at:
                break
            at = span.end
        if at < end:
            raise ConfigError(self._missing(sku, region, term, at))
        for span in spans:
            self._require_fresh(span.price, span.end)
        return spans

    def merged(self, others: Iterable[Price]) -> PriceBook:
        """Return the book with prices from elsewhere, such as a spot history.

        Raises:
            ConfigError: one of them is valid at the same time as another of the same thing.
        """
        return PriceBook(
            currency=self.currency,
            stale_after_days=self.stale_after_days,
            prices=(*self.prices, *others),
        )

    def _require_fresh(self, price: Price, at: datetime) -> None:
        if price.checked is None:
            return
        good = timedelta(days=self.stale_after_days[price.term])
        until = datetime.combine(price.checked, datetime.min.time(), UTC) + good
        if at > until + timedelta(days=1):
            raise ConfigError(
                f"the {price.term} price of {price.sku} in {price.region} is stale: it was checked "
                f"on {price.checked}, which is good for {good.days} days, and {at:%Y-%m-%d %H:%M} "
                f"is later; compare it with {price.source} and set `checked`"
            )

    def _missing(self, sku: str, region: str, term: Term, at: datetime) -> str:
        there = self.of(sku, region, term)
        known = ""
        if there:
            spans = ", ".join(
                f"{price.valid_from:%Y-%m-%d %H:%M} to "
                f"{f'{price.valid_to:%Y-%m-%d %H:%M}' if price.valid_to else 'now'}"
                for price in there
            )
            known = f" (there is one for {spans})"
        return (
            f"there is no {term} price of {sku} in {region} at {at:%Y-%m-%d %H:%M}Z{known}; add it "
            "to prices.yaml with its source"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedSpan:
    """A price, and the time it was valid for within what was asked about."""

    price: Price
    start: datetime
    end: datetime


def read_prices(path: Path) -> PriceBook:
    """Read a price book.

    Raises:
        ConfigError: the file can't be read, or has an unknown key, a bad value, or two prices that
            are valid at the same time.
    """
    return read_config(path, PriceBook)


def _overlaps(prices: Sequence[Price], *, start: datetime, end: datetime) -> Iterator[PricedSpan]:
    first = bisect_right(prices, start, key=lambda price: price.valid_from)
    for price in prices[max(0, first - 1) :]:
        if price.valid_from >= end:
            break
        begins = max(start, price.valid_from)
        ends = end if price.valid_to is None else min(end, price.valid_to)
        if begins < ends:
            yield PricedSpan(price=price, start=begins, end=ends)
