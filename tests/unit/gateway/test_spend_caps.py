from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from greenlight.gateway.limits import MICRO, Holder, Limit, LimitKind
from greenlight.gateway.spend_caps import capped, changes, in_force
from greenlight.testing.manual_clock import NOON
from greenlight.testing.spend_caps_contract import a_cap


def of_tenant(amount, kind=LimitKind.SPEND_DAY, holder=Holder.TENANT, subject="acme"):
    return Limit(kind=kind, holder=holder, subject=subject, amount=amount)


def test_the_lowest_of_several_budgets_holds():
    caps = [a_cap(budget="a", per_day="6.25"), a_cap(budget="b", per_day="0.5"), a_cap("other")]
    assert in_force(caps, now=NOON) == {"acme": MICRO // 2, "other": 6_250_000}


def test_a_cap_ends_with_its_period():
    assert in_force([a_cap()], now=NOON + timedelta(days=10)) == {}


def test_a_cap_takes_the_place_of_a_higher_limit_and_leaves_the_others():
    others = (
        of_tenant(9, LimitKind.SPEND_MONTH),
        of_tenant(9, holder=Holder.KEY, subject="k1"),
        of_tenant(9, LimitKind.STREAMS),
    )
    found = capped((*others, of_tenant(100)), tenant="acme", amount=7)
    assert found == (*others, of_tenant(7))


def test_a_lower_limit_stays():
    assert capped([of_tenant(5)], tenant="acme", amount=7) == (of_tenant(5),)


def test_who_had_no_limit_gets_one():
    assert capped([], tenant="acme", amount=0) == (of_tenant(0),)


def test_the_log_is_told_of_what_is_new_changed_or_gone_and_of_nothing_else():
    lower = replace(a_cap("changed"), per_day=Decimal("0.1"))
    told = changes(
        [a_cap("same"), a_cap("changed"), a_cap("gone")],
        [a_cap("same"), lower, a_cap("new")],
        by="budgets",
        at=NOON,
    )
    assert [(one.tenant, one.detail.get("per_day")) for one in told] == [
        ("changed", "0.1"),
        ("new", "6.25"),
        ("gone", None),
    ]
    assert told[-1].detail == {"budget": "everything", "lifted": True}
    assert {one.subject for one in told} == {"budgets"}
