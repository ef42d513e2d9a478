import dataclasses
import json
import math
import re

import pytest
from analysis_worlds import QUIET, analysed, samples, slower
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from greenlight.deploy.analysis import (
    Action,
    AnalysisSettings,
    LiveCounts,
    Look,
    SampleSet,
    Verdict,
    judge,
    next_action,
    overall,
)
from greenlight.deploy.colours import Colour
from greenlight.deploy.counters import FirstTokens

STANDARD = AnalysisSettings.of()
WORST_FIRST = [Verdict.FAIL, Verdict.ERROR, Verdict.INSUFFICIENT, Verdict.PASS]


def test_an_equal_green_advances_at_the_checkpoint():
    found = analysed(samples(), samples(seed=2))
    assert found.verdict is Verdict.PASS, found.table()
    assert next_action(found).action is Action.ADVANCE


def test_a_pass_before_the_minimum_time_or_between_checkpoints_only_waits():
    for at_s, previous_s in ((59.0, 58.0), (61.0, 60.0)):
        found = analysed(samples(), samples(seed=2), at_s=at_s, previous_s=previous_s)
        assert found.verdict is Verdict.PASS
        assert next_action(found).action is Action.WAIT


def test_a_look_that_comes_late_still_is_its_checkpoint():
    late = analysed(samples(), samples(seed=2), at_s=64.0, previous_s=58.0)
    assert next_action(late).action is Action.ADVANCE


def test_a_fail_goes_back_at_once_and_says_which_rule_broke():
    found = analysed(samples(400), samples(400, slow=2.0), at_s=20.0, previous_s=19.0)
    decision = next_action(found)
    assert decision.action is Action.ROLL_BACK
    assert "ttft-p50" in decision.reason


def test_an_undecided_step_is_extended_and_then_goes_back():
    few = {"at_s": 61.0, "previous_s": 59.0}
    assert next_action(analysed(samples(60), samples(60), **few)).action is Action.WAIT
    last = {"at_s": STANDARD.step_max_s, "previous_s": STANDARD.step_max_s - 1}
    decision = next_action(analysed(samples(60), samples(60), **last))
    assert decision.action is Action.ROLL_BACK
    assert "errors" in decision.reason


def test_the_last_checkpoint_is_the_last_moment():
    last = {"at_s": STANDARD.step_max_s, "previous_s": STANDARD.step_max_s - 1}
    assert next_action(analysed(samples(), samples(seed=2), **last)).action is Action.ADVANCE


@pytest.mark.parametrize(("blue", "green"), [(1200, 0), (0, 1200), (0, 0)])
def test_what_was_not_measured_never_passes(blue, green):
    found = analysed(samples(blue), samples(green))
    assert found.verdict is Verdict.ERROR
    assert next_action(found).action is not Action.ADVANCE


def test_counters_that_cannot_be_read_are_an_error():
    found = analysed(samples(), samples(seed=2), live={Colour.BLUE: QUIET[Colour.BLUE]})
    assert found.verdict is Verdict.ERROR
    assert next_action(found).action is Action.WAIT


def test_requests_only_blue_has_answered_count_as_slow():
    blue = samples(1200)
    hanging = analysed(blue, samples(480, seed=2))
    assert hanging.verdict is Verdict.FAIL
    assert next_action(hanging).action is Action.ROLL_BACK


@pytest.mark.parametrize(
    ("blue", "green", "engines"),
    [
        (samples(2400), samples(1200, seed=2), {Colour.BLUE: 2, Colour.GREEN: 1}),
        (samples(1200), samples(2400, seed=2), {Colour.BLUE: 1, Colour.GREEN: 2}),
    ],
    ids=["one green", "two green"],
)
def test_a_colour_with_fewer_engines_owes_no_more_answers_than_they_were_asked_for(
    blue, green, engines
):
    assert analysed(blue, green, engines=engines).verdict is Verdict.PASS
    assert analysed(blue, green).verdict is not Verdict.PASS


