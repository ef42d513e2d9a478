from dataclasses import replace

import numpy as np
import pytest

from greenlight.core.errors import InputError
from greenlight.scaling.capacity import Unknown
from greenlight.scaling.replay.discrete import (
    DiscreteFleet,
    Interruption,
    Objective,
    simulate,
)
from greenlight.scaling.replay.engine import Engine, EngineLimits, Request, Served
from greenlight.scaling.replay.latency import (
    FitError,
    LatencyModel,
    MeasuredLevel,
    fit_latency,
)
from greenlight.scaling.replay.policies import Scheduled, Static

LATENCY = LatencyModel(
    prefill_s=0.1,
    prefill_token_s=0.001,
    step_s=0.02,
    step_request_s=0.001,
    error=FitError(ttft=0, gap=0, speed=None),
    source="made up",
)
ROOMY = EngineLimits(requests=64, kv_tokens=1_000_000)
FLEET = DiscreteFleet(latency=LATENCY, limits=ROOMY, cold_start_s=300.0)
GOOD = Objective(ttft_s=2.0, gap_s=0.08)


def ask(number=0, arrives=0.0, prompt=100, new=50):
    return Request(number=number, arrives=arrives, prompt_tokens=prompt, new_tokens=new)


def engine(*requests, limits=ROOMY):
    made = Engine(LATENCY, limits, now=0.0)
    served = [Served(request=request) for request in requests]
    for one in served:
        made.add(one)
    return made, served


def poisson(rate, seconds, *, seed=1, prompt=100, new=100):
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.exponential(1 / rate, round(2 * rate * seconds)))
    return [ask(i, float(t), prompt, new) for i, t in enumerate(times[times < seconds])]


def test_one_request_takes_its_reading_and_its_steps():
    made, (served,) = engine(ask(prompt=100, new=11))
    assert made.advance(100.0) == [served]
    assert served.first_token == pytest.approx(0.2)
    assert served.ended == pytest.approx(0.2 + 10 * 0.021)
    assert served.gap_s == pytest.approx(0.021)


def test_requests_together_slow_each_other():
    made, served = engine(*(ask(i, new=11) for i in range(10)))
    made.advance(100.0)
    assert {round(s.gap_s, 6) for s in served} == {0.03}
    assert served[0].first_token == pytest.approx(0.1 + 1.0)


def test_nobody_gets_a_token_while_another_prompt_is_read():
    made, (first,) = engine(ask(new=50))
    made.advance(0.5)
    late = Served(request=ask(1, 0.5, prompt=900, new=2))
    made.add(late)
    made.advance(100.0)
    alone, _ = engine(ask(new=50))
    assert first.ended > alone.advance(100.0)[0].ended + 0.9


def test_more_than_the_batch_waits():
    made, served = engine(
        *(ask(i, new=20) for i in range(3)), limits=EngineLimits(requests=2, kv_tokens=10_000)
    )
    made.advance(100.0)
    assert served[2].first_token > served[0].ended


def test_a_full_cache_sends_the_newest_back_and_everybody_ends():
    made, served = engine(
        *(ask(i, new=100) for i in range(3)), limits=EngineLimits(requests=8, kv_tokens=450)
    )
    assert len(made.advance(1000.0)) == 3
    assert served[2].preempted > 0 == served[0].preempted
    assert made.kv_usage == 0.0
    assert made.open_requests == 0


def test_a_request_that_never_fits_is_refused():
    with pytest.raises(InputError, match="needs 150 tokens of KV cache, there are 120"):
        engine(ask(), limits=EngineLimits(requests=8, kv_tokens=120))


@pytest.mark.parametrize("parts", [1, 3, 50])
def test_working_in_parts_comes_to_the_same(parts):
    requests = [ask(i, prompt=50 + 10 * i, new=20 + 7 * i) for i in range(6)]
    made, served = engine(*requests, limits=EngineLimits(requests=4, kv_tokens=600))
    for part in range(parts):
        made.advance(10.0 * (part + 1) / parts)
    made.advance(100.0)
    whole, same = engine(*requests, limits=EngineLimits(requests=4, kv_tokens=600))
    whole.advance(100.0)
    assert [s.ended for s in served] == pytest.approx([s.ended for s in same])


def play(policy, requests=None, *, fleet=FLEET, hosts=1, **more):
    return simulate(requests or poisson(4, 1800), policy, fleet, GOOD, hosts=hosts, **more)


