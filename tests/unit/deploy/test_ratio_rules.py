import math

import pytest
from analysis_worlds import LEVELS, samples, seen

from greenlight.deploy.analysis import Sample
from greenlight.deploy.colours import Colour
from greenlight.deploy.ratio_rules import LengthRatio, TimeRatio
from greenlight.deploy.rules import Verdict


def time_rule(quantile=0.5, margin=0.2, metric="ttft"):
    return TimeRatio(
        name="times", strategy="time_ratio", metric=metric, quantile=quantile, margin=margin
    )


LENGTHS = LengthRatio(name="length", strategy="length_ratio", margin=0.2)


@pytest.mark.parametrize("metric", ["ttft", "gap", "total"])
@pytest.mark.parametrize("quantile", [0.5, 0.95])
def test_equal_times_pass(metric, quantile):
    found = time_rule(quantile, 0.35, metric).judge(seen(samples(), samples(seed=2)), LEVELS)
    assert found.verdict is Verdict.PASS, found.reason
    assert found.low < 1.0 < found.high < 1.35


@pytest.mark.parametrize("metric", ["ttft", "gap", "total"])
def test_times_half_as_long_again_fail_with_a_bound_above_the_limit(metric):
    found = time_rule(metric=metric).judge(seen(samples(), samples(slow=1.5, seed=2)), LEVELS)
    assert found.verdict is Verdict.FAIL
    assert found.low > found.at_most == 1.2
    assert found.estimate == pytest.approx(1.5, rel=0.1)


def test_times_near_the_limit_are_undecided_and_say_how_many_requests_would_decide():
    few = seen(samples(100), samples(100, slow=1.1, seed=2))
    found = time_rule().judge(few, LEVELS)
    assert found.verdict is Verdict.INSUFFICIENT
    assert found.n_needed > 100


@pytest.mark.parametrize(("quantile", "n"), [(0.5, 27), (0.95, 505)])
def test_a_quantile_of_fewer_requests_than_its_tail_needs_is_not_read(quantile, n):
    found = time_rule(quantile).judge(seen(samples(n), samples(n - 1, slow=9.0)), LEVELS)
    assert found.verdict is Verdict.INSUFFICIENT
    assert (found.n_needed, found.estimate) == (n, None)
    enough = time_rule(quantile).judge(seen(samples(n), samples(n, slow=9.0)), LEVELS)
    assert enough.estimate is not None


def test_failures_do_not_make_the_rest_look_faster():
    """Half of green's requests fail, the slow half; those that are left are fast."""
    usual = sorted(samples(400, failing=0), key=lambda sample: sample.ttft_s)
    only_fast = usual[:200] * 2
    green = usual[:200] + samples(200, failing=1.0)
    assert time_rule().judge(seen(usual, only_fast), LEVELS).verdict is Verdict.PASS
    found = time_rule().judge(seen(usual, green), LEVELS)
    assert found.verdict is not Verdict.PASS
    assert found.high == math.inf


def test_a_green_that_fails_everything_is_slower_than_any_limit():
    found = time_rule().judge(seen(samples(), samples(failing=1.0)), LEVELS)
    assert found.verdict is Verdict.FAIL
    assert found.to_json()["estimate"] is None


def test_nothing_is_compared_with_a_blue_whose_own_quantile_failed():
    found = time_rule(0.95).judge(seen(samples(failing=0.1), samples()), LEVELS)
    assert found.verdict is Verdict.ERROR


def test_requests_that_green_still_owes_count_as_slow():
    blue, green = samples(400), samples(400, seed=2)
    prompt = seen(blue, green)
    assert time_rule().judge(prompt, LEVELS).verdict is Verdict.PASS
    hanging = seen(blue, green[:150])
    owing = type(hanging)(
        blue=hanging.blue,
        green=type(hanging.green)(columns=hanging.green.columns, live=None, unanswered=250),
    )
    assert time_rule().judge(owing, LEVELS).verdict is Verdict.FAIL


def test_times_are_not_compared_under_unequal_load():
    uneven = seen(samples(), samples(slow=9.0), equal_load=False)
    assert time_rule().judge(uneven, LEVELS).verdict is Verdict.NOT_APPLICABLE


@pytest.mark.parametrize("rule", [time_rule(), LENGTHS])
def test_no_sample_of_a_colour_is_an_error_and_no_blue_at_all_does_not_apply(rule):
    assert rule.judge(seen(samples(), []), LEVELS).verdict is Verdict.ERROR
    assert rule.judge(seen([], samples()), LEVELS).verdict is Verdict.ERROR
    assert rule.judge(seen(None, samples()), LEVELS).verdict is Verdict.NOT_APPLICABLE


def test_answers_that_were_not_streamed_have_no_first_token_and_are_no_zero():
    whole = [
        Sample(colour=Colour.GREEN, prompt=i, at_s=0.0, ok=True, total_s=1.0) for i in range(100)
    ]
    assert time_rule().judge(seen(samples(), whole), LEVELS).verdict is Verdict.ERROR
    mixed = time_rule().judge(seen(samples(), samples(seed=2) + whole), LEVELS)
    assert (mixed.verdict, mixed.n_green) == (Verdict.PASS, 1200)


def test_answers_of_equal_length_pass():
    found = LENGTHS.judge(seen(samples(), samples(seed=2)), LEVELS)
    assert found.verdict is Verdict.PASS
    assert found.at_least < found.low < found.high < found.at_most


@pytest.mark.parametrize("tokens", [2, 60])
def test_answers_much_shorter_or_longer_fail(tokens):
    found = LENGTHS.judge(seen(samples(), samples(tokens=tokens)), LEVELS)
    assert found.verdict is Verdict.FAIL


def test_few_lengths_are_insufficient():
    few = LENGTHS.judge(seen(samples(29), samples(29, seed=2)), LEVELS)
    assert (few.verdict, few.n_needed) == (Verdict.INSUFFICIENT, 30)
    near = LENGTHS.judge(seen(samples(40), samples(40, seed=2)), LEVELS)
    assert near.verdict is Verdict.INSUFFICIENT
    assert near.n_needed > 40
