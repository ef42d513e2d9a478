"""Note in the audit log when gateway.yaml gives a tenant other limits than it had before."""

from __future__ import annotations

from greenlight.core.clock import Clock, SystemClock
from greenlight.core.types import JsonDict
from greenlight.gateway.audit import AuditEvent, EventName
from greenlight.gateway.gateway_file import GatewayFile, Tenant
from greenlight.gateway.stores import AuditStore

GONE: JsonDict = {"gone": True}


def note_limits(
    audit: AuditStore,
    file: GatewayFile,
    *,
    by: str,
    clock: Clock = SystemClock(),  # noqa: B008 - stateless
) -> tuple[str, ...]:
    """Write a record for every tenant whose limits or scopes have changed; return their names.

    Compared is with the last record of each tenant, so the first start records all of them, and so
    does one after retention has deleted those records. Two gateways that start at the same moment
    may both record a change.

    Raises:
        UnavailableError: the database does not answer.
    """
    before = {
        str(named.record.tenant): named.record.detail
        for named in audit.find(event=EventName.LIMITS_CHANGED)
    }
    now = {tenant.name: _told(tenant) for tenant in file.tenants}
    now |= {name: GONE for name in before if name not in now}
    changed = {name: detail for name, detail in now.items() if before.get(name) != detail}
    if changed:
        audit.append(
            [
                AuditEvent(
                    at=clock.now(),
                    event=EventName.LIMITS_CHANGED,
                    subject=by,
                    tenant=name,
                    detail=detail,
                )
                for name, detail in changed.items()
            ]
        )
    return tuple(changed)


def _told(tenant: Tenant) -> JsonDict:
    return {
        "limits": tenant.limits.model_dump(mode="json", exclude_none=True),
        "each_key": tenant.each_key.model_dump(mode="json", exclude_none=True),
        "scopes": sorted(tenant.scopes),
    }