def test_requests_only_blue_has_answered_count_as_slow_with_fewer_green_engines_too():
    hanging = analysed(
        samples(2400), samples(480, seed=2), engines={Colour.BLUE: 2, Colour.GREEN: 1}
    )
    assert hanging.verdict is Verdict.FAIL


def test_at_full_share_times_are_not_compared_but_errors_are():
    slow = samples(slow=1.5, seed=2)
    assert analysed(samples(), slow, share=50).verdict is Verdict.FAIL
    assert analysed(samples(), slow, share=100).verdict is Verdict.PASS
    assert analysed(samples(), samples(failing=0.1), share=100).verdict is Verdict.FAIL


def test_the_counters_of_the_colour_that_is_new_are_compared_with_the_other():
    good, bad = LiveCounts(requests=3000, errors=3), LiveCounts(requests=3000, errors=300)
    live = {Colour.BLUE: bad, Colour.GREEN: good}
    assert analysed(samples(), samples(seed=2), live=live).verdict is Verdict.PASS
    turned = analysed(samples(), samples(seed=2), live=live, green_is=Colour.BLUE)
    assert turned.verdict is Verdict.FAIL


def test_the_engines_of_the_colour_that_is_new_are_compared_with_the_other():
    live = dict.fromkeys(Colour, LiveCounts(requests=3000, errors=3))
    quick, slow = (
        FirstTokens(bounds=(2.5, math.inf), within=(4200 - late, 4200)) for late in (0, 900)
    )
    engines = {"live": live, "first_tokens": {Colour.BLUE: slow, Colour.GREEN: quick}}
    assert analysed(samples(), samples(seed=2), **engines).verdict is Verdict.PASS
    turned = analysed(samples(), samples(seed=2), **engines, green_is=Colour.BLUE)
    assert {r.rule for r in turned.having(Verdict.FAIL)} == {"live-ttft"}


def test_engines_that_were_not_read_stop_no_rollout_and_stand_in_the_table():
    found = analysed(samples(), samples(seed=2))
    assert next_action(found).action is Action.ADVANCE
    assert [r.rule for r in found.having(Verdict.NOT_MEASURED)] == ["live-ttft"]
    assert re.search(r"live-ttft +not measured", found.table())


def test_engines_are_read_where_a_rule_compares_their_times():
    assert [STANDARD.reads_engines(share) for share in (10, 50, 100)] == [True, True, False]
    errors = [rule for rule in STANDARD.rules if rule.name == "errors"]
    assert not AnalysisSettings.of(rules=errors).reads_engines(10)


def test_a_first_deployment_is_judged_by_errors_only():
    found = analysed(None, samples())
    assert found.verdict is Verdict.PASS
    assert {r.rule for r in found.having(Verdict.PASS)} == {"errors"}
    assert analysed(None, samples(failing=0.1)).verdict is Verdict.FAIL
    assert analysed(None, []).verdict is Verdict.ERROR


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["pass", "fail", "error"], "fail"),
        (["pass", "insufficient", "error"], "error"),
        (["pass", "insufficient"], "insufficient"),
        (["pass", "not applicable", "not measured"], "pass"),
        (["not applicable"], "error"),
        (["not measured"], "error"),
        ([], "error"),
    ],
)
def test_the_worst_verdict_counts_and_none_at_all_is_an_error(verdicts, expected):
    assert overall([Verdict(v) for v in verdicts]) == expected


@settings(max_examples=25, deadline=None)
@given(
    delays=st.lists(st.floats(0, 3), min_size=1, max_size=20),
    more_failing=st.integers(0, 60),
    seed=st.integers(0, 1000),
)
def test_a_worse_green_never_improves_the_verdict(delays, more_failing, seed):
    blue, green = samples(600), samples(600, seed=seed)
    worse = [slower(sample, delays[i % len(delays)]) for i, sample in enumerate(green)]
    before, after = analysed(blue, green), analysed(blue, worse)
    assert WORST_FIRST.index(after.verdict) <= WORST_FIRST.index(before.verdict)
    failing = [dataclasses.replace(s, ok=s.ok and i >= more_failing) for i, s in enumerate(green)]
    after = analysed(blue, failing)
    assert WORST_FIRST.index(after.verdict) <= WORST_FIRST.index(before.verdict)


