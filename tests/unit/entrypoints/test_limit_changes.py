from __future__ import annotations

from typing import Any

from greenlight.entrypoints.gateway.limit_changes import note_limits
from greenlight.gateway.audit import EventName
from greenlight.gateway.gateway_file import GatewayFile
from greenlight.testing.memory_gateway import MemoryAudit

MODEL = {"name": "m", "upstream": "http://h", "fleet": "f", "context": 999}
ACME = {"name": "acme", "limits": {"requests_per_minute": 10}}


def file_of(*tenants: dict[str, Any]) -> GatewayFile:
    return GatewayFile.model_validate({"models": [MODEL], "tenants": list(tenants)})


def test_the_first_start_records_every_tenant_and_the_next_none() -> None:
    audit = MemoryAudit(secret="s" * 32)
    file = file_of(ACME, {"name": "other"})
    assert note_limits(audit, file, by="operator:test") == ("acme", "other")
    assert note_limits(audit, file, by="operator:test") == ()


def test_a_change_is_recorded_with_what_it_is_now() -> None:
    audit = MemoryAudit(secret="s" * 32)
    note_limits(audit, file_of(ACME, {"name": "other"}), by="operator:test")
    more = ACME | {"limits": {"requests_per_minute": 99}}
    assert note_limits(audit, file_of(more, {"name": "other"}), by="operator:test") == ("acme",)
    (*_, last) = audit.find(event=EventName.LIMITS_CHANGED)
    assert last.record.tenant == "acme"
    assert last.record.detail["limits"] == {"requests_per_minute": 99}
    assert last.subject == "operator:test"


def test_a_tenant_that_is_gone_and_comes_back_is_recorded_each_time() -> None:
    audit = MemoryAudit(secret="s" * 32)
    both, one = file_of(ACME, {"name": "other"}), file_of({"name": "other"})
    note_limits(audit, both, by="operator:test")
    assert note_limits(audit, one, by="operator:test") == ("acme",)
    assert note_limits(audit, one, by="operator:test") == ()
    assert note_limits(audit, both, by="operator:test") == ("acme",)
