"""Money a day that a budget leaves a tenant: lower than gateway.yaml says, until its period ends.

A cap is a limit like the others and is counted where they are. Of a tenant that gateway.yaml gives
no `spend_per_day`, counting begins when the cap does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from greenlight.core.types import JsonDict
from greenlight.gateway.audit import AuditEvent, EventName
from greenlight.gateway.limits import MICRO, Holder, Limit, LimitKind


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendCap:
    """What a budget leaves one tenant a day, in the gateway's money."""

    tenant: str
    budget: str
    per_day: Decimal
    until: datetime
    """When the budget's period ends, and the cap with it."""
    why: str


def in_force(caps: Iterable[SpendCap], *, now: datetime) -> Mapping[str, int]:
    """Return the lowest cap of each tenant that has one, in millionths."""
    lowest: dict[str, int] = {}
    for cap in caps:
        if cap.until > now:
            amount = round(cap.per_day * MICRO)
            lowest[cap.tenant] = min(amount, lowest.get(cap.tenant, amount))
    return lowest


def capped(limits: Sequence[Limit], *, tenant: str, amount: int) -> tuple[Limit, ...]:
    """Return limits in which the tenant may spend no more than `amount` millionths a day."""
    cap = Limit(kind=LimitKind.SPEND_DAY, holder=Holder.TENANT, subject=tenant, amount=amount)
    others = [one for one in limits if not _is_same(one, cap)]
    own = [one for one in limits if _is_same(one, cap) and one.amount <= amount]
    return (*others, *(own or [cap]))


def changes(
    before: Iterable[SpendCap], after: Iterable[SpendCap], *, by: str, at: datetime
) -> tuple[AuditEvent, ...]:
    """Return what the audit log is told of caps that are new, changed or gone."""
    old = {(cap.tenant, cap.budget): cap for cap in before}
    new = {(cap.tenant, cap.budget): cap for cap in after}
    told: list[tuple[str, JsonDict]] = [
        (cap.tenant, {"budget": cap.budget, "per_day": str(cap.per_day), "why": cap.why,
                      "until": cap.until.isoformat()})
        for key, cap in new.items()
        if old.get(key) != cap
    ]  # fmt: skip
    told += [
        (tenant, {"budget": budget, "lifted": True})
        for tenant, budget in old
        if (tenant, budget) not in new
    ]
    return tuple(
        AuditEvent(at=at, event=EventName.LIMITS_CAPPED, subject=by, tenant=tenant, detail=detail)
        for tenant, detail in told
    )


def _is_same(limit: Limit, cap: Limit) -> bool:
    return (limit.kind, limit.holder, limit.subject) == (cap.kind, cap.holder, cap.subject)
