import dataclasses
import math

import pytest
from analysis_worlds import LEVELS, samples, seen

from greenlight.deploy.counters import FirstTokens, LiveCounts, Unread
from greenlight.deploy.live_rules import LiveErrors, LiveFirstTokens, Remaining
from greenlight.deploy.rules import Verdict
from greenlight.deploy.share_rules import Count

AWAY = Unread(reason="http://gpu-1:20100/metrics did not answer within 1 s")
GOLDEN = 800


def live_rule(**more):
    return LiveErrors(name="live", strategy="live_errors", margin=0.01, **more)


def live(blue, green, rule):
    counts = [None if c is None else LiveCounts(requests=c[0], errors=c[1]) for c in (blue, green)]
    return rule.judge(seen(samples(1), samples(1), live=counts), LEVELS)


def rule(**more):
    asked = {"name": "live-ttft", "strategy": "live_ttft", "ttft_s": 2.5, "margin": 0.05} | more
    return LiveFirstTokens.model_validate(asked)


def histogram(n, late, *, bounds=(1.0, 2.5, math.inf)):
    """Return what engines counted: n requests, some of them later than every finite bound."""
    return FirstTokens(bounds=bounds, within=(*[n - late] * (len(bounds) - 1), n))


def golden(*, late=0, whole=0, n=GOLDEN):
    """Return n answered requests of the load, the first ones late, the last ones not streamed."""
    streams = n - whole
    return [
        *samples(late, failing=0, ttft_s=9.0),
        *samples(streams - late, failing=0, ttft_s=0.1),
        *samples(whole, failing=0, ttft_s=None),
    ]


def look(blue, green, *, routed=(4000, 1000), load=None, **more):
    """Return one look at two histograms beside a load and the router's counters."""
    load = golden() if load is None else load
    counts = [None if n is None else LiveCounts(requests=n, errors=0) for n in routed]
    found = seen(None if blue is None else load, load, live=counts, **more)
    with_engines = [
        side and dataclasses.replace(side, first_tokens=histogram_of)
        for side, histogram_of in ((found.blue, blue), (found.green, green))
    ]
    return dataclasses.replace(found, blue=with_engines[0], green=with_engines[1])


def judged(*args, asked=None, **more):
    return (asked or rule()).judge(look(*args, **more), LEVELS)


def test_live_errors_of_equal_colours_pass_and_of_a_bad_green_fail():
    assert live((5000, 10), (1500, 2), live_rule()).verdict is Verdict.PASS
    assert live((5000, 10), (1500, 60), live_rule()).verdict is Verdict.FAIL


@pytest.mark.parametrize("counts", [((100, 0), (0, 0)), ((0, 0), (0, 0)), ((100, 0), (9, 0))])
def test_too_little_live_traffic_holds_up_only_a_rollout_that_requires_it(counts):
    assert live(*counts, live_rule(required=True)).verdict is Verdict.INSUFFICIENT
    assert live(*counts, live_rule()).verdict is Verdict.NOT_APPLICABLE


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("counts", [(None, (100, 0)), ((100, 0), None)])
def test_counters_that_cannot_be_read_are_an_error(required, counts):
    assert live(*counts, live_rule(required=required)).verdict is Verdict.ERROR


def test_when_blue_gets_no_traffic_any_more_green_is_judged_alone():
    assert live((0, 0), (2000, 2), live_rule(alone=0.02)).verdict is Verdict.PASS
    assert live((0, 0), (2000, 200), live_rule(alone=0.02)).verdict is Verdict.FAIL


def test_more_failed_attempts_than_requests_are_all_requests():
    assert live((0, 0), (200, 600), live_rule(alone=0.02)).green == 1.0


def test_equally_quick_first_tokens_of_clients_pass_and_slow_ones_of_green_fail():
    blue = histogram(4000 + GOLDEN, 40)
    equal = judged(blue, histogram(1000 + GOLDEN, 10))
    assert (equal.verdict, equal.n_blue, equal.n_green) == (Verdict.PASS, 4000, 1000)
    assert (equal.blue, equal.green) == (0.01, 0.01)
    slow = judged(blue, histogram(1000 + GOLDEN, 200))
    assert slow.verdict is Verdict.FAIL
    assert slow.green == 0.2


def test_the_golden_load_is_taken_out_of_what_engines_counted():
    load = golden(late=80)
    found = judged(histogram(4800, 80 + 40), histogram(1800, 80 + 10), load=load)
    assert (found.n_blue, found.n_green) == (4000, 1000)
    assert (found.blue, found.green) == (0.01, 0.01)


