"""Which limits at the gateway a budget asks to lower. It decides; an entry point applies it.

A budget's costs are by the bill, the gateway's by the token: a limit is put into the gateway's
money by what it charged for the same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from greenlight.cost.budgets import Status, Verdict, hold_actual


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantSpend:
    """What a tenant has cost in a budget's scope, and its present limit at the gateway.

    `charged`: what the gateway counted for the same time; `None`: unknown. `limit`: its
    `spend_per_day`; `None`: there is none.
    """

    name: str
    cost: Decimal
    charged: Decimal | None
    limit: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitChange:
    """A `spend_per_day` to be set at the gateway, in the gateway's money."""

    tenant: str
    was: Decimal | None
    limit: Decimal
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotEnforced:
    """A tenant that keeps its limit although the budget asks for a lower one, and why."""

    tenant: str
    why: str


def reached(status: Status) -> Verdict:
    """Return whether so much is spent that the budget asks for lower limits."""
    rule = status.budget.enforce
    if rule is None:
        return Verdict.NOT_CROSSED
    return hold_actual(status.budget, status.spent, rule.at).verdict


def enforce(
    status: Status, tenants: Sequence[TenantSpend], *, now: datetime
) -> tuple[LimitChange | NotEnforced, ...]:
    """Return which limits to lower so that the rest of the budget lasts until the period's end.

    The rest is shared out a day, in proportion to what each tenant has cost. Limits are only ever
    lowered, never below the budget's floor, and a budget that can't be measured lowers none.
    """
    rule = status.budget.enforce
    if rule is None or status.spent.amount is None or reached(status) is not Verdict.CROSSED:
        return ()
    left = max(status.budget.amount - status.spent.amount, Decimal(0))
    days = max(Decimal((status.span.end - now).total_seconds()) / 86400, Decimal(1))
    everything = sum((tenant.cost for tenant in tenants), Decimal(0))
    answers = [
        _enforced(tenant, left / days, everything, floor=rule.floor_per_day)
        for tenant in tenants
        if tenant.cost > 0
    ]
    return tuple(answer for answer in answers if answer is not None)


def _enforced(
    tenant: TenantSpend, a_day: Decimal, everything: Decimal, *, floor: Decimal
) -> LimitChange | NotEnforced | None:
    if not tenant.charged:
        return NotEnforced(
            tenant=tenant.name,
            why="what the gateway charged isn't known: without prices in gateway.yaml it can't "
            "stop at an amount",
        )
    share = a_day * tenant.cost / everything
    limit = max(share * tenant.charged / tenant.cost, floor).quantize(Decimal("0.01"))
    if tenant.limit is not None and tenant.limit <= limit:
        return None
    return LimitChange(
        tenant=tenant.name,
        was=tenant.limit,
        limit=limit,
        why=f"{share:,.2f} a day are left of the budget for it, of {tenant.cost:,.2f} so far; the "
        f"gateway charged {tenant.charged:,.2f} for that",
    )
