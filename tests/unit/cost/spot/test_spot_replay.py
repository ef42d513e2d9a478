from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from greenlight.core.errors import InputError
from greenlight.cost.spot.fleet import FleetPlan, Pool, SpotSettings, plan_fleet
from greenlight.cost.spot.replay import replay_fleet
from greenlight.cost.spot.traces import Market, SpotTrace, generated, rates, read_trace

START = datetime(2026, 11, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def a_trace(taken="0000000000", price=3.0, pool="a"):
    prices = np.full(len(taken), price) if isinstance(price, float) else np.array(price)
    return SpotTrace(
        start=START,
        step=HOUR,
        prices={pool: prices},
        taken={pool: np.array([cell == "1" for cell in taken])},
    )


def a_plan(on_demand=1, **spot):
    return FleetPlan(
        on_demand=on_demand,
        spot=tuple((spot or {"a": 1}).items()),
        hourly=Decimal(0),
        hourly_on_demand=Decimal(0),
        left_out=(),
    )


def replayed(trace=None, plan=None, **settings):
    settings = SpotSettings(**({"cold_start_s": 1800, "lost_work_s": 360} | settings))
    return replay_fleet(plan or a_plan(), trace or a_trace(), settings, on_demand=10.0)


def test_without_interruptions_the_price_is_all_there_is():
    found = replayed()
    assert found.paid == pytest.approx(10 * (10 + 3))
    assert found.lost == 0
    assert found.saving == pytest.approx(0.35)
    assert found.short == 0


def test_an_interruption_costs_the_replacement_the_cold_start_and_the_work():
    found = replayed(a_trace("0001000000"))
    assert found.interruptions == 1
    # Taken for an hour, back after another; half an hour is paid twice on the way back.
    assert found.paid == pytest.approx(10 * 10 + 8 * 3 + 2 * 10 + 0.5 * 10)
    assert found.lost == pytest.approx((0.5 + 0.1) * 10)
    assert found.short == pytest.approx(0.5 / 20)
    assert found.saving < replayed().saving


def test_a_pool_that_flaps_is_not_gone_back_to_at_once():
    assert replayed(a_trace("0101010100")).interruptions == 1


def test_a_pool_that_is_always_taken_saves_nothing():
    assert replayed(a_trace("1" * 10)).saving < 0


def test_hours_of_unknown_price_count_on_neither_side():
    found = replayed(a_trace(price=[3.0] * 5 + [np.nan] * 5))
    assert found.hours == 5
    assert found.unknown_hours == 5
    assert found.saving == pytest.approx(0.35)


def test_nothing_known_is_no_saving_of_zero():
    assert replayed(a_trace(price=[np.nan] * 10)).saving is None


def test_a_pool_the_trace_does_not_know_is_refused():
    with pytest.raises(InputError, match="no pool b"):
        replayed(plan=a_plan(b=2))


def a_market(pool, zone, **changes):
    return Market(pool=pool, zone=zone, price=3.5, **changes)


def a_month(seed=1):
    markets = [
        a_market("x.a", "a"),
        a_market("y.a", "a", taken_per_day=2.0),
        a_market("x.b", "b"),
    ]
    return generated(markets, start=START, step=timedelta(minutes=5), steps=30 * 288, seed=seed)


def test_a_seed_gives_the_same_trace_and_another_gives_another():
    first, again, other = a_month(), a_month(), a_month(seed=2)
    assert first.prices["x.a"].tolist() == again.prices["x.a"].tolist()
    assert first.taken["y.a"].tolist() == again.taken["y.a"].tolist()
    assert first.prices["x.a"].tolist() != other.prices["x.a"].tolist()


def test_a_pool_that_is_taken_often_has_the_higher_rate():
    found = rates(a_month())
    assert found["y.a"] > 3 * found["x.a"] > 0


def test_what_the_plan_says_is_near_what_the_replay_finds():
    trace = a_month()
    settings = SpotSettings(floor_share=0.3, max_pool_share=0.5, away_s=10800)
    pools = [
        Pool(
            name=name,
            price=Decimal(f"{np.mean(trace.prices[name]):.4f}"),
            on_demand=Decimal(10),
            interruptions=rate,
        )
        for name, rate in rates(trace).items()
    ]
    plan = plan_fleet(10, pools, settings, on_demand=Decimal(10))
    assert dict(plan.spot)["x.a"] == dict(plan.spot)["x.b"] == 3
    found = replay_fleet(plan, trace, settings, on_demand=10.0)
    said = 1 - float(plan.hourly / plan.hourly_on_demand)
    assert found.saving == pytest.approx(said, abs=0.02)
    assert 0 < found.short < 0.02
    assert found.interruptions > 0


def written(tmp_path, text):
    path = tmp_path / "spot prices.csv"
    path.write_text(text)
    return path


def test_a_file_holds_until_the_pools_next_row(tmp_path):
    path = written(
        tmp_path,
        "timestamp,pool,price,taken\n"
        "2026-11-01T00:00:00Z,a,3,0\n2026-11-01T02:00:00+00:00,a,4,1\n"
        "2026-11-01T01:00:00,b,5,0\n2026-11-01T03:00:00Z,a,4,0\n",
    )
    trace = read_trace(path, step=HOUR)
    assert trace.start == START
    assert trace.prices["a"].tolist() == [3, 3, 4, 4]
    assert trace.taken["a"].tolist() == [False, False, True, True]
    assert np.isnan(trace.prices["b"][0])


def test_an_interruption_shorter_than_a_step_is_not_lost(tmp_path):
    path = written(
        tmp_path,
        "timestamp,pool,price,taken\n2026-11-01T00:00:00Z,a,3,0\n"
        "2026-11-01T02:10:00Z,a,3,1\n2026-11-01T02:20:00Z,a,3,0\n2026-11-01T05:00:00Z,a,3,0\n",
    )
    assert read_trace(path, step=HOUR).taken["a"].tolist() == [False, False, True] + [False] * 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("timestamp,pool,price\n", "no column taken"),
        ("timestamp,pool,price,taken\n", "no rows"),
        ("timestamp,pool,price,taken\nyesterday,a,1,0\n", "line 2.*yesterday"),
        ("timestamp,pool,price,taken\n2026-11-01,a,-1,0\n", "price -1 must be 0 or more"),
        ("timestamp,pool,price,taken\n2026-11-01,a,1,maybe\n", "taken is 'maybe'"),
        ("timestamp,pool,price,taken\n2026-11-01,,1,0\n", "no pool"),
    ],
)
def test_what_can_not_be_read_is_named(tmp_path, text, says):
    with pytest.raises(InputError, match=says):
        read_trace(written(tmp_path, text), step=HOUR)
