"""Cost lines as FOCUS rows: one row a line, an hour long."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, TypeAlias

from pydantic import Field

from greenlight.core.types import Value
from greenlight.cost.allocation import CostLine
from greenlight.cost.bill import HOUR, ItemKind
from greenlight.cost.claims import Part
from greenlight.cost.money import from_nanos
from greenlight.cost.prices import Term, Unit

Cell: TypeAlias = str | Decimal | datetime | int | Mapping[str, str] | None
Row: TypeAlias = Mapping[str, Cell]

Name = Annotated[str, Field(min_length=1)]

_UNITS = {Unit.HOUR: "Hours", Unit.GIB_MONTH: "GiB-Months", Unit.GIB: "GiB"}
_SERVICES = {
    ItemKind.HOST: ("Compute", "Model serving hosts", "Compute Usage", "Host"),
    ItemKind.STORAGE: ("Storage", "Model storage", "Storage Usage", "Storage"),
    ItemKind.TRANSFER: ("Networking", "Data transfer", "Data Transfer", None),
    ItemKind.SHARED: ("Management and Governance", "Shared services", "Shared Usage", "Service"),
}
"""Category, name, meter and type of resource."""
_PRICING = {Term.RESERVED: "Committed", Term.SPOT: "Dynamic"}
_SAYS = {
    Part.SERVING: "served",
    Part.WARM: "kept warm to go back to",
    Part.IDLE: "idle",
    Part.UNMEASURED: "not measured",
    Part.OVERHEAD: "shared by everything",
}


class Account(Value):
    """Who pays, and whom. Names are those on the invoice."""

    id: Name
    name: Name
    provider: Name
    publisher: Name
    issuer: Name


def rows_of(lines: Iterable[CostLine], account: Account) -> tuple[Row, ...]:
    """Return a row for each line, in the same order."""
    return tuple(_row(line, account) for line in lines)


def billing_period(at: datetime) -> tuple[datetime, datetime]:
    """Return the first moment of the month, and of the next."""
    start = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return start, start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)


def _row(line: CostLine, account: Account) -> Row:
    category, service, meter, resource_type = _SERVICES[line.item]
    start, end = billing_period(line.hour)
    cost, unit = from_nanos(line.cost), _UNITS[Unit(line.unit)]
    is_resource = resource_type is not None
    return {
        "BilledCost": cost,
        "BillingAccountId": account.id,
        "BillingAccountName": account.name,
        "BillingCurrency": line.currency,
        "BillingPeriodEnd": end,
        "BillingPeriodStart": start,
        "ChargeCategory": "Usage",
        "ChargeClass": None,
        "ChargeDescription": _description(line),
        "ChargePeriodEnd": line.hour + HOUR,
        "ChargePeriodStart": line.hour,
        "ContractedCost": cost,
        "EffectiveCost": cost,
        "InvoiceIssuerName": account.issuer,
        "ListCost": from_nanos(line.list_cost),
        "PricingQuantity": line.quantity,
        "PricingUnit": unit,
        "ProviderName": account.provider,
        "PublisherName": account.publisher,
        "ServiceCategory": category,
        "ServiceName": service,
        "ChargeFrequency": "Usage-Based",
        "ConsumedQuantity": line.quantity,
        "ConsumedUnit": unit,
        "PricingCategory": _PRICING.get(Term(line.term), "Standard"),
        "RegionId": line.region,
        "ResourceId": line.name if is_resource else None,
        "ResourceType": resource_type,
        "SkuId": line.sku,
        "SkuMeter": meter,
        "SkuPriceId": f"{line.sku}/{line.region}/{line.term}",
        "Tags": {"environment": line.environment},
        "x_Environment": line.environment,
        "x_InputTokens": line.input_tokens,
        "x_Model": line.model,
        "x_ModelVersion": line.version,
        "x_OutputTokens": line.output_tokens,
        "x_Part": str(line.part),
        "x_Slot": line.slot,
        "x_Tenant": line.tenant,
        "x_UsedCost": from_nanos(line.used_cost),
    }


def _description(line: CostLine) -> str:
    whose = f"{line.model} {line.version or ''}".strip() if line.model else line.name
    tenant = f" for {line.tenant}" if line.tenant else ""
    return f"{line.sku} in {line.region}, {_SAYS[line.part]}: {whose}{tenant}"
