"""Whether rows are FOCUS 1.2: every breach with its row, column and rule.

It knows rows only, not how they were made, so that it can judge what was read back from a file, and
a file of somebody else. The rules are those of the specification's columns that we write; a file
that passes has no breach of these, which is less than a certificate.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from greenlight.cost.focus.columns import BY_NAME, COLUMNS, MANDATORY, Column, Type
from greenlight.cost.focus.rows import Row, billing_period

OURS = "x_"
_CURRENCY = re.compile(r"[A-Z]{3}")


class Rule(StrEnum):
    """What was breached."""

    PRESENT = "must be present"
    KNOWN = "must be a FOCUS column or begin with x_"
    NOT_NULL = "must not be null"
    NULL = "must be null"
    TYPE = "has the wrong type"
    ALLOWED = "is not an allowed value"
    CURRENCY = "must be a currency of ISO 4217"
    ONE_CURRENCY = "must be one per billing account"
    UTC = "must be in UTC"
    ORDER = "must be after its start"
    WITHIN = "must be within the billing period"
    MONTH = "must begin a month, and end with it"
    NOT_NEGATIVE = "must not be negative for usage"
    EMPTY = "must not be empty text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """One rule that one row doesn't keep. `row` counts from 0; none: the whole file."""

    row: int | None
    column: str
    rule: Rule
    found: str

    def __str__(self) -> str:
        where = "file" if self.row is None else f"row {self.row}"
        return f"{where}: {self.column} {self.rule}, found {self.found}"


def check(rows: Sequence[Row], *, columns: Iterable[str] | None = None) -> tuple[Breach, ...]:
    """Return all breaches, none where everything conforms.

    `columns`: those of the file, where there may be no row.
    """
    names = (
        list(columns) if columns is not None else list(dict.fromkeys(k for r in rows for k in r))
    )
    breaches = [*_file(names)]
    currencies: dict[object, object] = {}
    for number, row in enumerate(rows):
        breaches += _cells(number, row, set(names))
        breaches += _together(number, row)
        known = currencies.setdefault(row.get("BillingAccountId"), row.get("BillingCurrency"))
        if known != row.get("BillingCurrency"):
            found = f"{row.get('BillingCurrency')} and {known}"
            breaches.append(_breach(number, "BillingCurrency", Rule.ONE_CURRENCY, found))
    return tuple(breaches)


def _file(names: Sequence[str]) -> Iterator[Breach]:
    for name in MANDATORY:
        if name not in names:
            yield Breach(row=None, column=name, rule=Rule.PRESENT, found="no such column")
    for name in names:
        if name not in BY_NAME and not name.startswith(OURS):
            yield Breach(row=None, column=name, rule=Rule.KNOWN, found=name)


def _cells(number: int, row: Row, there: set[str]) -> Iterator[Breach]:
    for column in COLUMNS:
        if column.name not in there:
            continue
        cell = row.get(column.name)
        if cell is None:
            if not column.nullable:
                yield _breach(number, column.name, Rule.NOT_NULL, "null")
        elif (rule := _wrong(column, cell)) is not None:
            yield _breach(number, column.name, rule, repr(cell))
    currency = row.get("BillingCurrency")
    if isinstance(currency, str) and not _CURRENCY.fullmatch(currency):
        yield _breach(number, "BillingCurrency", Rule.CURRENCY, currency)


def _wrong(column: Column, cell: object) -> Rule | None:
    if not _has_type(column.type, cell):
        return Rule.TYPE
    if isinstance(cell, datetime) and cell.utcoffset() != timedelta(0):
        return Rule.UTC
    if isinstance(cell, str) and not cell.strip():
        return Rule.EMPTY
    if column.allowed is not None and cell not in column.allowed:
        return Rule.ALLOWED
    return None


def _has_type(kind: Type, cell: object) -> bool:
    match kind:
        case Type.DECIMAL:
            return isinstance(cell, Decimal) and cell.is_finite()
        case Type.TIME:
            return isinstance(cell, datetime)
        case Type.WHOLE:
            return isinstance(cell, int) and not isinstance(cell, bool)
        case Type.TAGS:
            return isinstance(cell, Mapping) and all(
                isinstance(key, str) and isinstance(value, str | bool | None)
                for key, value in cell.items()
            )
        case Type.TEXT:
            return isinstance(cell, str)


def _together(number: int, row: Row) -> Iterator[Breach]:
    """Yield breaches of rules between columns."""
    for start, end in (("ChargePeriodStart", "ChargePeriodEnd"),
                       ("BillingPeriodStart", "BillingPeriodEnd")):  # fmt: skip
        begins, ends = _time(row, start), _time(row, end)
        if begins is not None and ends is not None and ends <= begins:
            yield _breach(number, end, Rule.ORDER, f"{ends} with {start} {begins}")
    yield from _periods(number, row)
    yield from _pairs(number, row)
    is_usage = row.get("ChargeCategory") == "Usage" and row.get("ChargeClass") is None
    for name in ("PricingQuantity", "ConsumedQuantity", "SkuId"):
        if is_usage and name in row and row.get(name) is None:
            yield _breach(number, name, Rule.NOT_NULL, "null for usage")
    quantity = row.get("PricingQuantity")
    if is_usage and isinstance(quantity, Decimal) and quantity < 0:
        yield _breach(number, "PricingQuantity", Rule.NOT_NEGATIVE, str(quantity))
    if row.get("ChargeCategory") == "Tax" and quantity is not None:
        yield _breach(number, "PricingQuantity", Rule.NULL, f"{quantity} for a tax")


def _periods(number: int, row: Row) -> Iterator[Breach]:
    start, end = _time(row, "BillingPeriodStart"), _time(row, "BillingPeriodEnd")
    if start is None or end is None:
        return
    if billing_period(start) != (start, end):
        yield _breach(number, "BillingPeriodStart", Rule.MONTH, f"{start} to {end}")
    begins, ends = _time(row, "ChargePeriodStart"), _time(row, "ChargePeriodEnd")
    if begins is not None and not start <= begins < end:
        yield _breach(number, "ChargePeriodStart", Rule.WITHIN, str(begins))
    if ends is not None and not start < ends <= end:
        yield _breach(number, "ChargePeriodEnd", Rule.WITHIN, str(ends))


_PAIRS = (
    ("PricingQuantity", "PricingUnit"),
    ("ConsumedQuantity", "ConsumedUnit"),
    ("ResourceId", "ResourceType"),
)


def _pairs(number: int, row: Row) -> Iterator[Breach]:
    for first, second in _PAIRS:
        if second not in row:
            continue
        if row.get(first) is None and row[second] is not None:
            yield _breach(number, second, Rule.NULL, f"{row[second]} without {first}")
        if row.get(first) is not None and row[second] is None:
            yield _breach(number, second, Rule.NOT_NULL, f"null with {first}")
    for name in ("SkuMeter", "SkuPriceId"):
        if row.get(name) is not None and row.get("SkuId") is None:
            yield _breach(number, name, Rule.NULL, f"{row[name]} without SkuId")


def _time(row: Row, name: str) -> datetime | None:
    """Return a time that can be compared; one without a zone is a breach of its own."""
    cell = row.get(name)
    return cell if isinstance(cell, datetime) and cell.tzinfo is not None else None


def _breach(row: int, column: str, rule: Rule, found: str) -> Breach:
    return Breach(row=row, column=column, rule=rule, found=found)