@settings(max_examples=15, deadline=None)
@given(order=st.randoms(use_true_random=False), slow=st.sampled_from([1.0, 1.2, 1.5]))
def test_the_verdict_does_not_depend_on_the_order_of_samples(order, slow):
    blue, green = samples(700), samples(700, slow=slow, seed=4)
    shuffled = list(green)
    order.shuffle(shuffled)
    before, after = analysed(blue, green), analysed(blue, shuffled)
    assert [r.verdict for r in before.results] == [r.verdict for r in after.results]


def test_looking_often_is_paid_for_by_stricter_looks():
    often, seldom = (AnalysisSettings.of(interval_s=s).levels for s in (1.0, 60.0))
    assert often.to_fail > seldom.to_fail
    assert 1 - STANDARD.levels.to_fail == pytest.approx(0.05 / 300)
    assert 1 - STANDARD.levels.to_pass == pytest.approx(0.05 / 5)


def test_a_green_exactly_at_its_limit_is_failed_by_a_step_of_looks_as_seldom_as_promised():
    one_rule = [rule for rule in STANDARD.rules if rule.name == "ttft-p50"]
    chosen = AnalysisSettings.of(rules=one_rule, interval_s=3.0)
    failed = 0
    for seed in range(40):
        blue, green = samples(1200, seed=seed), samples(1200, slow=1.2, seed=seed + 10_000)
        gathered = SampleSet(), SampleSet()
        looks = range(60, 1201, 60)
        for n in looks:
            for sampled, into in zip((blue, green), gathered, strict=True):
                for sample in sampled[n - 60 : n]:
                    into.add(sample)
            found = judge(*gathered, QUIET, chosen, look=Look(elapsed_s=n / 20))
            if found.verdict is Verdict.FAIL:
                failed += 1
                break
    assert failed <= 6, "0.1 % of such worlds have more than 6 of 40 at a true 5 %"


def test_the_bake_is_the_same_analysis_over_a_longer_time():
    bake = STANDARD.lasting(1800)
    assert (bake.checkpoints(1799), bake.checkpoints(1800)) == (0, 1)
    assert bake.levels.to_fail > STANDARD.levels.to_fail


def test_rules_a_load_can_never_satisfy_are_named_before_anything_is_shifted():
    problems = STANDARD.out_of_reach(rate=1.0, stream_share=0.5, shares=(100,))
    assert any("errors needs 459 requests" in problem for problem in problems)
    assert any("ttft-p95 needs 505" in problem for problem in problems)
    assert any("never judged" in problem for problem in problems)
    golden = {"name": "golden", "strategy": "agreement", "margin": 0.1}
    asked = AnalysisSettings.of(rules=[golden])
    assert asked.out_of_reach(rate=99.0, prompts=12)
    assert not asked.out_of_reach(rate=99.0, prompts=60)


def test_a_preset_may_be_changed_key_by_key_and_its_digest_tells():
    changed = AnalysisSettings.of("small", step_min_s=90)
    assert changed.rules == AnalysisSettings.of("small").rules
    assert changed.digest != AnalysisSettings.of("small").digest
    assert AnalysisSettings.of().digest == STANDARD.digest


@pytest.mark.parametrize(
    "changes",
    [
        {"preset": "none"},
        {"unknown_key": 1},
        {"rules": []},
        {"rules": [STANDARD.rules[0]] * 2},
        {"confidence": 1.0},
        {"interval_s": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused(changes):
    with pytest.raises(ValidationError):
        AnalysisSettings.model_validate(changes)


def test_an_analysis_leaves_as_plain_json_and_as_an_aligned_table():
    found = analysed(samples(), samples(failing=1.0))
    text = json.dumps(found.to_json(), allow_nan=False)
    assert json.loads(text)["verdict"] == "fail"
    lines = found.table().splitlines()
    assert len(lines) == 1 + len(STANDARD.rules)
    at = lines[0].index("verdict")
    for line, result in zip(lines[1:], found.results, strict=True):
        assert line.startswith(result.rule)
        assert line[at:].startswith(result.verdict)
