from decimal import Decimal

import pytest

from greenlight.core.errors import InputError
from greenlight.cost.spot.fleet import Pool, SpotSettings, plan_fleet

ON_DEMAND = Decimal(10)


def a_pool(name="a", price="3", interruptions=0.01):
    return Pool(
        name=name,
        price=None if price is None else Decimal(price),
        on_demand=ON_DEMAND,
        interruptions=interruptions,
    )


def plan(hosts=10, pools=None, **settings):
    pools = [a_pool("a"), a_pool("b", "3.5"), a_pool("c", "4")] if pools is None else pools
    return plan_fleet(hosts, pools, SpotSettings(**settings), on_demand=ON_DEMAND)


def test_the_floor_is_on_demand_and_the_rest_is_spread_over_the_cheapest_pools():
    found = plan(10, floor_share=0.4, max_pool_share=0.5)
    assert found.on_demand == 4
    assert found.spot == (("a", 3), ("b", 3))


def test_no_pool_holds_more_than_its_share():
    found = plan(10, pools=[a_pool("a")], floor_share=0.2, max_pool_share=0.25)
    assert found.spot == (("a", 2),)
    assert found.on_demand == 8


@pytest.mark.parametrize("hosts", range(1, 12))
def test_all_hosts_are_there_and_the_floor_always_is(hosts):
    found = plan(hosts, floor_share=0.3, floor_hosts=2)
    assert found.on_demand + sum(count for _, count in found.spot) == hosts
    assert found.on_demand >= min(hosts, 2)


def test_interruptions_are_part_of_the_price():
    calm, wild = a_pool("calm", "5", 0.0), a_pool("wild", "4.5", 0.5)
    found = plan(pools=[wild, calm], max_pool_share=1, away_s=0)
    assert found.spot[0][0] == "calm"
    settings = SpotSettings(cold_start_s=600, lost_work_s=240, away_s=0)
    assert wild.really_costs(settings) == pytest.approx(Decimal("6.5"))


def test_a_pool_that_is_half_the_time_away_is_half_the_time_on_demand():
    pool = a_pool(price="4", interruptions=1.0)
    settings = SpotSettings(cold_start_s=0, lost_work_s=0, away_s=3600)
    assert pool.really_costs(settings) == pytest.approx(Decimal(7))


def test_a_pool_that_saves_too_little_is_left_out_with_the_reason():
    found = plan(pools=[a_pool("a", "8.5")])
    assert found.spot == ()
    assert found.on_demand == 10
    assert "at least 20% are asked" in found.left_out[0].why
    assert found.monthly_saving == 0


@pytest.mark.parametrize(
    ("pool", "why"),
    [
        (a_pool(price=None), "its price isn't known"),
        (a_pool(interruptions=None), "its rate of interruptions isn't known"),
    ],
)
def test_what_is_not_known_is_not_taken_for_cheap(pool, why):
    found = plan(pools=[pool])
    assert found.spot == ()
    assert found.left_out[0].why == why


def test_the_saving_is_net():
    found = plan(2, pools=[a_pool("a", "3", 0.3)], floor_share=0.5, cold_start_s=900, away_s=0)
    assert found.hourly == pytest.approx(Decimal("10") + Decimal("3") + Decimal("1.6"))
    assert found.monthly_saving == pytest.approx(Decimal("5.4") * 730)


def test_nonsense_is_refused():
    with pytest.raises(InputError, match="fleet of 0 hosts"):
        plan(0)
    with pytest.raises(InputError, match="same name"):
        plan(pools=[a_pool("a"), a_pool("a")])
