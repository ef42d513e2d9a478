"""Our bill beside the cloud's own: what differs, by how much, and what only one side has.

The two never agree to the cent: taxes, credits, support and what Greenlight doesn't know of are on
the cloud's side only. So differences are shown, and nothing is adjusted to make them go away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from greenlight.core.errors import InputError


class Agreement(StrEnum):
    """How two amounts compare."""

    WITHIN = "within"
    BEYOND = "beyond"
    ONLY_OURS = "only_ours"
    ONLY_THEIRS = "only_theirs"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideBill:
    """What somebody else says was spent, by day and key. `estimated`: it may still change."""

    source: str
    currency: str
    amounts: Mapping[str, Decimal]
    estimated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One key. `None`: that side doesn't have it, which isn't 0. `share`: of theirs."""

    key: str
    ours: Decimal | None
    theirs: Decimal | None
    share: float | None
    agreement: Agreement

    @property
    def amount(self) -> Decimal:
        """Ours less theirs."""
        return (self.ours or Decimal(0)) - (self.theirs or Decimal(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """All differences, largest first. `agrees`: none is beyond the tolerance."""

    source: str
    currency: str
    estimated: bool
    differences: tuple[Difference, ...]

    @property
    def agrees(self) -> bool:
        """Whether every key is there on both sides and within the tolerance."""
        return all(found.agreement is Agreement.WITHIN for found in self.differences)

    @property
    def amount(self) -> Decimal:
        """Ours less theirs, of everything."""
        return sum((found.amount for found in self.differences), Decimal(0))


def reconcile(
    ours: Mapping[str, Decimal], theirs: OutsideBill, *, currency: str, tolerance: float
) -> Reconciliation:
    """Return how our amounts compare with an outside bill's, key by key.

    `tolerance`: the share of theirs that a difference may be.

    Raises:
        InputError: the currencies differ.
    """
    if currency != theirs.currency:
        raise InputError(
            f"our costs are in {currency}, those of {theirs.source} in {theirs.currency}: "
            "give the price book the currency of the bill"
        )
    found = [
        _difference(key, ours.get(key), theirs.amounts.get(key), tolerance)
        for key in ours.keys() | theirs.amounts.keys()
    ]
    return Reconciliation(
        source=theirs.source,
        currency=currency,
        estimated=theirs.estimated,
        differences=tuple(sorted(found, key=lambda one: (-abs(one.amount), one.key))),
    )


def _difference(
    key: str, ours: Decimal | None, theirs: Decimal | None, tolerance: float
) -> Difference:
    if ours is None or theirs is None:
        only = Agreement.ONLY_THEIRS if ours is None else Agreement.ONLY_OURS
        return Difference(key=key, ours=ours, theirs=theirs, share=None, agreement=only)
    apart = abs(ours - theirs)
    within = apart <= Decimal(str(tolerance)) * abs(theirs)
    return Difference(
        key=key,
        ours=ours,
        theirs=theirs,
        share=float((ours - theirs) / theirs) if theirs else None,
        agreement=Agreement.WITHIN if within else Agreement.BEYOND,
    )
