"""What budgets leave tenants, from a month of hours."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cost_months import EVERYTHING, filled, opened, world

from greenlight.entrypoints.cost_enforcement import keep_caps
from greenlight.gateway.gateway_file import GatewayFile
from greenlight.testing.gateway_access import a_gateway
from greenlight.testing.memory_gateway import MemoryAudit, MemorySpendCaps

ENFORCED = EVERYTHING | {"enforce": {"at": "0.5", "floor_per_day": "0.10"}}
TOKENS = (500_000, 250_000)
"""One coin an hour at the gateway's prices."""
END = datetime(2026, 12, 1, tzinfo=UTC)
PRICED = [
    {"name": "chat", "upstream": "http://127.0.0.1:1", "context": 100, "default_max_tokens": 10,
     "fleet": "demo", "price": {"input_per_million": 1, "output_per_million": 2}}
]  # fmt: skip


def gateway(**changes: Any) -> GatewayFile:
    return a_gateway(**{"models": PRICED} | changes)


@pytest.fixture
def caps() -> MemorySpendCaps:
    return MemorySpendCaps(MemoryAudit())


def run(
    folder: Path, caps: MemorySpendCaps, budget: dict[str, Any] = ENFORCED,
    file: GatewayFile | None = None, **changes: Any,
) -> dict[str, Any]:  # fmt: skip
    used = {"store": filled(tokens=TOKENS)} | changes
    statuses = opened(folder, budget, **used).statuses()
    return keep_caps(world(folder, **used), statuses, gateway=file or gateway(), caps=caps)


def test_a_budget_that_is_nearly_spent_leaves_its_tenants_a_share_of_the_rest(
    tmp_path: Path, caps: MemorySpendCaps
) -> None:
    found = run(tmp_path, caps)
    (cap,) = caps.all_caps()
    assert (cap.tenant, cap.budget, cap.until) == ("acme", EVERYTHING["name"], END)
    left, days, hours = 2000 - 1684, Decimal("6.537"), 563  # of November, by the 24th at 11:07
    assert cap.per_day == pytest.approx(left / days * hours / 1263, rel=Decimal("0.01"))
    assert found["changed"] == 1


def test_running_again_changes_nothing(tmp_path: Path, caps: MemorySpendCaps) -> None:
    run(tmp_path, caps)
    before = caps.all_caps()
    assert run(tmp_path, caps)["changed"] == 0
    assert caps.all_caps() == before


def test_a_raised_budget_lifts_what_it_had_lowered(tmp_path: Path, caps: MemorySpendCaps) -> None:
    run(tmp_path, caps)
    assert run(tmp_path, caps, ENFORCED | {"amount": 100_000})["changed"] == 1
    assert caps.all_caps() == ()


def test_a_budget_that_can_not_be_measured_keeps_what_it_had_lowered(
    tmp_path: Path, caps: MemorySpendCaps
) -> None:
    run(tmp_path, caps)
    before = caps.all_caps()
    unsure = ENFORCED | {"enforce": {"at": "1", "floor_per_day": "0.10"}}
    run(tmp_path, caps, unsure, store=filled(missing=300, tokens=TOKENS))
    assert caps.all_caps() == before


def test_a_tenant_that_the_gateway_does_not_know_or_price_is_named(
    tmp_path: Path, caps: MemorySpendCaps
) -> None:
    other = gateway(tenants=[{"name": "somebody-else"}])
    assert "no such tenant" in run(tmp_path, caps, file=other)["left_out"]["acme"]
    free = [{key: value for key, value in PRICED[0].items() if key != "price"}]
    assert "without prices" in run(tmp_path, caps, file=gateway(models=free))["left_out"]["acme"]
    assert caps.all_caps() == ()


def test_a_limit_of_gateway_yaml_that_is_lower_already_is_left(
    tmp_path: Path, caps: MemorySpendCaps
) -> None:
    low = gateway(tenants=[{"name": "acme", "limits": {"spend_per_day": 0.01}}])
    assert run(tmp_path, caps, file=low) == {"caps": {}, "changed": 0, "left_out": {}}


def test_nobody_gets_less_than_the_floor(tmp_path: Path, caps: MemorySpendCaps) -> None:
    run(tmp_path, caps, ENFORCED | {"amount": 1})
    assert caps.all_caps()[0].per_day == Decimal("0.10")