def test_more_hosts_never_serve_fewer_and_cost_more():
    found = [play(Static(hosts=n), hosts=n) for n in (1, 2, 3, 5)]
    slos = [one.slo_pct for one in found]
    assert slos == sorted(slos)
    assert slos[0] < 60 < 99 < slos[-1]
    hours = [one.gpu_hours for one in found]
    assert hours == sorted(hours)


def test_a_host_serves_only_after_its_cold_start():
    quick = play(Static(hosts=3), fleet=replace(FLEET, cold_start_s=60.0))
    slow = play(Static(hosts=3), fleet=replace(FLEET, cold_start_s=900.0))
    assert slow.slo_pct < quick.slo_pct
    assert slow.gpu_hours == pytest.approx(quick.gpu_hours)
    assert quick.starts == 2


def test_draining_cuts_nobody_within_its_limit():
    wanted = np.array([4] * 10 + [2] * 40)
    found = play(Scheduled(hosts=wanted), hosts=4)
    assert (found.stops, found.cut) == (2, 0)
    assert found.slo_pct > 95


def test_a_drain_limit_cuts_what_is_left_and_counts_it():
    long_answers = poisson(1, 1200, new=5000)
    wanted = np.array([4] * 10 + [2] * 40)
    found = play(
        Scheduled(hosts=wanted), long_answers, hosts=4, fleet=replace(FLEET, drain_limit_s=1.0)
    )
    assert found.cut > 0


def test_an_interruption_takes_a_host_after_its_notice():
    calm = play(Static(hosts=3), hosts=3)
    hit = play(
        Static(hosts=3), hosts=3, interruptions=[Interruption(at=300.0), Interruption(at=310.0)]
    )
    assert hit.slo_pct < calm.slo_pct
    assert hit.starts == 2
    short = [Interruption(at=300.0, notice_s=0.0)]
    assert play(Static(hosts=3), hosts=3, interruptions=short).cut > 0 == calm.cut


def test_nobody_is_served_without_a_host():
    found = play(Static(hosts=0), hosts=0)
    assert (found.slo_pct, found.ttft_p50_s) == (0.0, None)
    assert found.cut == found.requests


def test_requests_out_of_order_or_none_are_refused():
    with pytest.raises(InputError, match="order of arrival"):
        play(Static(hosts=1), [ask(0, 5.0), ask(1, 1.0)])
    with pytest.raises(InputError, match="0 requests"):
        simulate([], Static(hosts=1), FLEET, GOOD, hosts=1)


def level(concurrency, ttft, gap, speed=None):
    return MeasuredLevel(
        concurrency=concurrency,
        prompt_tokens=100,
        new_tokens=64,
        ttft_s=ttft,
        gap_s=gap,
        tokens_per_second=speed,
    )


def test_a_model_is_found_again_from_what_it_gives():
    levels = [
        level(c, LATENCY.reading(100 * c), LATENCY.step(c), LATENCY.speed(level(c, 1, 1)))
        for c in (1, 4, 8)
    ]
    fitted = fit_latency(levels, source="run 12")
    assert fitted.prefill_token_s == pytest.approx(0.001)
    assert fitted.step_request_s == pytest.approx(0.001)
    assert (fitted.error.ttft, fitted.error.gap, fitted.error.speed) == pytest.approx((0, 0, 0))


def test_the_error_of_the_fit_is_told():
    # SmolLM2-135M in BF16 on an idle machine, as in docs/reference/serving.md
    levels = [
        level(1, 0.15, 0.029, 31.7),
        level(4, 0.42, 0.031, 78.8),
        level(8, 1.09, 0.037, 143.0),
    ]
    fitted = fit_latency(levels, source="serving")
    assert 0.05 < fitted.error.ttft < 0.35
    assert fitted.error.gap < 0.05
    assert fitted.error.speed < 0.5


def test_two_levels_are_not_enough_for_a_model_with_an_error():
    found = fit_latency([level(1, 0.1, 0.02), level(4, 0.2, 0.03)], source="run 12")
    assert isinstance(found, Unknown)


def test_times_that_fall_with_load_are_no_slope_below_zero():
    fitted = fit_latency(
        [level(1, 0.3, 0.03), level(4, 0.2, 0.02), level(8, 0.1, 0.01)], source="x"
    )
    assert fitted.prefill_token_s == fitted.step_request_s == 0.0
