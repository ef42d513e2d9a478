"""What every store of budgets' limits must do. Subclass it and give it a fixture `stores`."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from greenlight.core.errors import RefusedError
from greenlight.gateway.audit import EventName
from greenlight.gateway.spend_caps import SpendCap, changes
from greenlight.gateway.stores import AuditStore, SpendCapStore
from greenlight.testing.manual_clock import NOON

Stores = tuple[SpendCapStore, AuditStore]


def a_cap(tenant: str = "acme", budget: str = "everything", per_day: str = "6.25") -> SpendCap:
    """Return a cap of ten days."""
    return SpendCap(
        tenant=tenant, budget=budget, per_day=Decimal(per_day), until=NOON + timedelta(days=10),
        why="60.00 are left",
    )  # fmt: skip


def keep(stores: Stores, *after: SpendCap) -> None:
    """Keep these in place of what is there."""
    caps, before = stores[0], stores[0].all_caps()
    caps.replace(before, after, events=changes(before, after, by="budgets", at=NOON))


class SpendCapsContract:
    """The suite."""

    def test_caps_are_read_back_as_they_were_kept_by_tenant_and_budget(
        self, stores: Stores
    ) -> None:
        """Money stays exact."""
        assert stores[0].all_caps() == ()
        keep(stores, a_cap("b"), a_cap("a", "second", "0.1"), a_cap("a", "first"))
        assert stores[0].all_caps() == (
            a_cap("a", "first"), a_cap("a", "second", "0.1"), a_cap("b"),
        )  # fmt: skip

    def test_what_is_no_longer_asked_for_is_gone(self, stores: Stores) -> None:
        """All of it can be."""
        keep(stores, a_cap("a"), a_cap("b"))
        keep(stores, a_cap("b"))
        assert stores[0].all_caps() == (a_cap("b"),)
        keep(stores)
        assert stores[0].all_caps() == ()

    def test_each_change_is_in_the_audit_log(self, stores: Stores) -> None:
        """What stays the same is not."""
        keep(stores, a_cap("a"), a_cap("b"))
        keep(stores, a_cap("b"))
        found = stores[1].find(event=EventName.LIMITS_CAPPED)
        assert [(one.record.tenant, one.record.detail.get("lifted")) for one in found] == [
            ("a", None), ("b", None), ("a", True),
        ]  # fmt: skip
        assert found[0].record.detail["per_day"] == "6.25"

    def test_a_change_of_what_somebody_else_changed_is_refused(self, stores: Stores) -> None:
        """It changes nothing."""
        keep(stores, a_cap("a"))
        with pytest.raises(RefusedError, match="somebody else"):
            stores[0].replace((), (a_cap("b"),), events=())
        assert stores[0].all_caps() == (a_cap("a"),)
