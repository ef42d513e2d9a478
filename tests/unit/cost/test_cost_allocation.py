from collections import Counter as Tally
from decimal import Decimal

from cost_worlds import (
    HOUR,
    bill,
    book,
    host,
    level,
    price,
    shared,
    slot,
    storage,
    tenant,
    usage,
)
from hypothesis import given
from hypothesis import strategies as st

from greenlight.cost.allocation import allocate, identity_error
from greenlight.cost.claims import Group, Part
from greenlight.cost.prices import Price
from greenlight.cost.usage import Count, HostUsage, Level, SlotUsage, TenantUsage, Unmeasured

GONE = Unmeasured(why="no sample")


def lines_of(*slots, items=None, **more):
    items = items or bill()
    lines = allocate(items, usage(*slots, **more), output_weight=4)
    assert identity_error(items, lines) == 0
    return lines


def cost_of(lines):
    found = Tally()
    for line in lines:
        found[line.part] += line.cost
    return found


def test_an_engine_pays_for_the_memory_it_holds_and_the_rest_is_idle():
    found = cost_of(lines_of(slot(time=0.3, memory=0.45)))
    assert found == {Part.SERVING: 540_000_000, Part.IDLE: 660_000_000}


def test_an_engine_that_works_more_than_it_holds_pays_for_its_time():
    assert cost_of(lines_of(slot(time=0.9, memory=0.45)))[Part.SERVING] == 1_080_000_000


def test_on_usage_the_memory_that_is_only_held_counts_as_idle():
    lines = lines_of(slot(time=0.3, memory=0.45))
    assert {line.part: line.used_cost for line in lines} == {
        Part.SERVING: 360_000_000,
        Part.IDLE: 840_000_000,
    }


def test_a_warm_engine_has_its_own_line_and_uses_nothing():
    warm = slot("blue", time=0.0, memory=0.45, tokens=(0, 0), version="6", is_warm=True)
    lines = lines_of(slot(time=0.3, memory=0.45), warm)
    (line,) = [line for line in lines if line.part is Part.WARM]
    assert (line.slot, line.version, line.cost, line.used_cost) == ("blue", "6", 540_000_000, 0)
    assert Part.WARM.group is Group.WORKLOAD


def test_two_engines_that_claim_more_than_there_is_are_scaled_to_the_whole():
    lines = lines_of(slot(time=0.9, memory=0.4), slot("blue", time=0.1, memory=0.9))
    assert [line.cost for line in lines] == [600_000_000, 600_000_000]
    assert not [line for line in lines if line.part is Part.IDLE]


def test_a_host_that_nobody_measured_is_neither_used_nor_idle():
    assert cost_of(lines_of(slot(), name="another")) == {Part.UNMEASURED: 1_200_000_000}
    assert cost_of(lines_of(slot(memory=0.1), gpu=GONE)) == {Part.UNMEASURED: 1_200_000_000}


def test_one_slot_without_a_reading_makes_the_host_unmeasured():
    blind = slot("blue", memory=0.2, version="6")
    blind = SlotUsage(**{f: getattr(blind, f) for f in blind.__slots__} | {"memory": GONE})
    assert cost_of(lines_of(slot(), blind)) == {Part.UNMEASURED: 1_200_000_000}


def test_the_unmeasured_part_of_an_hour_is_a_line_of_its_own():
    half = level(0.5, coverage=0.25)
    found = cost_of(lines_of(slot(memory=0.4), gpu=half))
    assert found == {
        Part.SERVING: 120_000_000,
        Part.IDLE: 180_000_000,
        Part.UNMEASURED: 900_000_000,
    }


def test_an_empty_host_that_was_measured_is_idle():
    assert cost_of(lines_of()) == {Part.IDLE: 1_200_000_000}


def test_tenants_share_an_engine_by_tokens_of_which_outputs_weigh_more():
    lines = lines_of(
        slot(memory=0.5, tokens=(800, 300), tenants=(tenant("a", 400, 0), tenant("b", 0, 300)))
    )
    by_tenant = {line.tenant: line for line in lines if line.part is Part.SERVING}
    assert by_tenant["a"].cost == 120_000_000
    assert by_tenant["b"].cost == 360_000_000
    assert by_tenant[None].cost == 120_000_000
    assert (by_tenant[None].input_tokens, by_tenant[None].output_tokens) == (400, 0)


def test_a_tenant_whose_tokens_are_unknown_is_not_a_tenant_without_tokens():
    lost = TenantUsage(tenant="lost", requests=GONE, input_tokens=GONE, output_tokens=GONE)
    lines = lines_of(slot(memory=0.5, tokens=(100, 0), tenants=(lost, tenant("a", 50, 0))))
    by_tenant = {line.tenant: line.cost for line in lines if line.part is Part.SERVING}
    assert by_tenant == {"a": 300_000_000, None: 300_000_000}


def test_an_engine_whose_tokens_nobody_counted_has_none_to_show():
    silent = slot(memory=0.5)
    fields = {f: getattr(silent, f) for f in silent.__slots__}
    (line, _) = lines_of(SlotUsage(**fields | {"input_tokens": GONE}))
    assert line.input_tokens is None
    assert line.output_tokens == 500


