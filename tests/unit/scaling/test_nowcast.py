from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from scaling_worlds import A_DAY, MONDAY, learned, local_demand

from greenlight.scaling.demand_profile import NotEnoughData
from greenlight.scaling.nowcast import NowcastSettings, learn_nowcast
from greenlight.scaling.reactive import ReactiveSettings, Signal
from greenlight.scaling.replay.fluid import FluidFleet, replay
from greenlight.scaling.replay.policies import Anticipated, Anticipating, Reactive

LEAD = timedelta(minutes=30)


def ramp(hour, weekday):
    """A day that climbs and falls, lower at weekends."""
    day = 500 + 400 * np.sin((hour - 8) / 24 * 2 * np.pi)
    return day * np.where(weekday < 5, 1.0, 0.6)


def world(days=35, *, noise=0.03, seed=1):
    return local_demand(days, noise=noise, seed=seed, shape=ramp)


def nowcasts(series, slos):
    found = learn_nowcast(series, learned(series), lead=LEAD, settings=NowcastSettings(), slos=slos)
    assert not isinstance(found, NotEnoughData)
    return found


def test_it_sees_the_climb_that_the_load_has_not_made_yet():
    series = world(noise=0.0)
    (nowcast,) = nowcasts(series, [0.99])
    morning = series.end + np.arange(32, 36) * np.timedelta64(series.step)
    now, then, blocks = nowcast.factors(morning)
    load = nowcast.anticipate(now.tolist(), now=now[-1], then=then[-1], block=int(blocks[-1]))
    assert load > now[-1]
    assert load == pytest.approx(then[-1], rel=0.05)


def test_a_day_that_is_high_is_expected_to_stay_high_as_far_as_days_do():
    rng = np.random.default_rng(3)
    series = world(noise=0.01)
    lasting = np.repeat(rng.lognormal(0, 0.2, 35), A_DAY)
    fleeting = rng.lognormal(0, 0.2, series.values.size)
    stays = nowcasts(replace(series, values=series.values * lasting), [0.99])[0]
    passes = nowcasts(replace(series, values=series.values * fleeting), [0.99])[0]
    assert stays.power > 0.9
    assert passes.power < 0.2


def test_a_higher_objective_pays_a_higher_price_and_buys_no_less():
    low, high = nowcasts(world(noise=0.1), [0.9, 0.99])
    assert high.price > low.price
    assert (high.headroom >= low.headroom).all()


def test_too_few_steps_are_not_enough_data():
    series = world(15)
    profile = learned(series)
    short = series.until(MONDAY + np.timedelta64(6, "D"))
    found = learn_nowcast(short, profile, lead=LEAD, settings=NowcastSettings())
    assert isinstance(found, NotEnoughData)


def by_step(nowcast, times):
    now, then, blocks = nowcast.factors(times)
    return [Anticipated(nowcast=nowcast, first=0, now=now, then=then, blocks=blocks)]


def test_looking_ahead_serves_more_than_following_for_no_more_hosts():
    whole = world(42, noise=0.02)
    past = whole.until(MONDAY + np.timedelta64(35, "D"))
    (nowcast,) = nowcasts(past, [0.98])
    demand = whole.values[35 * A_DAY :]
    fleet = FluidFleet(tokens_per_second=20.0, cold_start=2, drain=1, step_s=900.0)
    ones, most = np.ones(demand.size, dtype=np.int64), np.full(demand.size, 100)
    following = Reactive(
        settings=ReactiveSettings(targets={Signal.TOKENS: 0.9 * 20}), minimums=ones, maximums=most
    )
    looking = Anticipating(
        settings=ReactiveSettings(targets={Signal.TOKENS: 20.0}, tolerance=0.0),
        minimums=ones,
        maximums=most,
        unseen=ones,
        days=by_step(nowcast, whole.times[35 * A_DAY :]),
    )
    behind = replay(demand, following, fleet, hosts=30)
    ahead = replay(demand, looking, fleet, hosts=30)
    assert ahead.slo_pct > behind.slo_pct
    assert ahead.gpu_hours <= behind.gpu_hours


def test_without_a_load_the_schedule_is_what_holds():
    series = world(42, noise=0.0)
    (nowcast,) = nowcasts(series.until(MONDAY + np.timedelta64(35, "D")), [0.98])
    demand = series.values[35 * A_DAY :]
    policy = Anticipating(
        settings=ReactiveSettings(targets={Signal.TOKENS: 20.0}, tolerance=0.0),
        minimums=np.full(demand.size, 2),
        maximums=np.full(demand.size, 100),
        unseen=np.full(demand.size, 60),
        days=by_step(nowcast, series.times[35 * A_DAY :]),
    )
    fleet = FluidFleet(tokens_per_second=20.0, cold_start=2, drain=1, step_s=900.0)
    gone = np.ones(demand.size, dtype=bool)
    assert replay(demand, policy, fleet, hosts=2, missing=gone).ready[-1] == 60


def anticipated(nowcast, load, *, now, then):
    return nowcast.anticipate([load, load], now=now, then=then, block=3)


def test_a_load_that_the_profile_does_not_explain_is_followed():
    (nowcast,) = nowcasts(world(), [0.98])
    assert anticipated(nowcast, 5000.0, now=500.0, then=400.0) >= 5000
    assert anticipated(nowcast, 50.0, now=0.0, then=0.0) >= 50
    assert anticipated(nowcast, 0.0, now=0.0, then=0.0) == 0.0


def test_a_first_visitor_before_the_rush_is_no_thousand_of_them():
    (nowcast,) = nowcasts(world(), [0.98])
    assert anticipated(nowcast, 1.0, now=0.001, then=300.0) < 600


def test_a_quiet_minute_before_the_rush_does_not_call_it_off():
    (nowcast,) = nowcasts(world(), [0.98])
    assert anticipated(nowcast, 0.0, now=200.0, then=300.0) > 150


def test_nothing_above_the_highest_load_so_far_is_anticipated():
    series = world()
    (nowcast,) = nowcasts(series, [0.98])
    peak = series.values.max()
    assert anticipated(nowcast, 800.0, now=500.0, then=1500.0) == pytest.approx(peak)
    assert anticipated(nowcast, 2 * peak, now=800.0, then=900.0) >= 2 * peak
