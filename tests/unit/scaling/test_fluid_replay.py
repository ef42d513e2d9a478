from dataclasses import dataclass

import numpy as np
import pytest

from greenlight.core.errors import InputError
from greenlight.scaling.reactive import ReactiveSettings, Signal
from greenlight.scaling.replay.fluid import FluidFleet, oracle, replay
from greenlight.scaling.replay.policies import Reactive, Scheduled, Static

FLEET = FluidFleet(tokens_per_second=100.0, cold_start=5, drain=2)


def wave(seed=0, n=600):
    rng = np.random.default_rng(seed)
    base = 500 + 400 * np.sin(np.arange(n) / 40) + np.cumsum(rng.normal(0, 8, n))
    return np.maximum(base, 20.0)


def hpa(share, size):
    return Reactive(
        settings=ReactiveSettings(targets={Signal.TOKENS: share * 100.0}),
        minimums=np.ones(size, dtype=np.int64),
        maximums=np.full(size, 100),
    )


def test_a_host_costs_from_its_order_and_serves_after_the_cold_start():
    demand = np.full(20, 150.0)
    found = replay(demand, Static(hosts=2), FLEET, hosts=1)
    assert found.ready.tolist() == [1] * 5 + [2] * 15
    assert found.paid.tolist() == [2] * 20
    assert found.slo_pct == pytest.approx(75)
    assert found.served_pct == pytest.approx(100 * (15 + 5 * 2 / 3) / 20)


def test_a_host_that_is_stopped_serves_no_more_and_costs_while_it_drains():
    wanted = np.array([2, 2, 1, 1, 1, 1])
    found = replay(np.full(6, 50.0), Scheduled(hosts=wanted), FLEET, hosts=2)
    assert found.ready.tolist() == [2, 2, 1, 1, 1, 1]
    assert found.paid.tolist() == [2, 2, 2, 2, 1, 1]
    assert (found.starts, found.stops) == (0, 1)


def test_hosts_that_are_starting_are_stopped_first():
    wanted = np.array([3, 3, 1, 1, 1, 1, 1, 1])
    found = replay(np.full(8, 50.0), Scheduled(hosts=wanted), FLEET, hosts=1)
    assert found.ready.tolist() == [1] * 8
    assert found.paid.tolist() == [3, 3, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("seed", range(5))
def test_more_capacity_never_lowers_the_slo(seed):
    demand = wave(seed)
    slos = [replay(demand, Static(hosts=n), FLEET, hosts=n).slo_pct for n in range(1, 14)]
    assert slos == sorted(slos)
    rng = np.random.default_rng(seed)
    wanted = rng.integers(1, 12, demand.size)
    more = replay(demand, Scheduled(hosts=wanted + 2), FLEET, hosts=7).slo_pct
    assert more >= replay(demand, Scheduled(hosts=wanted), FLEET, hosts=5).slo_pct


@pytest.mark.parametrize("seed", range(8))
def test_the_oracle_serves_all_and_nobody_who_does_is_cheaper(seed):
    demand = wave(seed)
    best = oracle(demand, FLEET, skip=60)
    assert best.slo_pct == 100.0
    hosts = int(FLEET.needed(demand[:1])[0])
    enough = int(FLEET.needed(demand).max())
    policies = [Static(hosts=enough), *(hpa(share, demand.size) for share in (0.3, 0.5, 0.7, 0.9))]
    needed = FLEET.needed(demand)
    ahead = np.array([needed[i : i + 6].max() for i in range(needed.size)])
    policies += [Scheduled(hosts=ahead), Scheduled(hosts=ahead + 1)]
    outcomes = [replay(demand, policy, FLEET, hosts=hosts, skip=60) for policy in policies]
    serving = [found for found in outcomes if found.slo_pct == 100.0]
    assert serving
    assert all(found.gpu_hours >= best.gpu_hours - 1e-9 for found in serving)


def test_the_oracle_is_the_cheapest_by_trying_everything():
    fleet = FluidFleet(tokens_per_second=1.0, cold_start=1, drain=1)
    for seed in range(20):
        demand = np.random.default_rng(seed).integers(0, 2, 9).astype(float)
        costs = []
        for number in range(2**9):
            ready = np.array([number >> i & 1 for i in range(9)])
            if (ready >= demand).all():
                rises = np.flatnonzero(np.diff(ready) > 0) + 1
                falls = np.flatnonzero(np.diff(ready) < 0) + 1
                costs.append(ready.sum() + len(rises) + len(falls))
        assert round(oracle(demand, fleet).gpu_hours * 60) == min(costs)


@pytest.mark.parametrize("seed", range(5))
def test_a_policy_that_knows_the_oracles_plan_comes_to_its_figures(seed):
    demand = wave(seed)
    best = oracle(demand, FLEET)
    instant = FluidFleet(tokens_per_second=100.0, cold_start=0, drain=0)
    played = replay(demand, Scheduled(hosts=best.ready), instant, hosts=int(best.ready[0]))
    assert played.slo_pct == 100.0
    np.testing.assert_array_equal(played.ready, best.ready)
    assert (played.starts, played.stops) == (best.starts, best.stops)
    risen = played.starts * FLEET.cold_start + played.stops * FLEET.drain
    assert best.gpu_hours * 60 == pytest.approx(played.gpu_hours * 60 + risen, abs=5 * 5 + 2 * 5)


def test_a_load_that_nobody_measured_is_missing_for_the_policy_alone():
    demand = np.concatenate([np.full(60, 900.0), np.full(60, 100.0)])
    gone = np.zeros(120, dtype=bool)
    gone[55:] = True
    seen = replay(demand, hpa(0.9, 120), FLEET, hosts=10)
    blind = replay(demand, hpa(0.9, 120), FLEET, hosts=10, missing=gone)
    assert seen.ready[-1] == 2
    assert blind.ready[-1] == 10


@dataclass
class Peeking:
    """Keeps what it was shown."""

    seen: list

    def desired(self, seen):
        self.seen.append(seen.load)
        return 3


def test_a_policy_sees_the_step_before_and_no_later_one():
    demand = wave(1, 50)
    policy = Peeking(seen=[])
    replay(demand, policy, FLEET, hosts=3)
    assert policy.seen == [None, *demand[:-1].tolist()]


def test_a_replay_without_all_of_its_demand_is_refused():
    demand = wave(1, 50)
    demand[7] = np.nan
    with pytest.raises(InputError, match="1 of 50 are missing"):
        replay(demand, Static(hosts=1), FLEET, hosts=1)
    with pytest.raises(InputError, match="50 are skipped"):
        replay(wave(1, 50), Static(hosts=1), FLEET, hosts=1, skip=50)
