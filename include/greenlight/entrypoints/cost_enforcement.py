"""Budgets' limits at the gateway: what each leaves its tenants, kept for the gateway to read."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from greenlight.core.types import JsonDict
from greenlight.cost.allocation import CostLine
from greenlight.cost.budget_limits import (
    LimitChange,
    NotEnforced,
    TenantSpend,
    enforce,
    reached,
)
from greenlight.cost.budgets import Status, Verdict
from greenlight.cost.claims import Group
from greenlight.cost.money import from_nanos
from greenlight.gateway.gateway_file import GatewayFile, load_gateway_file
from greenlight.gateway.limits import MICRO
from greenlight.gateway.spend_caps import SpendCap, changes

if TYPE_CHECKING:
    from greenlight.entrypoints.cost_tools import CostTools
    from greenlight.gateway.stores import SpendCapStore

log = logging.getLogger(__name__)

BY = "budgets"
"""The subject in the audit log."""
UNKNOWN_TENANT = (
    "gateway.yaml has no such tenant; costs are told apart only for tenants in `metrics_tenants`"
)


def lower_limits(tools: CostTools, statuses: Sequence[Status]) -> JsonDict:
    """Lower what tenants may spend at the gateway where a budget asks for it, or do so no longer.

    Raises:
        ConfigError: gateway.yaml is wrong, or the secret of the audit log is missing.
        RefusedError: somebody else changed the limits meanwhile.
        UnavailableError: the database does not answer.
    """
    from greenlight.adapters.audit_store import DatabaseAudit
    from greenlight.adapters.spend_cap_store import DatabaseSpendCaps
    from greenlight.entrypoints.gateway_access import AUDIT, load
    from greenlight.entrypoints.stack import open_database

    engine = open_database(tools.settings)
    asking = [status for status in statuses if status.budget.enforce is not None]
    if not asking and not DatabaseSpendCaps(engine).all_caps():
        return {}
    caps = DatabaseSpendCaps(engine, DatabaseAudit(engine, secret=load(tools.settings, AUDIT)))
    gateway = load_gateway_file(tools.settings.config_file("gateway"))
    return keep_caps(tools, asking, gateway=gateway, caps=caps)


def keep_caps(
    tools: CostTools, statuses: Sequence[Status], *, gateway: GatewayFile, caps: SpendCapStore
) -> JsonDict:
    """Keep the caps of these budgets; return what stands, what was lifted, who is left out.

    A budget that can't be measured keeps its caps: not knowing is no reason to lift one. One whose
    period is over, or that is no longer near its end, loses them.
    """
    now, before = tools.clock.now(), caps.all_caps()
    after: list[SpendCap] = []
    left_out: list[NotEnforced] = []
    for status in statuses:
        own = {
            cap.tenant: cap
            for cap in before
            if (cap.budget, cap.until) == (status.budget.name, status.span.end)
        }
        verdict = reached(status)
        if verdict is Verdict.CROSSED:
            spends = _spends(tools, status, gateway, own)
            lower, others = _lower(status, spends, gateway, now=now)
            own |= lower
            left_out += others
        if verdict is not Verdict.NOT_CROSSED:
            after += own.values()
    after.sort(key=lambda cap: (cap.tenant, cap.budget))
    events = changes(before, after, by=BY, at=now)
    if events:
        caps.replace(before, after, events=events)
    for event in events:
        log.warning("what %s may spend at the gateway: %s", event.tenant, event.detail)
    for one in left_out:
        log.warning("what %s may spend at the gateway can't be lowered: %s", one.tenant, one.why)
    return {
        "caps": {f"{cap.tenant}/{cap.budget}": str(cap.per_day) for cap in after},
        "changed": len(events),
        "left_out": {one.tenant: one.why for one in left_out},
    }


def _lower(
    status: Status, spends: Sequence[TenantSpend], gateway: GatewayFile, *, now: datetime
) -> tuple[dict[str, SpendCap], list[NotEnforced]]:
    """Return what a budget lowers, by tenant, and who keeps their limit."""
    lower: dict[str, SpendCap] = {}
    others: list[NotEnforced] = []
    for answer in enforce(status, spends, now=now):
        if isinstance(answer, NotEnforced):
            others.append(answer)
        elif gateway.tenant(answer.tenant) is None:
            others.append(NotEnforced(tenant=answer.tenant, why=UNKNOWN_TENANT))
        else:
            lower[answer.tenant] = _cap(answer, status)
    return lower, others


def _spends(
    tools: CostTools, status: Status, gateway: GatewayFile, own: Mapping[str, SpendCap]
) -> list[TenantSpend]:
    """Return what each tenant cost since the budget's period began, and what it was charged."""
    asked = status.budget.scope.named()
    cost: dict[str, Decimal] = defaultdict(Decimal)
    charged: dict[str, Decimal] = defaultdict(Decimal)
    for line in tools.store.lines(status.span.start, min(status.span.end, tools.clock.now())):
        if line.tenant is None or line.part.group is not Group.WORKLOAD:
            continue
        if all(getattr(line, name) == value for name, value in asked.items()):
            cost[line.tenant] += from_nanos(line.cost)
            charged[line.tenant] += _charge(line, gateway)
    return [
        TenantSpend(
            name=name, cost=cost[name], charged=charged[name], limit=_limit(name, gateway, own)
        )
        for name in sorted(cost)
    ]


def _charge(line: CostLine, gateway: GatewayFile) -> Decimal:
    model = gateway.model(line.model or "")
    if model is None or line.input_tokens is None or line.output_tokens is None:
        return Decimal(0)
    charge = model.charge(prompt=line.input_tokens, answer=line.output_tokens)
    return Decimal(charge.spend) / MICRO


def _limit(name: str, gateway: GatewayFile, own: Mapping[str, SpendCap]) -> Decimal | None:
    tenant = gateway.tenant(name)
    by_file = tenant.limits.spend_per_day if tenant else None
    found = [Decimal(str(by_file))] if by_file is not None else []
    found += [own[name].per_day] if name in own else []
    return min(found, default=None)


def _cap(change: LimitChange, status: Status) -> SpendCap:
    return SpendCap(
        tenant=change.tenant,
        budget=status.budget.name,
        per_day=change.limit,
        until=status.span.end,
        why=change.why,
    )
