import pytest
from analysis_worlds import analysed, golden, samples

from greenlight.deploy.analysis import AnalysisSettings
from greenlight.deploy.analysis_presets import PRESETS
from greenlight.deploy.rules import Verdict
from greenlight.quantize.serving import ServingPlan


@pytest.mark.parametrize("preset", PRESETS)
def test_every_limit_of_a_preset_says_where_it_comes_from(preset):
    assert all(rule.why for rule in AnalysisSettings.of(preset).rules)


@pytest.mark.parametrize(("preset", "rate"), [("standard", 20.0), ("small", 2.0)])
def test_a_preset_is_within_reach_of_the_load_it_is_made_for(preset, rate):
    assert not AnalysisSettings.of(preset).out_of_reach(rate=rate, stream_share=0.8)


def test_the_small_preset_reads_no_tail():
    rules = AnalysisSettings.of("small").rules
    assert {getattr(rule, "quantile", 0.5) for rule in rules} == {0.5}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_refuses_other_texts_than_recorded_and_does_without_a_recording(preset):
    settings = AnalysisSettings.of(preset)
    rule = next(rule for rule in settings.rules if rule.name == "golden")
    assert rule.fewest(settings.levels) < ServingPlan().golden_prompts
    at = {"settings": settings, "at_s": settings.step_min_s, "previous_s": 0.0}
    for recorded, verdict in (
        (golden(40, 40), Verdict.PASS),
        (golden(20, 40), Verdict.FAIL),
        ([], Verdict.NOT_APPLICABLE),
    ):
        found = analysed(samples(), samples(seed=2) + recorded, **at).results
        assert next(r for r in found if r.rule == "golden").verdict is verdict


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_passes_an_equal_version_and_refuses_one_half_as_slow_again(preset):
    settings = AnalysisSettings.of(preset)
    at = {"settings": settings, "at_s": settings.step_min_s, "previous_s": 0.0}
    assert analysed(samples(), samples(seed=2), **at).verdict is Verdict.PASS
    assert analysed(samples(), samples(slow=1.5, seed=2), **at).verdict is not Verdict.PASS
