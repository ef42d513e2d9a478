from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from greenlight.adapters.cost_expectations import check_hour
from greenlight.cost.bill import Bought, ItemKind, bill_of
from greenlight.cost.prices import PriceBook, Term
from greenlight.cost.usage import (
    Count,
    HostUsage,
    Level,
    Mark,
    SlotUsage,
    TenantUsage,
    Unmeasured,
)

HOUR = datetime(2026, 11, 24, 10, tzinfo=UTC)
GONE = Unmeasured(why="no sample")
SKU = "g5.xlarge in eu-central-1"


def level(mean, coverage=1.0):
    return Level(mean=mean, peak=mean, coverage=coverage)


def slot(**changes):
    fields = {
        "slot": "green", "model": "chat", "version": "7", "is_warm": False,
        "time": level(0.4), "memory": level(0.5),
        "input_tokens": Count(total=1000, coverage=1.0),
        "output_tokens": Count(total=500, coverage=1.0),
    }  # fmt: skip
    return SlotUsage(**fields | changes)


def host(name="gpu-1", *slots, gpu=None):
    return HostUsage(
        host=name, hour=HOUR, cpu=level(0.2), memory=level(0.3), gpu=gpu or level(0.4),
        gpu_memory=level(0.8), slots=slots or (slot(),),
    )  # fmt: skip


def items(price="1.2", source="a list", **changes):
    entry = {
        "sku": "g5.xlarge", "region": "eu-central-1", "term": "on_demand", "price": price,
        "valid_from": "2026-01-01T00:00:00Z", "source": source,
    }  # fmt: skip
    book = PriceBook.model_validate({"currency": "USD", "prices": [entry | changes]})
    bought = Bought(
        kind=ItemKind.HOST, name="gpu-1", sku="g5.xlarge", region="eu-central-1",
        term=Term.ON_DEMAND, environment="production",
    )  # fmt: skip
    return bill_of([bought], HOUR, book)


@pytest.fixture
def check(tmp_path):
    def check(*hosts, bill=None, min_measured=0.5, last=None):
        return check_hour(
            {host.host: host for host in hosts},
            items() if bill is None else bill,
            hour=HOUR,
            min_measured=min_measured,
            last_prices=last or {},
            docs=tmp_path / "data docs",
        )

    return check


def test_a_good_hour_passes_and_leaves_nothing_behind(check, tmp_path):
    (tmp_path / "data docs").mkdir()
    found = check(host(), last={SKU: Decimal("1.2")})
    assert (found.problems, found.warnings, found.docs) == ((), (), None)
    assert not (tmp_path / "data docs").exists()


def test_an_hour_with_problems_leaves_its_docs_in_place_of_older_ones(check, tmp_path):
    (tmp_path / "data docs").mkdir()
    (tmp_path / "data docs" / "old").write_text("x")
    assert check(host(gpu=level(1.5))).docs == tmp_path / "data docs"
    for kind in ("hosts", "slots", "prices"):
        page = tmp_path / "data docs" / kind / "index.html"
        assert f"{kind}-2026-11-24T10" in page.read_text()
    assert not (tmp_path / "data docs" / "old").exists()


def test_one_silent_host_of_many_is_no_reason_to_keep_the_hour_aside(check):
    assert check(host(), host("gpu-2"), host("gpu-3", gpu=GONE)).problems == ()


def test_an_hour_in_which_most_hosts_are_silent_is_kept_aside(check):
    found = check(host(), host("gpu-2", gpu=GONE), host("gpu-3", gpu=level(0.4, coverage=0.1)))
    assert found.problems == ("less than 50% of the hosts' time was measured (in the whole file)",)


def test_a_host_whose_engines_nobody_scraped_was_not_measured(check):
    found = check(host("gpu-1", slot(memory=GONE)))
    assert found.problems == ("less than 50% of the hosts' time was measured (in the whole file)",)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (host(gpu=level(1.5)), "1 of 1 rows have a computation that is no share of 1: gpu-1"),
        (
            host("gpu-1", slot(time=level(-0.1))),
            "1 of 1 rows have a time that is no share of 1: gpu-1 green",
        ),
        (
            host("gpu-1", slot(input_tokens=Count(total=1e12, coverage=1.0))),
            "1 of 1 rows have more than 1,000,000 tokens a second: gpu-1 green",
        ),
    ],
)
def test_usage_that_can_not_be_keeps_the_hour_aside(check, wrong, says):
    assert check(wrong).problems == (says,)


def test_an_hour_without_hosts_or_a_bill_is_kept_aside(check):
    problems = check(bill=()).problems
    assert any("there is no host" in problem for problem in problems)
    assert any("nothing was bought" in problem for problem in problems)


@pytest.mark.parametrize("last", ["0.3", "4.0"])
def test_a_price_that_jumped_keeps_the_hour_aside(check, last):
    (problem,) = check(host(), last={SKU: Decimal(last)}).problems
    assert "gpu-1 (g5.xlarge in eu-central-1)" in problem
    assert "3 times" in problem


def test_a_price_of_nothing_and_one_above_the_list_are_warned_of(check):
    assert "cost nothing" in check(host(), bill=items("0")).warnings[0]
    dear = check(host(), bill=items("2", list_price="1"))
    assert dear.problems == ()
    assert "cost more than their list price" in dear.warnings[0]


def test_odd_readings_are_warned_of(check):
    lost = Count(total=10, coverage=1.0, marks=(Mark.RESET, Mark.LOST))
    beyond = TenantUsage(
        tenant="a", requests=GONE, input_tokens=GONE, output_tokens=Count(total=900, coverage=1.0)
    )
    contradicted = replace(host("gpu-2"), gpu=Unmeasured(why="x", marks=(Mark.UNTRUSTED,)))
    found = check(host("gpu-1", slot(input_tokens=lost, tenants=(beyond,))), contradicted)
    assert found.problems == ()
    assert [w.partition(" rows ")[2] for w in found.warnings] == [
        "have GPU metrics that contradict each other: gpu-2",
        "lost tokens in a restart that nobody saw: gpu-1 green",
        "have more tokens by the gateway than by the engine: gpu-1 green",
    ]