def test_what_is_only_guessed_of_the_golden_load_widens_the_bounds_both_ways():
    streams = Count(bad=40, n=400)
    sure, guessed = (Remaining(bad=100, n=1000, known=streams, guessed=n) for n in (0, 400))
    assert guessed.share == sure.share == 0.1
    assert sure.bounds(0.99) == Count(bad=100, n=1000).bounds(0.99)
    assert guessed.bounds(0.99).low < sure.bounds(0.99).low
    assert guessed.bounds(0.99).high > sure.bounds(0.99).high


def test_golden_answers_that_still_stream_are_no_requests_of_clients():
    found = judged(histogram(4060 + GOLDEN, 0), histogram(1060 + GOLDEN, 0))
    assert (found.n_blue, found.n_green) == (4000, 1000)
    nobody = judged(histogram(60 + GOLDEN, 0), histogram(60 + GOLDEN, 60), routed=(0, 0))
    assert nobody.verdict is Verdict.NOT_APPLICABLE


def test_a_few_late_golden_answers_that_still_stream_prove_nothing():
    few = golden(n=60, whole=12)
    found = judged(histogram(60 + 30 + 100, 4), histogram(60 + 30 + 10, 4),
                   load=few, routed=(100, 10))  # fmt: skip
    assert found.verdict is Verdict.NOT_APPLICABLE


@pytest.mark.parametrize("routed", [(0, 0), (4000, 0), (4, 3)])
def test_too_few_requests_of_clients_hold_up_only_a_rollout_that_requires_the_rule(routed):
    engines = [histogram(n + GOLDEN, 0) for n in routed]
    assert judged(*engines, routed=routed).verdict is Verdict.NOT_APPLICABLE
    found = judged(*engines, routed=routed, asked=rule(required=True))
    assert found.verdict is Verdict.INSUFFICIENT


@pytest.mark.parametrize("engines", [(AWAY, histogram(1800, 0)), (histogram(4800, 0), AWAY)])
def test_engines_that_cannot_be_read_are_neither_a_pass_nor_nothing_to_say(engines):
    found = judged(*engines)
    assert found.verdict is Verdict.NOT_MEASURED
    assert "http://gpu-1:20100/metrics did not answer" in found.reason
    assert judged(*engines, asked=rule(required=True)).verdict is Verdict.ERROR


def test_without_the_router_s_counters_clients_cannot_be_told_apart():
    found = judged(histogram(4800, 0), histogram(1800, 0), routed=(None, 1000))
    assert (found.verdict, "router" in found.reason) == (Verdict.NOT_MEASURED, True)


def test_before_a_golden_stream_is_answered_nothing_can_be_said():
    whole = golden(whole=GOLDEN)
    found = judged(histogram(4800, 0), histogram(1800, 900), load=whole, asked=rule(required=True))
    assert (found.verdict, found.n_green) == (Verdict.INSUFFICIENT, None)


def test_a_limit_between_two_bounds_is_judged_at_the_next_one_and_says_so():
    engines = histogram(4800, 40), histogram(1800, 200)
    between = judged(*engines, asked=rule(ttft_s=2.0))
    assert between.verdict is Verdict.FAIL
    assert between.reason.startswith("later than 2.5 s, the next bound of the histogram above 2")
    assert "next bound" not in judged(*engines).reason


def test_a_limit_above_every_bound_names_the_bounds():
    found = judged(histogram(4800, 0), histogram(1800, 0), asked=rule(ttft_s=3.0))
    assert (found.verdict, "bounds 1, 2.5, inf" in found.reason) == (Verdict.NOT_MEASURED, True)


def test_histograms_with_other_bounds_are_not_compared():
    other = histogram(1800, 0, bounds=(1.0, 3.0, math.inf))
    assert judged(histogram(4800, 0), other).verdict is Verdict.NOT_MEASURED


def test_first_tokens_of_clients_are_not_compared_under_unequal_load():
    found = judged(histogram(4800, 0), histogram(1800, 900), equal_load=False)
    assert found.verdict is Verdict.NOT_APPLICABLE


@pytest.mark.parametrize(("late", "verdict"), [(10, Verdict.PASS), (200, Verdict.FAIL)])
def test_where_blue_has_no_clients_green_is_judged_by_a_limit_of_its_own(late, verdict):
    asked, green = rule(alone=0.05), histogram(1000 + GOLDEN, late)
    idle = histogram(GOLDEN, 0)
    assert judged(idle, green, routed=(0, 1000), asked=asked).verdict is verdict
    assert judged(None, green, asked=asked).verdict is verdict
    assert judged(None, green).verdict is Verdict.NOT_APPLICABLE
