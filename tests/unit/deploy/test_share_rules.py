import pytest
from analysis_worlds import LEVELS, golden, samples, seen

from greenlight.deploy.rules import Verdict
from greenlight.deploy.sample_size import faultless_n
from greenlight.deploy.share_rules import Agreement, Errors, Goodput, Stops

ERRORS = Errors(name="errors", strategy="errors", margin=0.01, alone=0.02)
STOPS = Stops(name="stops", strategy="stops", margin=0.05)
GOODPUT = Goodput(name="goodput", strategy="goodput", margin=0.05, ttft_s=1.0, gap_s=0.1)
AGREEMENT = Agreement(name="golden", strategy="agreement", margin=0.15)


def agreement(green, **changes):
    return AGREEMENT.model_copy(update=changes).judge(seen(samples(100), green), LEVELS)


def test_equal_error_ratios_pass():
    found = ERRORS.judge(seen(samples(), samples(seed=2)), LEVELS)
    assert (found.verdict, found.n_blue, found.n_green) == (Verdict.PASS, 1200, 1200)


def test_five_points_more_errors_fail():
    found = ERRORS.judge(seen(samples(), samples(failing=0.05)), LEVELS)
    assert found.verdict is Verdict.FAIL
    assert found.low > found.at_most == 0.01


def test_a_few_requests_without_a_failure_are_no_proof_and_the_n_needed_is_exact():
    n = faultless_n(0.01, confidence=LEVELS.to_pass)
    for fewer in (5, n - 1):
        few = ERRORS.judge(seen(samples(fewer, failing=0), samples(fewer, failing=0)), LEVELS)
        assert (few.verdict, few.n_needed) == (Verdict.INSUFFICIENT, n)
    enough = ERRORS.judge(seen(samples(n, failing=0), samples(n, failing=0)), LEVELS)
    assert enough.verdict is Verdict.PASS


def test_a_green_that_only_fails_needs_no_minimum_to_fail():
    found = ERRORS.judge(seen(samples(30), samples(30, failing=1.0)), LEVELS)
    assert found.verdict is Verdict.FAIL


def test_errors_without_a_sample_of_a_colour_are_an_error_not_none():
    assert ERRORS.judge(seen(samples(), []), LEVELS).verdict is Verdict.ERROR
    assert ERRORS.judge(seen([], samples()), LEVELS).verdict is Verdict.ERROR


@pytest.mark.parametrize(
    ("failing", "n", "verdict"),
    [
        (0.001, 1200, Verdict.PASS),
        (0.05, 1200, Verdict.FAIL),
        (0.0, 30, Verdict.INSUFFICIENT),
        (0.0, 0, Verdict.ERROR),
    ],
)
def test_a_first_deployment_is_judged_by_its_own_errors(failing, n, verdict):
    found = ERRORS.judge(seen(None, samples(n, failing=failing)), LEVELS)
    assert found.verdict is verdict
    assert found.blue is None


def test_a_rule_without_a_limit_of_its_own_does_not_apply_to_a_first_deployment():
    assert STOPS.judge(seen(None, samples()), LEVELS).verdict is Verdict.NOT_APPLICABLE


def test_streams_within_the_objective_pass_and_a_tenth_beyond_it_fails():
    assert GOODPUT.judge(seen(samples(), samples(seed=2)), LEVELS).verdict is Verdict.PASS
    for fault in ({"ttft_s": 1.5}, {"gap_s": 0.3}):
        green = samples(1080) + samples(120, **fault)
        assert GOODPUT.judge(seen(samples(), green), LEVELS).verdict is Verdict.FAIL


def test_a_failed_stream_missed_the_objective():
    found = GOODPUT.judge(seen(samples(), samples(failing=0.15)), LEVELS)
    assert (found.verdict, found.green) == (Verdict.FAIL, 0.15)


def test_an_answer_of_one_token_has_no_gap_to_miss():
    found = GOODPUT.judge(seen(samples(), samples(gap_s=None)), LEVELS)
    assert found.verdict is Verdict.PASS


def test_goodput_without_enough_streams_is_insufficient_and_without_any_an_error():
    assert GOODPUT.judge(seen(samples(20), samples(20)), LEVELS).verdict is Verdict.INSUFFICIENT
    whole = samples(failing=0, ttft_s=None, gap_s=None)
    assert GOODPUT.judge(seen(samples(), whole), LEVELS).verdict is Verdict.ERROR


def test_goodput_is_not_compared_under_unequal_load():
    uneven = seen(samples(), samples(ttft_s=9.0), equal_load=False)
    assert GOODPUT.judge(uneven, LEVELS).verdict is Verdict.NOT_APPLICABLE


def test_a_lost_stop_token_fails_and_equal_endings_pass():
    cut_off = samples(finish="length")
    assert STOPS.judge(seen(samples(), samples()), LEVELS).verdict is Verdict.PASS
    assert STOPS.judge(seen(samples(), cut_off), LEVELS).verdict is Verdict.FAIL
    assert STOPS.judge(seen(samples(9), samples(9)), LEVELS).verdict is Verdict.INSUFFICIENT
    assert STOPS.judge(seen(samples(), samples(finish=None)), LEVELS).verdict is Verdict.ERROR


def test_golden_answers_as_recorded_pass_and_changed_ones_fail():
    assert agreement(golden(40, 40)).verdict is Verdict.PASS
    assert agreement(golden(20, 40)).verdict is Verdict.FAIL


def test_one_changed_golden_answer_of_a_few_is_neither():
    assert agreement(golden(39, 40)).verdict is Verdict.INSUFFICIENT


def test_asking_the_same_prompts_more_often_proves_nothing_new():
    few = agreement(golden(10, 10, times=1000))
    assert (few.verdict, few.n_green) == (Verdict.INSUFFICIENT, 10)


def test_a_prompt_that_is_answered_both_ways_has_changed():
    both_ways = golden(40, 40, times=1) + golden(0, 40, times=1)
    assert agreement(both_ways).green == 1.0


def test_golden_answers_are_green_s_own_whatever_blue_says():
    green = golden(20, 40)
    for blue in (None, [], golden(0, 40), golden(40, 40)):
        found = AGREEMENT.judge(seen(blue, green), LEVELS)
        assert (found.verdict, found.n_blue) == (Verdict.FAIL, None)
        assert found == agreement(green)


@pytest.mark.parametrize("green", [[], samples(100)], ids=["no answer", "nothing recorded"])
def test_without_a_recording_agreement_holds_up_only_a_rollout_that_requires_it(green):
    assert agreement(green).verdict is Verdict.INSUFFICIENT
    assert agreement(green, required=False).verdict is Verdict.NOT_APPLICABLE