def test_shared_things_are_overhead_and_what_is_one_models_alone_is_its_workload():
    items = bill(host(), shared(), storage(7300, model="chat"))
    lines = lines_of(slot(memory=0.5), items=items)
    assert cost_of(lines) == {
        Part.SERVING: 600_000_000 + 1_000_000_000,
        Part.IDLE: 600_000_000,
        Part.OVERHEAD: 50_000_000,
    }


def test_quantities_and_list_prices_are_shared_like_costs():
    items = bill(prices=book(price(amount="0.60", list_price="1.00")))
    lines = lines_of(slot(time=0.1, memory=0.25), items=items)
    assert [line.quantity for line in lines] == [Decimal("0.25"), Decimal("0.75")]
    assert [line.list_cost for line in lines] == [250_000_000, 750_000_000]


def test_an_error_in_the_lines_would_show():
    items = bill()
    lines = allocate(items, usage(slot()), output_weight=4)
    assert identity_error(items, lines[1:]) == lines[0].cost


SHARES = st.floats(min_value=0, max_value=1)
GAUGES = st.one_of(
    st.just(GONE),
    st.builds(
        lambda mean, coverage: Level(mean=mean, peak=mean, coverage=coverage),
        st.one_of(SHARES, st.sampled_from([0.0, 1.0, 5e-324, 1e-300, 1 - 2**-53])),
        st.one_of(st.just(1.0), st.floats(min_value=1e-12, max_value=1)),
    ),
)
TOKENS = st.one_of(
    st.just(GONE),
    st.builds(
        lambda total: Count(total=total, coverage=1.0),
        st.one_of(st.just(0.0), st.floats(min_value=0, max_value=1e15)),
    ),
)
TENANTS = st.builds(
    TenantUsage,
    tenant=st.sampled_from("abc"),
    requests=st.just(GONE),
    input_tokens=TOKENS,
    output_tokens=TOKENS,
)
SLOTS = st.builds(
    SlotUsage,
    slot=st.sampled_from(["blue", "green", "red"]),
    model=st.sampled_from(["chat", "code"]),
    version=st.none(),
    is_warm=st.booleans(),
    time=GAUGES,
    memory=GAUGES,
    input_tokens=TOKENS,
    output_tokens=TOKENS,
    tenants=st.lists(TENANTS, max_size=4).map(tuple),
)
HOSTS = st.builds(
    HostUsage,
    host=st.just("gpu-1"),
    hour=st.just(HOUR),
    cpu=GAUGES,
    memory=GAUGES,
    gpu=st.one_of(st.none(), GAUGES),
    gpu_memory=st.just(GONE),
    slots=st.lists(SLOTS, max_size=5).map(tuple),
)


@given(
    used=st.one_of(st.none(), HOSTS),
    amount=st.decimals(min_value=0, max_value=10**6, allow_nan=False, places=12),
    listed=st.decimals(min_value=0, max_value=10**6, allow_nan=False, places=12),
    weight=st.floats(min_value=0, max_value=100),
)
def test_whatever_was_measured_the_parts_are_the_bill(used, amount, listed, weight):
    entry = Price.model_validate(price()).model_copy(update={"price": amount, "list_price": listed})
    prices = book(price("nat", "0.05")).merged([entry])
    items = bill(host(), shared(), prices=prices)
    lines = allocate(items, {} if used is None else {"gpu-1": used}, output_weight=weight)
    assert identity_error(items, lines) == 0
    assert sum(line.list_cost for line in lines) == sum(item.list_cost for item in items)
    assert sum(line.quantity for line in lines) == sum(item.quantity for item in items)
    assert all(line.cost >= 0 and line.used_cost >= 0 for line in lines)
    groups = Tally()
    for line in lines:
        groups[line.part.group] += line.cost
    assert groups[Group.WORKLOAD] + groups[Group.IDLE] + groups[Group.OVERHEAD] == sum(
        item.cost for item in items
    )


def test_rounding_leaves_no_lines_of_nothing():
    thirds = tuple(tenant(name, 0.1, 0.1) for name in "abc")
    lines = lines_of(slot(time=1 / 3, memory=0.1 + 0.2, tokens=(0.3, 0.3), tenants=thirds))
    assert [(line.part, line.tenant) for line in lines] == [
        (Part.SERVING, "a"), (Part.SERVING, "b"), (Part.SERVING, "c"), (Part.IDLE, None),
    ]  # fmt: skip
    assert all(line.cost for line in lines)


def test_many_tenants_of_a_tiny_bill_still_add_up():
    items = bill(prices=book(price(amount="0.000000007")))
    tenants = tuple(tenant(f"t{i}", i + 1, i) for i in range(100))
    lines = lines_of(slot(memory=1.0, tokens=(9000, 9000), tenants=tenants), items=items)
    assert sum(line.cost for line in lines) == 7


def test_an_hour_without_tokens_is_paid_by_nobody_in_particular():
    (line, _) = lines_of(slot(memory=0.5, tokens=(0, 0), tenants=(tenant("a", 0, 0),)))
    assert (line.tenant, line.input_tokens) == (None, 0)


def test_counts_that_the_gateway_has_and_the_engine_lacks_go_to_the_tenants():
    (line, _) = lines_of(slot(memory=0.5, tokens=(10, 0), tenants=(tenant("a", 40, 0),)))
    assert (line.tenant, line.cost, line.input_tokens) == ("a", 600_000_000, 40)
