"""The columns of FOCUS 1.2 that Greenlight writes, with the rules the specification gives them.

Names are the specification's column identifiers: what it shows as "Provider" is `ProviderName`. All
mandatory columns are here, the conditional ones that hosts and tokens have, and our own, which the
specification wants to begin with `x_`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

VERSION = "1.2"


class Type(StrEnum):
    """What a column holds."""

    TEXT = "text"
    DECIMAL = "decimal"
    TIME = "time"
    TAGS = "tags"
    WHOLE = "whole"


CHARGE_CATEGORIES = frozenset({"Usage", "Purchase", "Tax", "Credit", "Adjustment"})
CHARGE_FREQUENCIES = frozenset({"One-Time", "Recurring", "Usage-Based"})
PRICING_CATEGORIES = frozenset({"Standard", "Dynamic", "Committed", "Other"})
SERVICE_CATEGORIES = frozenset(
    {
        "AI and Machine Learning", "Analytics", "Business Applications", "Compute", "Databases",
        "Developer Tools", "Multicloud", "Identity", "Integration", "Internet of Things",
        "Management and Governance", "Media", "Migration", "Mobile", "Networking", "Security",
        "Storage", "Web", "Other",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column. `nullable`: whether a row may have no value. `allowed`: the values there are."""

    name: str
    type: Type
    nullable: bool = False
    mandatory: bool = False
    allowed: frozenset[str] | None = None


def _mandatory(
    name: str,
    kind: Type = Type.TEXT,
    *,
    nullable: bool = False,
    allowed: frozenset[str] | None = None,
) -> Column:
    return Column(name=name, type=kind, nullable=nullable, mandatory=True, allowed=allowed)


COLUMNS: tuple[Column, ...] = (
    _mandatory("BilledCost", Type.DECIMAL),
    _mandatory("BillingAccountId"),
    _mandatory("BillingAccountName", nullable=True),
    _mandatory("BillingCurrency"),
    _mandatory("BillingPeriodEnd", Type.TIME),
    _mandatory("BillingPeriodStart", Type.TIME),
    _mandatory("ChargeCategory", allowed=CHARGE_CATEGORIES),
    _mandatory("ChargeClass", nullable=True, allowed=frozenset({"Correction"})),
    _mandatory("ChargeDescription", nullable=True),
    _mandatory("ChargePeriodEnd", Type.TIME),
    _mandatory("ChargePeriodStart", Type.TIME),
    _mandatory("ContractedCost", Type.DECIMAL),
    _mandatory("EffectiveCost", Type.DECIMAL),
    _mandatory("InvoiceIssuerName"),
    _mandatory("ListCost", Type.DECIMAL),
    _mandatory("PricingQuantity", Type.DECIMAL, nullable=True),
    _mandatory("PricingUnit", nullable=True),
    _mandatory("ProviderName"),
    _mandatory("PublisherName"),
    _mandatory("ServiceCategory", allowed=SERVICE_CATEGORIES),
    _mandatory("ServiceName"),
    Column(name="ChargeFrequency", type=Type.TEXT, allowed=CHARGE_FREQUENCIES),
    Column(name="ConsumedQuantity", type=Type.DECIMAL, nullable=True),
    Column(name="ConsumedUnit", type=Type.TEXT, nullable=True),
    Column(name="PricingCategory", type=Type.TEXT, nullable=True, allowed=PRICING_CATEGORIES),
    Column(name="RegionId", type=Type.TEXT, nullable=True),
    Column(name="ResourceId", type=Type.TEXT, nullable=True),
    Column(name="ResourceType", type=Type.TEXT, nullable=True),
    Column(name="SkuId", type=Type.TEXT, nullable=True),
    Column(name="SkuMeter", type=Type.TEXT, nullable=True),
    Column(name="SkuPriceId", type=Type.TEXT, nullable=True),
    Column(name="Tags", type=Type.TAGS, nullable=True),
    Column(name="x_Environment", type=Type.TEXT),
    Column(name="x_InputTokens", type=Type.WHOLE, nullable=True),
    Column(name="x_Model", type=Type.TEXT, nullable=True),
    Column(name="x_ModelVersion", type=Type.TEXT, nullable=True),
    Column(name="x_OutputTokens", type=Type.WHOLE, nullable=True),
    Column(name="x_Part", type=Type.TEXT),
    Column(name="x_Slot", type=Type.TEXT, nullable=True),
    Column(name="x_Tenant", type=Type.TEXT, nullable=True),
    Column(name="x_UsedCost", type=Type.DECIMAL),
)
BY_NAME = {column.name: column for column in COLUMNS}
MANDATORY = tuple(column.name for column in COLUMNS if column.mandatory)
